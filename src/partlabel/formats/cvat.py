"""CVAT for images 1.1: XML with the tags and shapes of each image.

A tag or shape says that its label is present, unless it has an attribute `state` with the value absent, unknown,
unsure or suggested; `columns` gives that attribute another name. What is not tagged is unknown: CVAT does not tell an
image that nobody has looked at from one that has nothing.

CVAT keeps where a tag is from in `source`. `auto` is the work of a model that nobody has touched: where no state and
probability say more, it is left out, and reported. What a person has corrected is `semi-auto` or `manual`, and what
came in with a file is `file`, also the suggestions of partlabel. So a suggestion is known by its state, and a verdict
by a state present or absent beside the probability, which labels of people do not have.

partlabel writes beside `labels.xml` the file `labels.labels.json`, to paste into the raw constructor of labels when the
task is made; CVAT takes annotations only for labels and attributes that a task has.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from defusedxml import ElementTree

from partlabel.errors import LabelError
from partlabel.files import atomic_path, write_json
from partlabel.formats.annotation_tools import (
    STATED,
    XML_ERRORS,
    ImageCells,
    brief,
    check_roles,
    image_cells,
    refuse_xml_unfit,
    xml_refusal,
)
from partlabel.formats.base import Format, Source
from partlabel.formats.header import closest
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource
from partlabel.wording import amount

_STATES = STATED | {"unknown": (State.UNKNOWN, CellSource.IMPORT)}
_SUGGESTED = "suggested"
_WORDS = (*_STATES, _SUGGESTED)
_PROBABILITY = "probability"
_SHAPES = {"tag", "box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"}
_ROOT = re.compile(r"<annotations\b")


class Cvat(Format):
    """CVAT for images."""

    name = "cvat"
    title = "CVAT for images 1.1 (XML)"
    states = "an attribute state of each tag: present, absent, unknown or unsure; what is not tagged is unknown"
    suffixes = (".xml",)
    options = frozenset({"unlisted", "columns"})
    advice = "put the .labels.json beside it into Raw when the task is made, and upload the file as annotations"
    written_with = frozenset({"suggested", "prefix"})
    keeps_unsure = True

    def companions(self, path: Path) -> tuple[Path, ...]:
        """The labels for the constructor."""
        return (labels_path(path),)

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether its root is that of CVAT."""
        return _ROOT.search(source.ends[:10_000]) is not None

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the tags and shapes of all images; the labels that the file declares are the classes, in their order.

        Raises:
            LabelError: it is no such XML, or of a video; a state is no state, and the like; names the image.
            UsageError: `columns` gives another role than `state`.
        """
        check_roles(options.roles, ["state"], self.name)
        images = _Images(Listing(source, options, self.name, "image"))
        for element in _elements(source.path):
            if element.tag == "meta":
                images.declare(element)
            else:
                images.add(element)
        return images.finish()

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write a tag for each known or unsure cell and each suggestion, and the labels for CVAT beside them.

        Of sources, unsure alone is kept.

        Raises:
            LabelError: a name has a character that XML cannot hold.
        """
        refuse_xml_unfit((*table.images, *table.classes, options.prefix), path)
        with atomic_path(path) as temporary:
            with temporary.open("w", encoding="utf-8", newline="\n") as stream:
                stream.write(_head(table))
                for number, one in enumerate(image_cells(table, options.suggested)):
                    stream.writelines(_image(one, number, options.prefix))
                stream.write("</annotations>\n")
            write_json(labels_path(path), [_raw_label(name) for name in table.classes])


def labels_path(path: Path) -> Path:
    """Where the labels for CVAT lie: `a.labels.json` beside `a.xml`."""
    return path.with_name(f"{path.stem}.labels.json")


def _elements(path: Path) -> Iterator[Any]:
    """The declarations and the images of a file, one after the other, each forgotten when the next one is asked for."""
    try:
        with path.open("rb") as file:
            above: list[Any] = []
            for event, element in ElementTree.iterparse(file, ("start", "end"), forbid_dtd=True):
                if event == "start":
                    above.append(element)
                    _check_place(path, above)
                    continue
                above.pop()
                if len(above) == 1 and element.tag in {"meta", "image"}:
                    yield element
                    above[0].clear()
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error
    except LabelError:
        raise
    except XML_ERRORS as error:
        raise xml_refusal(path, error) from error


def _check_place(path: Path, above: list[Any]) -> None:
    if above[0].tag != "annotations":
        raise LabelError(f"{path} is no export of CVAT for images: its root is {str(above[0].tag)[:60]!r}")
    if len(above) == 2 and above[1].tag == "track":
        raise LabelError(f"{path} holds the tracks of a video; export the task as 'CVAT for images 1.1'")


