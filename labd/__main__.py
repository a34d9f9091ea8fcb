"""The `labd` command: run, demo, check, simulate, backup, restore, audit."""

from __future__ import annotations

from labd import bootstrap

MODULES = ("aiohttp", "aiosqlite", "click", "cronsim", "msgspec", "rich", "structlog")


def main() -> None:
    """Entry point of the script `labd` and of `python -m labd`."""
    bootstrap.ensure("labd", MODULES)
    from labd.command_line import labd

    labd(prog_name="labd")


if __name__ == "__main__":
    main()
