"""A process's edge: where an error becomes two lines and an exit code."""

import sys
import traceback
from collections.abc import Callable

from apps.shared.errors import AivtError
from apps.shared.logs import redacted

INTERRUPTED = 130  # what shells report for Ctrl+C
ERROR, FIX = "error: ", "fix: "  # the supervisor looks for these in what a dying process printed


def exit_code(command: Callable[[], int | None]) -> int:
    """Run a command; print its error, with the fix, and return the exit code that goes with it."""
    try:
        return command() or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 1  # whoever read our output has gone; there is nobody to tell
    except Exception as raised:  # noqa: BLE001 - the one place where everything ends up
        error = known(raised)
        if error is None:
            print(redacted(traceback.format_exc()), file=sys.stderr)
            print(f"{ERROR}{type(raised).__name__}: {redacted(str(raised))}", file=sys.stderr)
            print(f"{FIX}This is a fault of AIVT: please report it with the lines above.", file=sys.stderr)
            return 1
        print(f"{ERROR}{redacted(str(error))}", file=sys.stderr)
        if error.fix:
            print(f"{FIX}{error.fix}", file=sys.stderr)
        return error.exit_code


def known(raised: BaseException) -> AivtError | None:
    """Return the error of ours that a task group wrapped, unless something else was raised as well."""
    if isinstance(raised, AivtError):
        return raised
    if isinstance(raised, BaseExceptionGroup):
        ours = [known(inner) for inner in raised.exceptions]
        return ours[0] if all(ours) else None
    return None