class _Images:
    """Images as they are read, into a listing."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.attribute = listing.options.roles.get("state", "state")
        self.is_asked = "state" in listing.options.roles
        self.attributes: set[str] = set()
        self.other_meaning: set[str] = set()
        self.count = self.untouched = self.unscored = 0

    def declare(self, meta: Any) -> None:
        """List the classes that the file declares, without the parts of skeletons."""
        for label in meta.iter("label"):
            if label.find("parent") is not None or label.find("name") is None:
                continue
            name = label.findtext("name")
            self.listing.declare(name, 0)
            for attribute in label.iter("attribute"):
                self.attributes.add(attribute.findtext("name") or "")
                values = (attribute.findtext("values") or "").split("\n")
                is_state = any(value.strip().casefold() in _WORDS for value in values)
                if attribute.findtext("name") == self.attribute and not is_state and any(values):
                    self.other_meaning.add(name)

    def add(self, image: Any) -> None:
        """List one image with its tags and shapes."""
        self.count += 1
        row = self.listing.image(image.get("name"), self.count)
        for element in image:
            if element.tag in _SHAPES:
                self._tag(element, row)

    def _tag(self, element: Any, row: int) -> None:
        name, record = element.get("label"), self.count
        column = self.listing.declare(name, record)
        values = {one.get("name"): (one.text or "").strip() for one in element.findall("attribute")}
        self.attributes |= values.keys()
        probability = _number(values.get(_PROBABILITY, ""))
        word = "" if name in self.other_meaning else values.get(self.attribute, "").casefold()
        if word and word not in _WORDS:
            raise LabelError(
                f"{self.listing.place(record)}: the state {brief(values[self.attribute])} of label {brief(name)} "
                f"is none of {', '.join(_WORDS)}; correct it, or name the attribute that says it with "
                f"--columns state=NAME"
            )
        untouched = element.get("source") == "auto" and word in {"", "present"} and probability is None
        if word == _SUGGESTED or untouched:
            self.listing.cell(row, column, State.UNKNOWN, record)
            self.untouched += untouched
            self.unscored += not untouched and probability is None
            if probability is not None:
                self.listing.suggest(row, column, probability, record)
            return
        corrected = bool(word) and (probability is not None or element.get("source") in {"auto", "semi-auto"})
        state, source = _STATES[word or "present"]
        self.listing.cell(row, column, state, record, CellSource.REVIEW if state and corrected else source)

    def finish(self) -> Reading:
        """The table and what its owner should know."""
        listing = self.listing
        if self.is_asked and self.attribute not in self.attributes:
            near = closest(self.attribute, [name[:60] for name in sorted(self.attributes)])
            raise LabelError(f"{listing.path} has no attribute {self.attribute!r}; {near}")
        notes = (
            (self.untouched, "tag or shape of a model", "tags and shapes of models", "that nobody has touched"),
            (self.unscored, "suggestion", "suggestions", "without a probability from 0 to 1"),
        )
        for count, one, several, rest in notes:
            if count:
                listing.note(f"{amount(count, one, several)} {rest} {'is' if count == 1 else 'are'} left out")
        if self.other_meaning:
            listing.note(
                f"the attribute {self.attribute!r} of {amount(len(self.other_meaning), 'label')} says no state"
            )
        return listing.finish(self.count)


def _number(text: str) -> float | None:
    """A probability; None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _text(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def _head(table: LabelTable) -> str:
    attributes = "".join(
        f"          <attribute><name>{one['name']}</name><mutable>False</mutable>"
        f"<input_type>{one['input_type']}</input_type><default_value>{one['default_value']}</default_value>"
        f"<values>{chr(10).join(one['values'])}</values></attribute>\n"
        for one in _attributes()
    )
    labels = "".join(
        f"        <label><name>{_text(name)}</name><type>tag</type><attributes>\n{attributes}"
        f"        </attributes></label>\n"
        for name in table.classes
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <name>partlabel</name>\n      <size>{len(table)}</size>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{labels}      </labels>\n    </task>\n  </meta>\n"
    )


def _image(one: ImageCells, number: int, prefix: str) -> Iterator[str]:
    yield f'  <image id="{number}" name={quoteattr(prefix + one.image)}>\n'
    for name, word in one.words.items():
        yield _tag(name, "manual", word)
    for suggestion in one.suggested:
        yield _tag(suggestion.class_name, "auto", _SUGGESTED, repr(suggestion.probability))
    yield "  </image>\n"


def _tag(name: str, source: str, state: str, probability: str = "") -> str:
    return (
        f'    <tag label={quoteattr(name)} source="{source}"><attribute name="state">{state}</attribute>'
        f'<attribute name="{_PROBABILITY}">{probability}</attribute></tag>\n'
    )


def _attributes() -> list[dict[str, Any]]:
    about: dict[str, Any] = {"mutable": False}
    return [
        {"name": "state", "input_type": "select", "default_value": "present", "values": [*_WORDS], **about},
        {"name": _PROBABILITY, "input_type": "text", "default_value": "", "values": [""], **about},
    ]


def _raw_label(name: str) -> dict[str, Any]:
    return {"name": name, "type": "tag", "attributes": _attributes()}
