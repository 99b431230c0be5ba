"""The labelling configuration of a Label Studio project, which lists its controls and their classes in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from defusedxml import ElementTree

from partlabel.errors import LabelError
from partlabel.formats.annotation_tools import XML_ERRORS, xml_refusal

_DEEPEST = 100


class Control(NamedTuple):
    """A control that offers names.

    Args:
        kind: as in `Chosen`.
        classes: the names in order.
        key: as in `Chosen`.
        to_name: what it is about.
        single: whether one name at most can be chosen.
        nested: whether a name is the way to it in a tree.
    """

    kind: str
    classes: list[str]
    key: str
    to_name: str
    single: bool
    nested: bool


@dataclass(frozen=True)
class Config:
    """What a configuration says.

    Args:
        path: the file.
        image: the key of `data` that the image is in, if it names a single one.
        controls: by name.
    """

    path: Path
    image: str | None = None
    controls: dict[str, Control] = field(default_factory=dict)


def config_path(path: Path) -> Path:
    """Where the configuration of a file of tasks lies: `labels.config.xml` beside `labels.json`."""
    return path.with_name(f"{path.stem}.config.xml")


def read_config(path: Path) -> Config:
    """The configuration beside a file of tasks; an empty one where there is none.

    Raises:
        LabelError: it is no XML, or nothing safe.
    """
    beside = config_path(path)
    if not beside.is_file():
        return Config(beside)
    try:
        root = ElementTree.fromstring(beside.read_bytes(), forbid_dtd=True)
    except OSError as error:
        raise LabelError(f"{beside} cannot be read: {error.strerror}") from error
    except XML_ERRORS as error:
        raise xml_refusal(beside, error) from error
    shown = [str(node.get("value")) for node in root.iter("Image") if str(node.get("value", "")).startswith("$")]
    config = Config(beside, shown[0][1:] if len(shown) == 1 else None)
    for node in root.iter():
        if node.get("name") and node.get("toName") and node.get("perRegion") != "true":
            names = list(dict.fromkeys(_offered(node, beside)))
            if names:
                config.controls[str(node.get("name"))] = _control(node, names)
    return config


def _control(node: Any, names: list[str]) -> Control:
    key = str(node.tag).lower()
    single = key == "choices" and node.get("choice") != "multiple"
    kind = "labels" if key.endswith("labels") else "choices"
    return Control(kind, names, key, str(node.get("toName")), single, _is_tree(node))


def _is_tree(control: Any) -> bool:
    return bool(control.tag == "Taxonomy" or control.get("allowNested") == "true")


def _offered(control: Any, path: Path) -> Iterator[str]:
    """The names that a control offers; those of a tree with the way to them."""
    is_tree = _is_tree(control)
    waiting: list[tuple[Any, tuple[str, ...]]] = [(child, ()) for child in reversed(control)]
    while waiting:
        node, way = waiting.pop()
        name = node.get("alias") or node.get("value")
        if len(way) > _DEEPEST:
            raise LabelError(f"{path} nests choices too deeply to be a labelling configuration")
        if node.tag in {"Choice", "Label"} and name:
            way = (*way, name) if is_tree else (name,)
            yield "/".join(way)
        waiting += [(child, way) for child in reversed(node)]


def config_text(classes: Sequence[str]) -> str:
    """A configuration with three controls of all classes: for what is present, what is absent, and what is unsure."""
    choices = "".join(f"      <Choice value={quoteattr(name)}/>\n" for name in classes)
    controls = "".join(
        f'  <View style="margin-top: 1em">\n    <Header value="{title}"/>\n'
        f'    <Choices name="{name}" toName="image" choice="multiple" showInline="true">\n{choices}    </Choices>\n'
        f"  </View>\n"
        for name, title in (("present", "Present"), ("absent", "Certainly absent"), ("unsure", "Cannot be decided"))
    )
    return f'<View>\n  <Image name="image" value="$image"/>\n{controls}</View>\n'
