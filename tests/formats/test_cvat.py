"""CVAT for images: exports as the server writes them, our own files, hostile XML, and datumaro."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import Reading, Suggestion, read_table, write_table
from partlabel.labels import LabelTable, Source, State

PRESENT, ABSENT, UNKNOWN = State.PRESENT, State.ABSENT, State.UNKNOWN
STATE_ATTRIBUTE = (
    "<attribute><name>state</name><mutable>False</mutable><input_type>select</input_type>"
    "<default_value>present</default_value><values>{}</values></attribute>"
)
META = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><job><id>7</id><size>5</size><mode>annotation</mode><labels>
    <label><name>cat</name><color>#fafa37</color><type>any</type><attributes>{attributes}</attributes></label>
    <label><name>dog</name><color>#34d1b7</color><type>tag</type><attributes></attributes></label>
    <label><name>person</name><type>skeleton</type><attributes></attributes><svg>&lt;line/&gt;</svg></label>
    <label><name>nose</name><type>points</type><attributes></attributes><parent>person</parent></label>
  </labels></job><dumped>2026-01-01 00:00:00+00:00</dumped></meta>
"""


def export(path: Path, images: str, values: str = "present\nabsent\nunknown") -> Path:
    head = META.format(attributes=STATE_ATTRIBUTE.format(values))
    path.write_text(f"{head}{images}\n</annotations>\n", encoding="utf-8")
    return path


def tag(label: str, source: str = "manual", **attributes: str) -> str:
    inner = "".join(f'<attribute name="{name}">{value}</attribute>' for name, value in attributes.items())
    return f'<tag label="{label}" source="{source}">{inner}</tag>'


def image(name: str, *tags: str) -> str:
    return f'<image id="0" name="{name}" subset="default" task_id="1" width="4" height="3">{"".join(tags)}</image>'


def cells(reading: Reading) -> dict[tuple[str, str], tuple[int, int]]:
    table = reading.table
    return {
        (table.images[row], table.classes[column]): (int(state), int(source))
        for row, column, state, source in zip(*table.cells(), strict=True)
    }


BOX = '<box label="dog" source="semi-auto" occluded="0" xtl="0" ytl="0" xbr="1" ybr="1" z_order="0"></box>'
SKELETON = (
    '<skeleton label="person" source="manual" z_order="0">'
    '<points label="nose" source="manual" outside="0" occluded="0" points="1,2"></points></skeleton>'
)
MASK = '<mask label="dog" source="auto" occluded="0" rle="1" left="0" top="0" width="1" height="1" z_order="0"></mask>'


