"""Label Studio: exports as the program writes them, our own tasks, hostile files, and the program's own SDK."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import Reading, Suggested, Suggestion, read_table, write_table
from partlabel.labels import LabelTable, Source, State

PRESENT, ABSENT, UNKNOWN = State.PRESENT, State.ABSENT, State.UNKNOWN
CONFIG = """<View>
  <Image name="img" value="$picture"/>
  <View visibleWhen="choice-selected"><Choices name="scene" toName="img" choice="multiple">
    <Choice value="sky"/><Choice value="Sea &amp; shore" alias="sea"/><Choice value="snow"/>
  </Choices></View>
  <RectangleLabels name="box" toName="img"><Label value="boat" background="red"/></RectangleLabels>
  <Choices name="occluded" toName="img" perRegion="true"><Choice value="half"/></Choices>
  <TextArea name="remark" toName="img"/>
</View>"""


def put(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def chose(control: str, *names: Any, kind: str = "choices", **more: Any) -> dict[str, Any]:
    return {
        "id": "Xy12",
        "from_name": control,
        "to_name": "img",
        "type": kind,
        "origin": "manual",
        "value": {kind: list(names), **more},
    }


def task(image: str, *results: list[Any], key: str = "image", **more: Any) -> dict[str, Any]:
    annotations = [
        {"id": 1, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": result}
        for result in results
    ]
    return {"id": 1, "data": {key: image}, "annotations": annotations, "drafts": [], "predictions": [], **more}


def cells(reading: Reading) -> dict[tuple[str, str], tuple[int, int]]:
    table = reading.table
    return {
        (table.images[row], table.classes[column]): (int(state), int(source))
        for row, column, state, source in zip(*table.cells(), strict=True)
    }


def states(reading: Reading) -> dict[tuple[str, str], int]:
    return {at: state for at, (state, _) in cells(reading).items()}


def test_a_half_annotated_project(tmp_path: Path) -> None:
    box = chose("box", "boat", kind="rectanglelabels", x=1, y=2, width=3, height=4, rotation=0)
    cancelled = task("https://x.org/d.png", [chose("scene", "snow")], key="picture")
    cancelled["annotations"][0]["was_cancelled"] = True
    path = put(
        tmp_path / "export.json",
        [
            task(
                "/data/upload/12/0a1b2c3d-my_photo.jpg",
                [
                    chose("scene", "sea", "sky"),
                    box,
                    chose("occluded", "half", x=1, y=2, width=3, height=4),
                    {"id": "t", "from_name": "remark", "to_name": "img", "type": "textarea", "value": {"text": ["!"]}},
                    {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"},
                ],
                key="picture",
            ),
            task("/data/local-files/?d=holiday/a%20b.jpg", [], key="picture"),
            task("/data/upload/8/airplane.jpg", key="picture"),
            task("s3://bucket/c.jpg", key="picture"),
            cancelled,
        ],
    )
    put(tmp_path / "export.config.xml", CONFIG)
    reading = read_table(path)
    assert reading.table.images == (
        *("my_photo.jpg", "holiday/a b.jpg", "airplane.jpg"),
        *("s3://bucket/c.jpg", "https://x.org/d.png"),
    )
    assert reading.table.classes == ("sky", "sea", "snow", "boat")
    assert cells(reading) == {("my_photo.jpg", name): (PRESENT, Source.IMPORT) for name in ("sky", "sea", "boat")}
    assert reading.report.rows_read == 5
    assert "2 image names of addresses" in reading.report.notes[-1]
    assert set(reading.report.notes[:-1]) == {
        "nothing is read from 2 other controls: 'occluded', 'remark'",
        "1 annotation is skipped by the annotator and left out",
        "2 image names are taken from the address of an upload, without the code before it",
    }


def test_only_annotated_tasks_are_complete(tmp_path: Path) -> None:
    cancelled = task("d.jpg", [chose("tags", "cat")])
    cancelled["annotations"][0]["was_cancelled"] = True
    tasks = [task("a.jpg", [chose("tags", "cat")]), task("b.jpg", []), task("c.jpg"), cancelled]
    path = put(tmp_path / "t.json", tasks)
    assert read_table(path).table.dense().tolist() == [[1], [0], [0], [0]]
    assert read_table(path, unlisted="absent").table.dense().tolist() == [[1], [-1], [0], [0]]


def test_present_and_absent_beside_another_control(tmp_path: Path) -> None:
    tasks = [
        task("a.jpg", [chose("present", "cat"), chose("absent", "dog", "owl"), chose("quality", "blurred")]),
        task("b.jpg", [chose("absent", "cat")], [chose("present", "dog")]),
    ]
    reading = read_table(put(tmp_path / "t.json", tasks))
    assert reading.table.classes == ("cat", "dog", "owl")
    assert reading.table.dense().tolist() == [[1, -1, -1], [-1, 1, 0]]
    assert reading.report.notes == ("nothing is read from 1 other control: 'quality'",)


def test_what_is_unsure(tmp_path: Path) -> None:
    mark = chose("unsure", "owl", "cat")
    ours = {"model_version": "partlabel", "score": 0.5, "result": [chose("present", "owl", "dog")]}
    tasks = [task("a.jpg", [chose("present", "cat"), mark], predictions=[ours]), task("b.jpg", [mark]), task("c.jpg")]
    reading = read_table(put(tmp_path / "t.json", tasks), unlisted="absent")
    assert reading.table.classes == ("cat", "owl", "dog")
    assert reading.table.dense().tolist() == [[1, 0, -1], [0, 0, -1], [0, 0, 0]]
    unsure = {at for at, found in cells(reading).items() if found == (UNKNOWN, Source.UNSURE)}
    assert unsure == {("a.jpg", "owl"), ("b.jpg", "cat"), ("b.jpg", "owl")}
    assert list(read_table(tmp_path / "t.json").report.suggested) == [Suggestion("a.jpg", "dog", 0.5)]


def test_unsure_beside_a_control_of_another_name(tmp_path: Path) -> None:
    tasks = [task("a.jpg", [chose("tags", "cat"), chose("Unsure", "dog")])]
    reading = read_table(put(tmp_path / "t.json", tasks))
    assert cells(reading) == {("a.jpg", "cat"): (PRESENT, Source.IMPORT), ("a.jpg", "dog"): (UNKNOWN, Source.UNSURE)}
    tasks = [task("a.jpg", [chose("tags", "cat"), chose("open", "dog"), chose("quality", "blurred")])]
    reading = read_table(put(tmp_path / "t.json", tasks), columns="present=tags,unsure=open")
    assert cells(reading) == {("a.jpg", "cat"): (PRESENT, Source.IMPORT), ("a.jpg", "dog"): (UNKNOWN, Source.UNSURE)}


def test_annotators_who_contradict_each_other(tmp_path: Path) -> None:
    path = put(tmp_path / "t.json", [task("a.jpg", [chose("present", "cat")], [chose("absent", "cat")])])
    with pytest.raises(LabelError, match=r"class 'cat' is present on task 1 and absent on task 1"):
        read_table(path)
    assert read_table(path, conflicts="unknown").report.conflict_count == 1


def test_several_controls_are_chosen_among(tmp_path: Path) -> None:
    tasks = [task("a.jpg", [chose("seen", "cat"), chose("not seen", "dog"), chose("quality", "blurred")])]
    path = put(tmp_path / "t.json", tasks)
    with pytest.raises(LabelError, match=r"'seen', 'not seen', 'quality'.* --columns present=NAME"):
        read_table(path)
    assert states(read_table(path, columns="present=seen,absent=not seen")) == {
        ("a.jpg", "cat"): PRESENT,
        ("a.jpg", "dog"): ABSENT,
    }
    only_present = read_table(path, columns="present=quality,absent=missing")
    assert states(only_present) == {("a.jpg", "blurred"): PRESENT}
    assert "nothing is chosen in the control 'missing'" in only_present.report.notes
    with pytest.raises(LabelError, match="no control 'sen'; closest: 'seen'"):
        read_table(path, columns="present=sen")
    with pytest.raises(UsageError, match="'class'"):
        read_table(path, columns="class=seen")


def test_trees_and_completions(tmp_path: Path) -> None:
    old = {
        "id": 3,
        "data": {"url": "https://x.org/a.JPG?v=2", "title": "A cat"},
        "completions": [
            {"id": 1, "result": [chose("kind", ["animal", "cat"], ["sky"], kind="taxonomy")]},
            {"id": 2, "skipped": True, "result": [chose("kind", ["dog"], kind="taxonomy")]},
        ],
    }
    reading = read_table(put(tmp_path / "t.json", [old]))
    assert states(reading) == {
        ("https://x.org/a.JPG?v=2", "animal/cat"): PRESENT,
        ("https://x.org/a.JPG?v=2", "sky"): PRESENT,
    }
    assert read_table(tmp_path / "t.json", strip="https://x.org/").table.images == ("a.JPG?v=2",)


def test_json_min(tmp_path: Path) -> None:
    about = {"annotator": 1, "annotation_id": 7, "created_at": "2026-01-01", "updated_at": "", "lead_time": 2.5}
    entries = [
        {"image": "a.jpg", "id": 1, "title": "x", "tags": {"choices": ["cat", "dog"]}, **about},
        {"image": "b.jpg", "id": 2, "title": "y", "tags": "cat", **about},
        {"image": "c.jpg", "id": 3, "title": "z", **about},
        {"image": "d.jpg", "id": 4, "title": "z", **about, "annotation_id": None},
        {"image": "e.jpg", "id": 5, "box": [{"x": 1, "rectanglelabels": ["owl"]}], **about},
    ]
    path = put(tmp_path / "min.json", entries)
    reading = read_table(path, unlisted="absent")
    assert reading.table.classes == ("cat", "dog", "owl")
    assert reading.table.dense().tolist() == [[1, 1, -1], [1, -1, -1], [-1, -1, -1], [0, 0, 0], [-1, -1, 1]]


def test_json_min_in_which_every_choice_is_single(tmp_path: Path) -> None:
    path = put(tmp_path / "min.json", [{"image": "a.jpg", "note": "x", "tag": "cat", "annotation_id": 1}])
    with pytest.raises(LabelError, match=r"'note', 'tag'.*--columns present=KEY"):
        read_table(path)
    assert states(read_table(path, columns="present=tag")) == {("a.jpg", "cat"): PRESENT}


def test_suggestions_of_other_models(tmp_path: Path) -> None:
    predictions = [
        {
            "model_version": "v7",
            "score": 0.25,
            "result": [chose("tags", "cat"), {**chose("tags", "dog"), "score": 0.75}],
        },
        {"model_version": "v8", "result": [chose("tags", "owl")]},
        {"model_version": "v9", "score": 87.5, "result": [chose("tags", "fox")]},
    ]
    reading = read_table(put(tmp_path / "t.json", [task("a.jpg", predictions=predictions)]))
    assert list(reading.report.suggested) == [Suggestion("a.jpg", "cat", 0.25), Suggestion("a.jpg", "dog", 0.75)]
    assert states(reading) == {}
    assert "2 predictions are left out, because no score from 0 to 1 belongs to it" in reading.report.notes


@pytest.mark.parametrize("prefix", [None, "/data/local-files/?d=my%20data/", "https://example.org/x/"])
def test_written_tasks_come_back(tmp_path: Path, prefix: str | None, told: Any) -> None:
    path = tmp_path / "t.json"
    write_table(told.table, path, format="label_studio", suggested=told.suggested, prefix=prefix)
    if prefix and "?d=" in prefix:
        assert "my%20data/sub%20dir/b%26c.jpg" in path.read_text(encoding="utf-8")
    strip = {None: None, "/data/local-files/?d=my%20data/": "my data/"}.get(prefix, prefix)
    reading = read_table(path, strip=strip)
    assert reading.table.hash == told.table.hash
    assert list(reading.report.suggested) == list(told.suggested)
    assert reading.table.sources.tolist() == told.table.sources.tolist()


def test_suggestions_become_verdicts(tmp_path: Path) -> None:
    table = LabelTable.from_cells(["a.jpg", "b.jpg"], ["cat", "dog", "owl"], [0], [0], [1])
    suggested = Suggested.of([Suggestion("a.jpg", "dog", 0.9), Suggestion("a.jpg", "owl", 0.8)])
    suggested = Suggested.of([*suggested, Suggestion("b.jpg", "dog", 0.7)])
    path = tmp_path / "t.json"
    write_table(table, path, suggested=suggested, format="label_studio")
    tasks = json.loads(path.read_text(encoding="utf-8"))
    tasks[0]["annotations"][0]["result"] = [chose("present", "cat", "dog"), chose("absent", "owl")]
    reading = read_table(put(path, tasks))
    assert cells(reading) == {
        ("a.jpg", "cat"): (PRESENT, Source.IMPORT),
        ("a.jpg", "dog"): (PRESENT, Source.REVIEW),
        ("a.jpg", "owl"): (ABSENT, Source.REVIEW),
    }
    assert list(reading.report.suggested) == [Suggestion("b.jpg", "dog", 0.7)]


def test_verdicts_in_an_export_without_predictions(tmp_path: Path) -> None:
    """Label Studio leaves predictions out of most exports, and keeps with an annotation the one it started from."""
    started = {"model_version": "partlabel", "result": [chose("present", "cat", "owl")]}
    other = {"model_version": "yolo", "result": [chose("present", "cat", "owl")]}
    tasks = [task(f"{n}.jpg", [chose("present", "cat", "dog"), chose("absent", "owl")], predictions=[7]) for n in "abc"]
    for one, prediction in zip(tasks, (started, other, {}), strict=True):
        one["annotations"][0]["prediction"] = prediction
    reading = read_table(put(tmp_path / "t.json", tasks))
    reviewed = {at for at, (_, source) in cells(reading).items() if source == Source.REVIEW}
    assert reviewed == {("a.jpg", "cat"), ("a.jpg", "owl")}
    assert len(cells(reading)) == 9
    assert reading.report.notes == ("3 predictions are given by number only and left out",)


def test_what_cannot_be_written(tmp_path: Path, told: Any) -> None:
    path = tmp_path / "t.json"
    upload = LabelTable.from_dense(["/data/upload/1/0a1b2c3d-x.jpg"], ["cat"], [[1]])
    with pytest.raises(LabelError, match="called as Label Studio calls its uploads"):
        write_table(upload, path, format="label_studio")
    with pytest.raises(LabelError, match="XML cannot hold"):
        write_table(LabelTable.from_dense(["a"], ["c\x01t"], [[1]]), path, format="label_studio")
    with pytest.raises(LabelError, match="which the table lacks"):
        write_table(told.table, path, suggested=Suggested.of([Suggestion("q", "dog", 1.0)]), format="label_studio")
    assert list(tmp_path.iterdir()) == []


DEEP = "[" * 3000 + "]" * 3000


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ('{"images": [], "annotations": []}', "is no list of tasks"),
        ('[{"data": {"image": "a.jpg"}, "annotations": [', "no complete JSON"),
        ('[{"data": {"image": NaN}, "annotations": []}]', "no complete JSON"),
        ('["a.jpg"]', "task 1 is no object"),
        ("[]", "lists no image"),
        ('[{"data": {"image": "a.jpg"}, "annotations": []}]', "names no class"),
        ('[{"data": {"image": "a.jpg"}, "annotations": [12, 13]}]', "task 1: annotations should be a list of objects"),
        ('[{"data": {"image": "a.jpg"}, "annotations": [{"result": "x"}]}]', "the result of an annotation should be"),
        (json.dumps([task("a.jpg", [chose("tags", 3)])]), "control 'tags' is no list of names"),
        (f'[{{"data": {{"image": {DEEP}}}, "annotations": []}}]', "nested too deeply"),
        (f'[{{"data": {{"image": "a"}}, "annotations": {DEEP}}}]', "nested too deeply"),
        ('[{"data": {"image": ["a.jpg", "b.jpg"]}, "annotations": []}]', "no image under 'image'"),
        ('[{"data": {"text": "hello"}, "annotations": []}]', "--columns image=KEY"),
        ('[{"data": {"a": "1.jpg", "b": "2.jpg"}, "annotations": []}]', "'a', 'b'"),
        (json.dumps([task("a.jpg", [chose("tags", "nan")])]), "stands for a missing value"),
        (
            json.dumps([task(f"/data/upload/1/0a1b2c3{n}-x.jpg", [chose("t", "cat")]) for n in "45"]),
            "are both called 'x.jpg'",
        ),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: str, phrase: str) -> None:
    path = put(tmp_path / "t.json", content)
    with pytest.raises(LabelError) as refusal:
        read_table(path, format="label_studio")
    assert phrase in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("config", "phrase"),
    [
        ("<View><Choices", "no complete XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "document type or entities"),
        (
            '<View><Taxonomy name="t" toName="i">'
            + '<Choice value="a">' * 200
            + "</Choice>" * 200
            + "</Taxonomy></View>",
            "too deeply",
        ),
    ],
)
def test_configurations_that_are_refused(tmp_path: Path, config: str, phrase: str) -> None:
    path = put(tmp_path / "t.json", [task("a.jpg", [chose("t", "cat")])])
    beside = put(tmp_path / "t.config.xml", config)
    with pytest.raises(LabelError) as refusal:
        read_table(path)
    assert phrase in str(refusal.value)
    assert str(beside) in str(refusal.value)


def test_the_sdk_takes_what_is_written(tmp_path: Path, consumer: Callable[..., Any], told: Any) -> None:
    path = tmp_path / "t.json"
    write_table(told.table, path, suggested=told.suggested, prefix="https://example.org/", format="label_studio")
    seen = consumer("label_studio_opens.py", path, tmp_path / "t.config.xml")
    assert seen["classes"] == {control: list(told.table.classes) for control in ("present", "absent", "unsure")}
    assert not seen["wrong"]
    assert seen["tasks"] == [
        ["https://example.org/a.jpg", {"present": ["dog"], "absent": ['a "quoted" <b>']}, {"present": ["unused"]}],
        [
            "https://example.org/sub dir/b&c.jpg",
            {"absent": ["dog"], "unsure": ["unused"]},
            {"present": ['a "quoted" <b>']},
        ],
        ["https://example.org/nothing.jpg", {}, {}],
    ]


def test_json_min_of_the_sdk_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    path = tmp_path / "t.json"
    names = ["a.jpg", "b.jpg"], ["cat", "dog", "owl"]
    sources = [Source.IMPORT, Source.UNSURE] * 3
    table = LabelTable.from_cells(*names, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [1, 0, -1, 0, 1, 0], sources)
    write_table(table, path, format="label_studio")
    exported = consumer("label_studio_exports.py", path, tmp_path / "t.config.xml", tmp_path / "out")
    again = read_table(exported).table.select_classes(table.classes)
    assert again.hash == table.hash
    assert again.sources.tolist() == sources
