"""A project of Label Studio as its export tells it: which controls give which states, and the tasks one by one."""

from collections.abc import Iterable, Mapping

from partlabel.errors import LabelError
from partlabel.formats.annotation_tools import STATED, brief, brief_list
from partlabel.formats.header import closest
from partlabel.formats.label_studio.config import Config
from partlabel.formats.label_studio.tasks import Task, image_key, image_name, names_of, read_tasks
from partlabel.formats.listing import Listing
from partlabel.formats.reading import Reading
from partlabel.labels import Source as CellSource
from partlabel.labels import State
from partlabel.wording import amount

_Stated = tuple[State, CellSource]
_PRESENT = STATED["present"]


class Project:
    """The tasks of a project as they are read.

    Args:
        listing: where they are listed; the file is read once to know the controls.
        config: the labelling configuration, perhaps empty.
    """

    def __init__(self, listing: Listing, config: Config) -> None:
        self.listing, self.config, self.roles = listing, config, listing.options.roles
        self.key: str | None = None
        kinds = {name: {control.kind} for name, control in config.controls.items()}
        for record, task in read_tasks(listing.path):
            if self.key is None:
                self.key = image_key(task.data, self.roles.get("image"), config.image, listing.place(record))
            for one in (*task.chosen, *task.predicted):
                if one.control != self.key:
                    kinds.setdefault(one.control, set()).add(one.kind)
        self.stated = self._controls(kinds)
        self.tasks = self.cancelled = self.numbered = self.unscored = self.not_of_present = 0
        self.uploads: dict[str, str] = {}
        self.looked: set[int] = set()

    def _controls(self, kinds: Mapping[str, set[str]]) -> dict[str, _Stated]:
        """What each control says of what is chosen in it."""
        known = [name for name, kind in kinds.items() if kind & {"choices", "labels"}]
        asked = {self.roles[role]: stated for role, stated in STATED.items() if role in self.roles}
        if asked:
            stated = self._asked(asked, kinds)
        else:
            named = {name: STATED[name.casefold()] for name in kinds if name.casefold() in STATED}
            boxes = {name: _PRESENT for name in known if "labels" in kinds[name]}
            choices = [name for name in known if name not in boxes | named]
            if any(state for state, _ in named.values()):
                choices = []
            if len(choices) > 1:
                raise LabelError(
                    f"{self.listing.path} has the controls {brief_list(choices)}; say which of them lists the "
                    f"classes that are present with --columns present=NAME, and, where one lists the absent ones, "
                    f"present=NAME,absent=NAME"
                )
            stated = boxes | named | dict.fromkeys(choices, _PRESENT)
        self._check(stated, kinds)
        return stated

    def _asked(self, asked: Mapping[str, _Stated], known: Iterable[str]) -> dict[str, _Stated]:
        missing = [name for name in asked if name not in known]
        if [*known] and len(missing) == len(asked):
            near = closest(missing[0], [name[:60] for name in known])
            raise LabelError(f"{self.listing.path} has no control {missing[0]!r}; {near}")
        for name in missing:
            self.listing.note(f"nothing is chosen in the control {name!r}")
        return dict(asked)

    def _check(self, stated: Iterable[str], kinds: Mapping[str, set[str]]) -> None:
        """Refuse a file of which no control is known, and note the other controls."""
        read = {*stated}
        others = [name for name, kind in kinds.items() if name not in read and kind != {"text"}]
        texts = [name for name, kind in kinds.items() if name not in read and kind == {"text"}]
        if not read and texts:
            raise LabelError(
                f"{self.listing.path}: it is not clear which key holds the classes (there are: "
                f"{brief_list(texts)}); say it with --columns present=KEY"
            )
        if others:
            self.listing.note(f"nothing is read from {amount(len(others), 'other control')}: {brief_list(others)}")

    def add(self, task: Task, record: int) -> None:
        """List one task."""
        row = self.listing.image(self.image(task, record), record)
        self.tasks += 1
        self.cancelled += task.cancelled
        self.numbered += task.numbered
        if task.looked or any(one.control in self.stated for one in task.chosen):
            self.looked.add(row)
        ours = task.shown | names_of(one for one in task.predicted if one.ours and self.gives_present(one.control))
        for one in task.chosen:
            if one.control in self.stated:
                state, source = self.stated[one.control]
                for name in one.names:
                    origin = CellSource.REVIEW if state and name in ours else source
                    self.listing.cell(row, self.listing.declare(name, record), state, record, origin)
        self._suggest(task, row, record)

    def _suggest(self, task: Task, row: int, record: int) -> None:
        decided = names_of(one for one in task.chosen if one.control in self.stated)
        for one in task.predicted:
            if one.control not in self.stated:
                continue
            for name in one.names:
                probability = one.probability(name)
                self.not_of_present += not self.gives_present(one.control)
                self.unscored += self.gives_present(one.control) and probability is None
                if self.gives_present(one.control) and probability is not None and name not in decided:
                    self.listing.suggest(row, self.listing.declare(name, record), probability, record)

    def gives_present(self, control: str) -> bool:
        """Whether what is chosen in a control is present."""
        return self.stated.get(control) == _PRESENT

    def image(self, task: Task, record: int) -> str:
        """The name of the image of a task.

        Raises:
            LabelError: it has none, or two uploads have the same.
        """
        address = task.data.get(str(self.key))
        if not isinstance(address, str) or not address:
            keys = brief_list(task.data)
            raise LabelError(
                f"{self.listing.place(record)}: its data has no image under {brief(self.key)} (there are: {keys}); say "
                f"where it is with --columns image=KEY, or leave such tasks out"
            )
        name, uploaded = image_name(address)
        if uploaded and self.uploads.setdefault(name, address) != address:
            raise LabelError(
                f"{self.listing.place(record)}: the uploads {brief(self.uploads[name])} and {brief(address)} are both "
                f"called {brief(name)}; delete one of the two tasks, or rename and upload it again"
            )
        return name

    def finish(self) -> Reading:
        """The table and what its owner should know."""
        listing = self.listing
        for row in range(len(listing.images.rows)):
            if row not in self.looked:
                listing.nobody_looked(row)
        notes = (
            (self.cancelled, "annotation", "skipped by the annotator and left out"),
            (self.numbered, "prediction", "given by number only and left out"),
            (self.unscored, "prediction", "left out, because no score from 0 to 1 belongs to it"),
            (self.not_of_present, "prediction", "of what is absent or unsure, and left out"),
            (len(self.uploads), "image name", "taken from the address of an upload, without the code before it"),
        )
        for count, what, rest in notes:
            if count:
                listing.note(f"{amount(count, what)} {'is' if count == 1 else 'are'} {rest}")
        return listing.finish(self.tasks)
