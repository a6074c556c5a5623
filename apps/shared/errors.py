"""What can go wrong, as a small tree: every error has a code, and tells how to mend it.

Stages raise these; a process's edge (the command line, a worker's loop) turns them into an exit code, a
red light or an event, in one place each.
"""


class AivtError(Exception):
    """The root. `str(error)` is the reason, without the fix.

    code: machine-readable name, stable across versions ("model_missing").
    fix: one sentence or command that mends it, shown by the panel, the doctor and the command line.
    retryable: whether the same call may succeed if it is simply made again.
    exit_code: what a command ends with when this error reaches its edge (2 bad arguments or settings,
        3 something needed is missing, 4 port in use, 1 anything else).
    """

    exit_code = 1

    def __init__(self, code: str, reason: str, *, fix: str = "", retryable: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.fix = fix
        self.retryable = retryable


class SettingsError(AivtError):
    """A setting or an argument has a value that cannot be used."""

    exit_code = 2


class MissingError(AivtError):
    """Something the process needs is not there: a file, a library, a program, a device."""

    exit_code = 3


class PortInUseError(AivtError):
    """Another program listens on the port already."""

    exit_code = 4


class EngineError(AivtError):
    """An engine (a model, a voice, a recogniser) failed at its work."""


class BadMessageError(AivtError):
    """A frame that is not one of our messages; the connection it came on lives."""
