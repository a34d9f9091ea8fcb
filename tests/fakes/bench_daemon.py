"""`labd run` with the wing of benches and tests beside the real ones; nothing else differs.

python -m tests.fakes.bench_daemon --config FILE --state DIR --socket PATH
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labd import lean


def main() -> int:
    """Serve until a signal; the exit code of `labd run`."""
    lean.import_lightly()  # as `labd run` does, before anything else
    from labd import app, process, settings
    from tests.fakes.bench_wing import wing

    parser = argparse.ArgumentParser(prog="bench_daemon")
    for name in ("--config", "--state", "--socket"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    wings = {**app.factories(), "test": wing}

    def load() -> settings.Settings:
        return settings.load(
            wings, config=given.config, overrides={"state_dir": str(given.state), "socket": str(given.socket)}
        )

    return process.run(load, wings)


if __name__ == "__main__":
    sys.exit(main())