def test_a_half_annotated_task(tmp_path: Path) -> None:
    images = [
        image("a.jpg", tag("cat", state="present"), BOX, SKELETON),
        image("b/c.jpg", tag("cat", state="Absent"), tag("dog", source="file")),
        image("d.jpg", tag("cat", state="unknown")),
        image("e.jpg"),
        image("f.jpg", MASK, tag("cat", "auto", state="present")),
    ]
    path = export(tmp_path / "annotations.xml", "".join(images))
    reading = read_table(path)
    assert reading.table.images == ("a.jpg", "b/c.jpg", "d.jpg", "e.jpg", "f.jpg")
    assert reading.table.classes == ("cat", "dog", "person")
    assert reading.table.dense().tolist() == [[1, 1, 1], [-1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert set(reading.table.sources) == {Source.IMPORT}
    assert reading.report.notes == ("2 tags and shapes of models that nobody has touched are left out",)
    complete = read_table(path, unlisted="absent").table
    assert complete.dense().tolist() == [[1, 1, 1], [-1, 1, -1], [0, -1, -1], [-1, -1, -1], [0, 0, -1]]


def test_verdicts_and_suggestions(tmp_path: Path) -> None:
    images = [
        image("a.jpg", tag("cat", "auto", state="suggested", probability="0.75")),
        image("b.jpg", tag("cat", "semi-auto", state="present", probability="0.75")),
        image("c.jpg", tag("cat", "manual", state="absent", probability="0.5")),
        image("d.jpg", tag("cat", "semi-auto", state="absent")),
        image("e.jpg", tag("cat", "manual", state="absent", probability="")),
        image("f.jpg", tag("cat", "auto", state="suggested", probability="75 %")),
        image("g.jpg", tag("cat", "auto", state="unknown", probability="0.25")),
        image("h.jpg", tag("cat", "file", state="suggested", probability="0.125"), tag("dog", "file", state="absent")),
        image("i.jpg", tag("cat", "semi-auto", state="unsure", probability="0.5"), tag("dog", state="Unsure")),
        image("j.jpg", tag("cat", state="unsure"), tag("cat", "auto", state="suggested", probability="0.5")),
    ]
    reading = read_table(export(tmp_path / "t.xml", "".join(images), "present\nabsent\nunsure\nunknown\nsuggested"))
    assert cells(reading) == {
        ("b.jpg", "cat"): (PRESENT, Source.REVIEW),
        ("c.jpg", "cat"): (ABSENT, Source.REVIEW),
        ("d.jpg", "cat"): (ABSENT, Source.REVIEW),
        ("e.jpg", "cat"): (ABSENT, Source.IMPORT),
        ("h.jpg", "dog"): (ABSENT, Source.IMPORT),
        ("i.jpg", "cat"): (UNKNOWN, Source.UNSURE),
        ("i.jpg", "dog"): (UNKNOWN, Source.UNSURE),
        ("j.jpg", "cat"): (UNKNOWN, Source.UNSURE),
    }
    assert list(reading.report.suggested) == [Suggestion("a.jpg", "cat", 0.75), Suggestion("h.jpg", "cat", 0.125)]
    assert reading.report.notes == ("1 suggestion without a probability from 0 to 1 is left out",)


def test_the_attribute_has_another_name_or_meaning(tmp_path: Path) -> None:
    images = image("a.jpg", tag("cat", visible="absent", state="open"))
    path = export(tmp_path / "t.xml", images, "open\nclosed")
    reading = read_table(path)
    assert cells(reading) == {("a.jpg", "cat"): (PRESENT, Source.IMPORT)}
    assert reading.report.notes == ("the attribute 'state' of 1 label says no state",)
    assert cells(read_table(path, columns="state=visible")) == {("a.jpg", "cat"): (ABSENT, Source.IMPORT)}
    with pytest.raises(LabelError, match="no attribute 'visibel'; closest: 'visible'"):
        read_table(path, columns="state=visibel")
    with pytest.raises(UsageError, match="'present'"):
        read_table(path, columns="present=visible")


def test_tags_of_one_image_that_contradict_each_other(tmp_path: Path) -> None:
    path = export(tmp_path / "t.xml", image("a.jpg", tag("cat", state="present"), tag("cat", state="absent")))
    with pytest.raises(LabelError, match="class 'cat' is present on image 1 and absent on image 1"):
        read_table(path)
    assert read_table(path, conflicts="unknown").report.conflict_count == 1


def test_written_suggestions_come_back(tmp_path: Path, told: Any) -> None:
    path = tmp_path / "t.xml"
    write_table(told.table, path, format="cvat", suggested=told.suggested, prefix="project/")
    reading = read_table(path, strip="project/")
    assert reading.table.hash == told.table.hash
    assert list(reading.report.suggested) == list(told.suggested)
    assert reading.table.sources.tolist() == told.table.sources.tolist()
    accepted = path.read_text(encoding="utf-8").replace(">suggested<", ">absent<").replace("\nabsent</values>", "")
    path.write_text(accepted, encoding="utf-8")
    verdicts = {at: found for at, found in cells(read_table(path)).items() if found[1] == Source.REVIEW}
    assert verdicts == {
        ("project/a.jpg", "unused"): (ABSENT, Source.REVIEW),
        ("project/sub dir/b&c.jpg", 'a "quoted" <b>'): (ABSENT, Source.REVIEW),
    }


def test_what_cannot_be_written(tmp_path: Path) -> None:
    for names in (["a\x01.jpg"], ["cat"]), (["a.jpg"], ["c\ufffft"]):
        with pytest.raises(LabelError, match="XML cannot hold"):
            write_table(LabelTable.from_dense(*names, [[1]]), tmp_path / "t.xml", format="cvat")
    assert list(tmp_path.iterdir()) == []


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><annotations>&b;</annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations><image name="&x;"/></annotations>'


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (BOMB, "document type or entities"),
        (OUTSIDE, "document type or entities"),
        ("<annotations><image name='a.jpg'>", "no complete XML"),
        ("", "no complete XML"),
        ("\x00\x01", "no complete XML"),
        ('<?xml version="1.0" encoding="nonsense"?><annotations/>', "no complete XML"),
        ("<annotations/>", "lists no image"),
        ("<annotation><filename>a.jpg</filename></annotation>", "its root is 'annotation'"),
        ("<annotations><track id='0' label='cat'/></annotations>", "tracks of a video"),
        ("<annotations><image><tag label='cat'/></image></annotations>", "image 1: the name of an image is missing"),
        ("<annotations><image name='a'><tag/></image></annotations>", "image 1: the name of a class is missing"),
        ("<annotations><image name='a'/></annotations>", "names no class"),
        ("<annotations><image name='nan'/></annotations>", "stands for a missing value"),
        (f"<annotations><image name='a'>{tag('cat', state='maybe')}</image></annotations>", "the state 'maybe'"),
        ("<annotations>" + "<image name='a'>" * 5000 + "</image>" * 5000 + "</annotations>", "names no class"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, phrase: str) -> None:
    path = tmp_path / "t.xml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LabelError) as refusal:
        read_table(path, format="cvat")
    assert phrase in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_datumaro_takes_what_is_written(tmp_path: Path, consumer: Callable[..., Any], told: Any) -> None:
    path = tmp_path / "t.xml"
    write_table(told.table, path, suggested=told.suggested, format="cvat")
    seen = consumer("datumaro_opens_cvat.py", path, tmp_path / "opened")
    quoted = 'a "quoted" <b>'
    assert seen["labels"] == list(told.table.classes)
    assert set(seen["attributes"]) == {"state", "probability"}
    assert seen["images"] == {
        "a": [
            [quoted, {"state": "absent", "probability": ""}],
            ["dog", {"state": "present", "probability": ""}],
            ["unused", {"state": "suggested", "probability": "0.1"}],
        ],
        "sub dir/b&c": [
            ["unused", {"state": "unsure", "probability": ""}],
            ["dog", {"state": "absent", "probability": ""}],
            [quoted, {"state": "suggested", "probability": "0.97"}],
        ],
        "nothing": [],
    }
    words = ["present", "absent", "unsure", "unknown", "suggested"]
    assert seen["sent"] == [[name, "tag", words] for name in told.table.classes]


def test_cvat_xml_of_datumaro_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    (path,) = consumer("datumaro_exports_cvat.py", tmp_path / "out")
    table = read_table(path).table
    assert table.images == ("a.jpg", "sub/b.jpg")
    assert table.classes == ("dog", "cat", "owl")
    assert table.dense().tolist() == [[1, 1, 0], [0, 0, 0]]
