"""Learning in the background: after every so many verdicts the model is fitted again, and the order improves."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from partlabel.errors import Interrupted, PartlabelError
from partlabel.progress import Tick
from partlabel.reviewing.pupil import Pupil
from partlabel.reviewing.session import Session
from partlabel.wording import amount

EVERY = 25
"""Verdicts between two fits."""


class Learning:
    """Fits a model to the verdicts of a session, one fit at a time, in a thread of its own.

    All methods run on the thread of the event loop.

    Args:
        pupil: the model.
        session: what is reviewed; it is given each new order.
        every: verdicts from one fit to the next.
    """

    def __init__(self, pupil: Pupil, session: Session, every: int = EVERY) -> None:
        self.pupil, self.session, self.every = pupil, session, every
        self._thread = ThreadPoolExecutor(1, "learning")
        self._progress = _Progress()
        self._task: asyncio.Task[None] | None = None
        self._learned_at: int | None = None
        self._broken = False

    def look(self) -> None:
        """Begin a fit if there was none yet, or enough has changed since the last one."""
        if self._broken or self._task is not None:
            return
        if self._learned_at is None or self.session.verdicts.number - self._learned_at >= self.every:
            self._task = asyncio.create_task(self._learn())

    def close(self) -> None:
        """End, within a batch of images."""
        self._progress.ended = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _learn(self) -> None:
        number, count, given = self.session.verdicts.number, self.session.verdicts.given, self.session.given()
        loop = asyncio.get_running_loop()
        self.session.learning = self._progress.text
        try:
            learned = await loop.run_in_executor(self._thread, self.pupil.learn, given, self._progress)
        except Interrupted:
            return
        except Exception as error:
            self._broken = True
            expected = isinstance(error, PartlabelError)
            if not expected:
                logging.getLogger(__name__).exception("the model could not learn")
            what = str(error) if expected else "an error in partlabel; the terminal says more"
            self.session.announce(f"The model cannot learn, and the order stays as it is: {what}")
        else:
            self._learned_at = number
            said = "The model has looked at the pictures"
            if count:
                said = f"The model has learned from {amount(count, 'verdict')}"
            self.session.take(learned, f"{said}: press r for the better order.")
        finally:
            self._task, self.session.learning = None, None
        self.look()


class _Progress:
    """Where a fit is, in words; it ends what reports to it once `ended` is set."""

    def __init__(self) -> None:
        self.ended = False
        self._now = "learning"

    def text(self) -> str:
        """Where it is now."""
        return self._now

    def say(self, text: str) -> None:
        """Ignore the line: it was said when the run was trained."""

    @contextmanager
    def track(self, what: str) -> Iterator[Tick]:
        """Keep the last step."""
        yield self._tick_of(what)
        self._now = "learning"

    def _tick_of(self, what: str) -> Callable[[int, int], None]:
        def tick(done: int, total: int) -> None:
            if self.ended:
                raise Interrupted("the review has ended")
            self._now = "learning" if what.startswith("fitting") else f"{what}, {done:,} of {total:,}"

        return tick
