"""Files that a verb leaves in a run beside its result: a courtesy, whose failure never costs the result."""

from collections.abc import Iterator
from contextlib import contextmanager

from partlabel.errors import PartlabelError
from partlabel.progress import Reporter


@contextmanager
def courtesy(reporter: Reporter) -> Iterator[None]:
    """Work that may fail, of which one line is then reported: the run may only be read, or its disk is full."""
    try:
        yield
    except (PartlabelError, OSError) as error:
        reporter.say(f"the run folder was not updated: {error}")
