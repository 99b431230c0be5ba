"""Every error that partlabel raises on purpose: one clear sentence, and the exit code of the command line.

An error says what is wrong, where (file, line, image, class) and what to do about it. The command line prints the
sentence without a traceback; anything that is not a `PartlabelError` is a bug and keeps its traceback.
"""


class PartlabelError(Exception):
    """Base of all expected errors."""

    exit_code = 1


class UsageError(PartlabelError, ValueError):
    """A setting or an argument that cannot be used: unknown name, value out of range, two settings that exclude each
    other.
    """

    exit_code = 2


class StagesError(UsageError):
    """A backbone that gives no features of the stage before its last one."""


class LabelError(PartlabelError, ValueError):
    """Labels that cannot be read or do not make sense: unknown code, conflicting rows, unknown class, no known cell."""

    exit_code = 3


class EmptyTableError(LabelError):
    """A label file that lists no image."""


class ImageError(PartlabelError):
    """An image that is missing, broken, too large or outside the image folder."""

    exit_code = 4


class RunError(PartlabelError):
    """A run folder, checkpoint or bundle that is missing, torn, or belongs to other data."""

    exit_code = 5


class AssumptionError(LabelError):
    """A label table that does not meet what a method assumes of labels."""

    exit_code = 6


class NotFiniteError(PartlabelError, ArithmeticError):
    """A NaN or infinity where a number is needed: in a loss or gradient (raised before the step is taken), or in
    scores.
    """

    exit_code = 7


class StorageError(PartlabelError, OSError):
    """Something could not be written: full disk, no permission."""

    exit_code = 8


class MissingDependencyError(PartlabelError, ImportError):
    """An optional package that the request needs is not installed."""

    exit_code = 9


class WorkerError(PartlabelError):
    """A process that reads images was killed, could not be started, or found no shared memory."""

    exit_code = 10


class Interrupted(PartlabelError):
    """Stopped on request (Ctrl-C, SIGTERM) in a state that can be resumed."""

    exit_code = 130
