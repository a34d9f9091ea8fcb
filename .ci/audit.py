"""Looks for known vulnerabilities in what labd declares: `python3 .ci/audit.py [EXTRAS]`, with the network at hand.

The dependencies and extras (all of them unless said) are resolved anew in a folder of its own, and `pip-audit` asks
about each version that was chosen. Ends with 0 if nothing is known, 1 if something is, 2 if nobody could be asked.

Why the third: pip-audit calls it clean where a package was skipped, as behind a mirror that serves no advisories.
Not a part of `.ci/run`: what is known changes without any change here, and must not fail an old commit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("pypi", "osv")


def main() -> int:
    """Resolve, ask, tell."""
    extras = sys.argv[1] if len(sys.argv) > 1 else "all,spark"
    with tempfile.TemporaryDirectory(prefix="labd-audit-") as held:
        folder = Path(held)
        for name in ("tool", "labd"):
            venv.create(folder / name, with_pip=True)
        _run(folder / "tool/bin/pip", "install", "-q", "pip-audit>=2.9")
        _run(folder / "labd/bin/pip", "install", "-q", f"{ROOT}[{extras}]")
        frozen = _run(folder / "labd/bin/pip", "freeze", "--exclude", "labd")
        pins = folder / "pins.txt"
        pins.write_text("".join(f"{line}\n" for line in frozen.splitlines() if "==" in line))
        count = len(pins.read_text().splitlines())
        for service in SERVICES:
            command = [
                folder / "tool/bin/pip-audit",
                "-r",
                pins,
                "--no-deps",
                "--disable-pip",
                "-s",
                service,
                "-f",
                "json",
            ]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            try:
                found = json.loads(done.stdout)["dependencies"]
            except (ValueError, KeyError):
                print(f"{service}: cannot be asked: {(done.stderr.strip().splitlines() or ['no answer'])[-1][:300]}")
                continue
            skipped = [one["name"] for one in found if "skip_reason" in one]
            faulty = [f"{one['name']} {one['version']}: {bug['id']}" for one in found for bug in one.get("vulns", ())]
            print(
                f"{service}: {count} packages, {len(skipped)} that it could not tell about, {len(faulty)} known faults"
            )
            print("".join(f"  {line}\n" for line in faulty), end="")
            if faulty:
                return 1
            if not skipped:
                return 0
    print("nothing is known to be wrong, and not every package could be asked about: this is no clean result")
    return 2


def _run(*words: str | Path) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
