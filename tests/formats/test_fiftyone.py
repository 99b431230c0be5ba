"""FiftyOne: datasets as it exports them, our own, damaged folders, and FiftyOne itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import Reading, Suggestion, read_table, write_table
from partlabel.labels import Source, State

PRESENT, ABSENT, UNKNOWN = State.PRESENT, State.ABSENT, State.UNKNOWN
PLAIN_FIELDS = [{"name": "filepath", "ftype": "fiftyone.core.fields.StringField", "embedded_doc_type": None}]


def field(name: str, kind: str = "Classifications", key: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": "fiftyone.core.fields.EmbeddedDocumentField",
        "embedded_doc_type": f"fiftyone.core.labels.{kind}",
        "fields": [],
        "db_field": key or name,
    }


def labels(*names: Any, **more: Any) -> dict[str, Any]:
    made = [
        {"_id": {"$oid": "6b0da1b1386a28b3d4d0418d"}, "_cls": "Classification", "tags": [], "label": name, **more}
        for name in names
    ]
    return {"_cls": "Classifications", "classifications": made}


def dataset(folder: Path, fields: list[dict[str, Any]], samples: list[Any], **metadata: Any) -> Path:
    folder.mkdir(exist_ok=True)
    document = {"version": "1.22.1", "media_type": "image", "sample_fields": [*PLAIN_FIELDS, *fields], **metadata}
    (folder / "metadata.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "samples.json").write_text(json.dumps({"samples": samples}), encoding="utf-8")
    return folder


def sample(path: str, **fields: Any) -> dict[str, Any]:
    return {"_id": {"$oid": "6b0da1b1386a28b3d4d0418e"}, "filepath": path, "tags": [], "_rand": 0.5, **fields}


def simple(folder: Path, classes: Any, named: Any, files: tuple[str, ...] = ()) -> Path:
    for file in ("labels.json", *files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    (folder / "labels.json").write_text(json.dumps({"classes": classes, "labels": named}), encoding="utf-8")
    return folder


def cells(reading: Reading) -> dict[tuple[str, str], tuple[int, int]]:
    table = reading.table
    return {
        (table.images[row], table.classes[column]): (int(state), int(source))
        for row, column, state, source in zip(*table.cells(), strict=True)
    }


def test_our_fields(tmp_path: Path) -> None:
    samples = [
        sample("data/a.jpg", present=labels("cat"), absent=labels("owl")),
        sample("data/b.jpg", present=labels(), absent=None),
        sample("data/c.jpg", suggested=labels("dog", confidence=0.75)),
        sample("data/d.jpg", suggested=labels("dog", confidence=0.5, tags=["accepted"])),
        sample("data/e.jpg", suggested=labels("cat", "owl", confidence=0.5, tags=["checked", "rejected"])),
        sample("data/f.jpg", suggested=labels("cat")),
        sample("data/g.jpg", suggested=labels("owl", confidence=0.5, tags=["unsure"])),
        sample("data/h.jpg", unsure=labels("cat"), suggested=labels("cat", confidence=0.5)),
    ]
    fields = [*map(field, ("present", "absent", "unsure", "suggested")), field("boxes", "Detections")]
    path = dataset(tmp_path / "set", fields, samples, default_classes=["dog", "cat"], classes={"absent": ["emu"]})
    reading = read_table(path)
    assert reading.table.images == tuple(f"data/{letter}.jpg" for letter in "abcdefgh")
    assert reading.table.classes == ("dog", "cat", "emu", "owl")
    assert cells(reading) == {
        ("data/a.jpg", "cat"): (PRESENT, Source.IMPORT),
        ("data/a.jpg", "owl"): (ABSENT, Source.IMPORT),
        ("data/d.jpg", "dog"): (PRESENT, Source.REVIEW),
        ("data/e.jpg", "cat"): (ABSENT, Source.REVIEW),
        ("data/e.jpg", "owl"): (ABSENT, Source.REVIEW),
        ("data/g.jpg", "owl"): (UNKNOWN, Source.UNSURE),
        ("data/h.jpg", "cat"): (UNKNOWN, Source.UNSURE),
    }
    assert list(reading.report.suggested) == [Suggestion("data/c.jpg", "dog", 0.75)]
    assert reading.report.notes == (
        "nothing is read from 1 other label field: 'boxes'",
        "1 suggestion without a confidence from 0 to 1 is left out",
    )
    complete = read_table(path, unlisted="absent").table.dense().tolist()
    assert complete[:4] == [[-1, 1, -1, -1], [-1] * 4, [0] * 4, [1, 0, 0, 0]]
    assert complete[4:] == [[0, -1, 0, -1], [0] * 4, [0] * 4, [-1, 0, -1, -1]]


def test_the_only_field(tmp_path: Path) -> None:
    samples = [
        sample("/mnt/x/a.jpg", gt={"_cls": "Detections", "detections": [{"_cls": "Detection", "label": "cat"}]}),
        sample("/mnt/x/b.jpg", gt=None),
        sample("/mnt/x/c.jpg", gt={"_cls": "Detections", "detections": [{"label": "dog", "confidence": 0.25}]}),
    ]
    path = dataset(tmp_path / "set", [field("ground truth", "Detections", key="gt")], samples)
    reading = read_table(path, strip="/mnt/x/")
    assert cells(reading) == {("a.jpg", "cat"): (PRESENT, Source.IMPORT)}
    assert list(reading.report.suggested) == [Suggestion("c.jpg", "dog", 0.25)]
    assert "1 label with a confidence is taken as a suggestion" in reading.report.notes
    scored = read_table(path, columns="present=ground truth").table
    assert scored.dense().tolist() == [[1, 0], [0, 0], [0, 1]]


def test_what_is_unsure_beside_the_only_other_field(tmp_path: Path) -> None:
    samples = [sample("a.jpg", tags_=labels("cat"), unsure=labels("dog")), sample("b.jpg", tags_=labels("dog"))]
    path = dataset(tmp_path / "set", [field("tags_"), field("unsure")], samples)
    assert cells(read_table(path)) == {
        ("a.jpg", "cat"): (PRESENT, Source.IMPORT),
        ("a.jpg", "dog"): (UNKNOWN, Source.UNSURE),
        ("b.jpg", "dog"): (PRESENT, Source.IMPORT),
    }
    dataset(path, [field("tags_"), field("unsure"), field("more")], samples)
    with pytest.raises(LabelError, match=r"it is not clear .*'tags_', 'unsure', 'more'"):
        read_table(path)
    said = read_table(path, columns="present=unsure,unsure=tags_")
    assert said.table.unsure == 2
    assert said.table.dense().tolist() == [[1, 0], [0, 0]]
    assert read_table(dataset(path, [field("unsure")], samples)).table.unsure == 1


def test_fields_are_chosen_among(tmp_path: Path) -> None:
    single = {"_cls": "Classification", "label": "cat"}
    samples = [sample("a.jpg", seen=single, missing=labels("dog"), model=labels("emu", confidence=0.5))]
    fields = [field("seen", "Classification"), field("missing"), field("model")]
    path = dataset(tmp_path / "set", fields, samples)
    with pytest.raises(LabelError, match=r"'seen', 'missing', 'model'.*--columns present=FIELD"):
        read_table(path)
    reading = read_table(path, columns="present=seen,absent=missing,suggested=model")
    assert {at: state for at, (state, _) in cells(reading).items()} == {
        ("a.jpg", "cat"): PRESENT,
        ("a.jpg", "dog"): ABSENT,
    }
    assert list(reading.report.suggested) == [Suggestion("a.jpg", "emu", 0.5)]
    with pytest.raises(LabelError, match="no label field 'sen'; closest: 'seen'"):
        read_table(path, columns="present=sen")
    with pytest.raises(UsageError, match="'state'"):
        read_table(path, columns="state=seen")


def test_a_verdict_against_a_label(tmp_path: Path) -> None:
    samples = [sample("a.jpg", present=labels("cat"), suggested=labels("cat", confidence=0.5, tags=["rejected"]))]
    path = dataset(tmp_path / "set", [field("present"), field("suggested")], samples)
    with pytest.raises(LabelError, match="class 'cat' is present on sample 1 and absent on sample 1"):
        read_table(path)
    assert read_table(path, conflicts="unknown").report.conflict_count == 1


def test_an_image_classification_dataset(tmp_path: Path) -> None:
    named = {
        "a": ["cat", 2],
        "sub/b": 0,
        "c": None,
        "d": [{"label": "dog", "confidence": 0.75}, {"label": "cat"}],
        "twice": "dog",
        "/abs/e.png": [],
    }
    files = ("data/a.jpg", "data/sub/b.PNG", "data/d.webp", "data/twice.jpg", "data/twice.png")
    path = simple(tmp_path / "set", ["dog", "cat", "owl"], named, files)
    reading = read_table(path)
    assert reading.table.images == ("a.jpg", "sub/b.PNG", "c", "d.webp", "twice", "/abs/e.png")
    assert reading.table.classes == ("dog", "cat", "owl")
    assert reading.table.dense().tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert list(reading.report.suggested) == [Suggestion("d.webp", "dog", 0.75)]
    assert "2 image names have no ending, because no file in data/ is called so" in reading.report.notes
    complete = read_table(path, unlisted="absent").table.dense().tolist()
    assert complete == [[-1, 1, 1], [1, -1, -1], [0, 0, 0], [0, 1, -1], [1, -1, -1], [-1, -1, -1]]


def test_written_suggestions_come_back(tmp_path: Path, told: Any) -> None:
    path = tmp_path / "set"
    write_table(told.table, path, format="fiftyone", suggested=told.suggested, prefix="/data/images/")
    reading = read_table(path, strip="/data/images/")
    assert reading.table.hash == told.table.hash
    assert list(reading.report.suggested) == list(told.suggested)
    assert reading.table.sources.tolist() == told.table.sources.tolist()
    with pytest.raises(LabelError, match="is there already"):
        write_table(told.table, path, format="fiftyone")


@pytest.mark.parametrize(
    ("metadata", "samples", "phrase"),
    [
        ("{}", '{"samples": []}', "'sample_fields' is no list of fields"),
        ("[]", '{"samples": []}', "is no object"),
        ('{"a": 1, "a": 2}', '{"samples": []}', "occurs twice"),
        ('{"sample_fields": [], "default_classes": [3]}', '{"samples": []}', "the classes are no list of names"),
        ('{"sample_fields": [], "classes": []}', '{"samples": [1]}', "there are: none"),
        ('{"sample_fields": [], "classes": [1]}', '{"samples": [1]}', "no object of lists"),
        (None, '{"samples": [3]}', "sample 1 is no object"),
        (None, '{"samples": [{"filepath": "a.jpg", "present": [1]}]}', "the field 'present' holds no labels"),
        (None, '{"samples": [{"filepath": "a.jpg", "present": {"label": 5}}]}', "the name of a class is '5'"),
        (None, '{"samples": [{"filepath": 5}]}', "the name of an image is '5'"),
        (None, '{"samples": [{"filepath": "a.jpg", "present": {"classifications": {"a": 1}}}]}', "holds no labels"),
        (None, '{"samples": [{"filepath": "a', "no complete JSON"),
        (None, '{"samples": []}', "lists no image"),
        (None, '{"samples": [{"filepath": ' + "[" * 3000 + "]" * 3000 + "}]}", "nested too deeply"),
        (None, '{"samples": [{"filepath": "a.jpg", "present": ' + "[" * 5000, "nested too deeply"),
    ],
)
def test_datasets_that_are_refused(tmp_path: Path, metadata: str | None, samples: str, phrase: str) -> None:
    path = dataset(tmp_path / "set", [field("present")], [])
    if metadata is not None:
        (path / "metadata.json").write_text(metadata)
    (path / "samples.json").write_text(samples)
    with pytest.raises(LabelError) as refusal:
        read_table(path, format="fiftyone")
    assert phrase in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("classes", "named", "phrase"),
    [
        (["cat"], {"a": 1}, "sample 1: there is no class number 1; labels.json lists 1 class"),
        (None, {"a": [["cat"]]}, "the name of a class is"),
        (None, {"a": True}, "the name of a class is"),
        ("cat", {"a": "cat"}, "the classes are no list of names"),
        (None, ["a"], "no object 'labels'"),
        (None, {"a": None}, "names no class"),
    ],
)
def test_simple_datasets_that_are_refused(tmp_path: Path, classes: Any, named: Any, phrase: str) -> None:
    path = simple(tmp_path / "set", classes, named)
    with pytest.raises(LabelError) as refusal:
        read_table(path, format="fiftyone")
    assert phrase in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    elsewhere = dataset(tmp_path / "elsewhere", [field("present")], [sample("a.jpg", present=labels("cat"))])
    path = dataset(tmp_path / "set", [field("present")], [])
    (path / "samples.json").unlink()
    (path / "samples.json").symlink_to(elsewhere / "samples.json")
    with pytest.raises(LabelError, match="a link that leads out of the folder"):
        read_table(path)
    with pytest.raises(LabelError, match=r"has no labels.json"):
        read_table(tmp_path, format="fiftyone")


@pytest.mark.slow
def test_fiftyone_takes_what_is_written(tmp_path: Path, consumer: Callable[..., Any], told: Any) -> None:
    path = tmp_path / "set"
    write_table(told.table, path, suggested=told.suggested, format="fiftyone")
    images = tmp_path / "images"
    seen = consumer("fiftyone_opens.py", path, images, tmp_path / "out")
    quoted = 'a "quoted" <b>'
    assert seen == {
        "classes": list(told.table.classes),
        "schema": ["absent", "present", "suggested", "unsure"],
        "paths": list(told.table.images),
        "samples": [
            [[["dog", None]], [[quoted, None]], [], [["unused", 0.1]]],
            [[], [["dog", None]], [["unused", None]], [[quoted, 0.97]]],
            [None, None, None, None],
        ],
        "counts": [{"dog": 1}, {quoted: 1, "dog": 1}, {"unused": 1}],
    }
    again = read_table(tmp_path / "out" / "whole")
    assert again.table.images == told.table.images
    assert again.table.classes == told.table.classes
    assert cells(again) == cells(read_table(path)) | {
        ("a.jpg", "unused"): (PRESENT, Source.REVIEW),
        ("sub dir/b&c.jpg", quoted): (ABSENT, Source.REVIEW),
    }
    alone = read_table(tmp_path / "out" / "simple")
    assert alone.table.classes == told.table.classes
    assert {at: state for at, (state, _) in cells(alone).items()} == {("a", "dog"): PRESENT}
