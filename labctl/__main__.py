"""The `labctl` command.

Why two ways in: a handful of fixed command lines (`labctl status`, `labctl resort stop`, ...) are answered by `quick`
before click is even imported; everything else, and every command line that is not exactly one of these, goes to
click. Both end in the same functions.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from labctl import exits
from labctl.quick import quick
from labctl.terminal import tell
from labd.errors import LabdError


def answer(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = None if "_LABCTL_COMPLETE" in os.environ else quick(arguments)
        if code is None:
            from labctl.commands.root import run

            code = run(arguments)
        sys.stdout.flush()
    except LabdError as error:
        from labctl.invocation import tell_error

        return tell_error(error)
    except KeyboardInterrupt:
        tell("labctl: interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`labctl job list | head`) went away; nothing of it may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.DONE
    except OSError as fault:
        tell(f"labctl: {fault.filename or 'the system'}: {fault.strerror or fault}")
        return exits.USAGE
    return code


def tell_defect(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    """What people see of a defect of labctl: two lines; developers set LABCTL_TRACEBACK."""
    if os.environ.get("LABCTL_TRACEBACK"):
        sys.__excepthook__(kind, fault, trace)
        return
    tell(f"labctl: unexpected {kind.__name__}: {fault}")
    tell("  next: this is a defect of labctl; LABCTL_TRACEBACK=1 shows where, please report it")


def main() -> int:
    """The console script."""
    sys.excepthook = tell_defect
    return answer(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
