"""Suggestions for the tasks that a project of Label Studio has: its controls, its choices, its task numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import partlabel
from partlabel.api.convert import convert
from partlabel.errors import LabelError, UsageError
from partlabel.formats import Suggestion

CONFIG = """<View>
  <Image name="img" value="$picture"/>
  <Choices name="scene" toName="img" choice="CHOICE">
    <Choice value="sky"/><Choice value="Sea &amp; shore" alias="sea"/><Choice value="snow/ice"/>
  </Choices>
  <RectangleLabels name="box" toName="img"><Label value="boat"/></RectangleLabels>
</View>"""
TAXONOMY = """<View><Image name="img" value="$picture"/><Taxonomy name="tree" toName="img">
<Choice value="animal"><Choice value="dog"/></Choice></Taxonomy></View>"""


def chose(control: str, *names: Any, kind: str = "choices") -> dict[str, Any]:
    return {"id": "q", "from_name": control, "to_name": "img", "type": kind, "value": {kind: list(names)}}


def task(id: int | None, image: str, *result: dict[str, Any]) -> dict[str, Any]:
    annotations = [{"id": 7, "was_cancelled": False, "result": list(result)}] if result else []
    number = {} if id is None else {"id": id}
    return {**number, "data": {"picture": image}, "annotations": annotations, "predictions": [], "project": 3}


EXPORT = [
    task(51, "/data/upload/3/0a1b2c3d-a.jpg", chose("scene", "sky")),
    task(52, "/data/upload/3/0a1b2c3e-b.jpg"),
    task(54, "/data/upload/3/0a1b2c3f-c.jpg", chose("scene", "sea", "snow/ice")),
]


def project(folder: Path, tasks: list[dict[str, Any]], config: str | None = None) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    if config is not None:
        (folder / "export.config.xml").write_text(config, encoding="utf-8")
    return path


def suggest(folder: Path, *lines: str) -> Path:
    path = folder / "suggestions.csv"
    path.write_text("image,class,state,source,probability\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def put(folder: Path, export: Path, suggestions: Path, **options: Any) -> tuple[Any, Any]:
    out = folder / "out.json"
    found = convert(export, out, to="label_studio", suggestions=suggestions, **options)
    return json.loads(out.read_text(encoding="utf-8")), found


LINES = (
    "a.jpg,sky,present,recovered,0.99",
    "a.jpg,sea,present,recovered,0.9",
    "b.jpg,sea,present,recovered,0.7",
    "b.jpg,snow/ice,present,recovered,0.8",
)


def item(number: int, names: list[str], scores: list[float], control: str = "scene") -> dict[str, Any]:
    return {
        "id": f"partlabel-{number}",
        "from_name": control,
        "to_name": "img",
        "type": "choices",
        "value": {"choices": names},
        "meta": {"scores": dict(zip(names, scores, strict=True))},
    }


@pytest.mark.parametrize("config", [None, CONFIG.replace("CHOICE", "multiple")])
def test_predictions_for_the_tasks_that_are_there(tmp_path: Path, config: str | None) -> None:
    export = project(tmp_path, EXPORT, config)
    options = {"read": {"columns": "present=scene"}}
    predictions, found = put(tmp_path, export, suggest(tmp_path, *LINES), **options)
    assert predictions == [
        {"task": 51, "model_version": "partlabel", "score": 0.9, "result": [item(51, ["sea"], [0.9])]},
        {
            "task": 52,
            "model_version": "partlabel",
            "score": 0.8,
            "result": [item(52, ["snow/ice", "sea"], [0.8, 0.7])],
        },
    ]
    assert "2 predictions for tasks of the project, in its control 'scene'; no labels" in found.notes
    assert "1 suggestion left out: of cells that are decided, not chosen or there twice" in found.notes
    assert sorted(found.suggested)[0] == Suggestion("a.jpg", "sea", 0.9)
    assert {path.name for path in tmp_path.iterdir()} - {"export.config.xml"} == {
        "export.json",
        "suggestions.csv",
        "out.json",
    }


def test_one_choice_only(tmp_path: Path) -> None:
    export = project(tmp_path, EXPORT[:2], CONFIG.replace("CHOICE", "single"))
    predictions, found = put(tmp_path, export, suggest(tmp_path, *LINES), read={"columns": "present=scene"})
    assert [(one["task"], one["result"][0]["value"]) for one in predictions] == [(52, {"choices": ["snow/ice"]})]
    assert "2 suggestions left out: 'scene' takes one choice only" in found.notes


def test_the_way_through_a_tree(tmp_path: Path) -> None:
    export = project(tmp_path, EXPORT[1:2], TAXONOMY)
    predictions, _ = put(tmp_path, export, suggest(tmp_path, "b.jpg,animal/dog,present,recovered,0.7"))
    assert predictions[0]["result"][0]["value"] == {"taxonomy": [["animal", "dog"]]}
    assert predictions[0]["result"][0]["type"] == "taxonomy"


def test_names_that_were_changed_when_the_export_was_read(tmp_path: Path) -> None:
    (tmp_path / "rename.csv").write_text("from,to\nsea,water\n")
    (tmp_path / "photos" / "x").mkdir(parents=True)
    (tmp_path / "photos" / "x" / "b.png").touch()
    export = project(tmp_path, EXPORT, CONFIG.replace("CHOICE", "multiple"))
    suggestions = suggest(tmp_path, "x/b.png,water,present,recovered,0.7")
    read = {"columns": "present=scene", "rename": str(tmp_path / "rename.csv")}
    predictions, _ = put(tmp_path, export, suggestions, images=tmp_path / "photos", read=read)
    assert predictions[0]["result"] == [item(52, ["sea"], [0.7])]
    (tmp_path / "rename.csv").write_text("from,to\nsea,water\nsnow/ice,water\n")
    (tmp_path / "out.json").unlink()
    with pytest.raises(UsageError, match="'sea', 'snow/ice' one class"):
        put(tmp_path, export, suggestions, images=tmp_path / "photos", read=read)


@pytest.mark.parametrize(
    ("tasks", "config", "columns", "line", "says"),
    [
        (
            EXPORT,
            CONFIG,
            "present=scene",
            "b.jpg,fog,present,recovered,0.7",
            "'scene' of the project does not offer 'fog'",
        ),
        (EXPORT, None, None, "b.jpg,fog,present,recovered,0.7", "or save that configuration beside the export"),
        (EXPORT, CONFIG, "present=box", "b.jpg,boat,present,recovered,0.7", "has none here; save its labelling"),
        (EXPORT, None, None, "z.jpg,sky,present,recovered,0.7", "which the labels do not have"),
        (
            [EXPORT[0], task(None, "b.jpg")],
            None,
            None,
            "b.jpg,sky,present,recovered,0.7",
            "the task of 'b.jpg' has no id; export the project again",
        ),
    ],
)
def test_what_the_project_cannot_take(
    tmp_path: Path, tasks: Any, config: str | None, columns: str | None, line: str, says: str
) -> None:
    export = project(tmp_path, tasks, config)
    read = {} if columns is None else {"columns": columns}
    with pytest.raises(LabelError) as refusal:
        put(tmp_path, export, suggest(tmp_path, line), read=read)
    assert says in str(refusal.value)
    assert not (tmp_path / "out.json").exists()


def test_with_a_prefix_they_are_in_tasks_of_a_new_project(tmp_path: Path) -> None:
    export = project(tmp_path, [task(1, "b.jpg", chose("scene", "sky", "sea")), task(2, "c.jpg")])
    tasks, _ = put(tmp_path, export, suggest(tmp_path, "c.jpg,sky,present,recovered,0.7"), prefix="p/")
    assert [one["data"]["image"] for one in tasks] == ["p/b.jpg", "p/c.jpg"]
    assert [len(one["predictions"]) for one in tasks] == [0, 1]


def test_a_configuration_beside_the_predictions_is_nobody_s_business(tmp_path: Path) -> None:
    export = project(tmp_path, [task(1, "b.jpg", chose("scene", "sky", "sea"))])
    (tmp_path / "out.config.xml").write_text("<View/>")
    put(tmp_path, export, suggest(tmp_path, "b.jpg,sea,present,recovered,0.7"))
    assert (tmp_path / "out.config.xml").read_text() == "<View/>"
    (tmp_path / "out.json").unlink()
    with pytest.raises(UsageError, match=r"out\.config\.xml is there already"):
        put(tmp_path, export, suggest(tmp_path, "b.jpg,sea,present,recovered,0.7"), prefix="p/")
    assert not (tmp_path / "out.json").exists()


def test_tasks_that_were_never_imported_get_their_labels_too(tmp_path: Path) -> None:
    export = project(tmp_path, [task(None, "b.jpg", chose("scene", "sky", "sea")), task(None, "c.jpg")])
    tasks, found = put(tmp_path, export, suggest(tmp_path, "c.jpg,sky,present,recovered,0.7"), prefix="p/")
    assert [one["data"]["image"] for one in tasks] == ["p/b.jpg", "p/c.jpg"]
    assert "1 suggestion written beside the labels" in found.notes


def test_the_sdk_takes_them_and_verdicts_come_back(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    config = CONFIG.replace("CHOICE", "multiple").replace('"snow/ice"', '"snow"')
    tasks = EXPORT[:2]
    export = project(tmp_path, tasks, config)
    lines = [line.replace("snow/ice", "snow") for line in LINES]
    predictions, _ = put(tmp_path, export, suggest(tmp_path, *lines), read={"columns": "present=scene"})
    seen = consumer("label_studio_takes.py", tmp_path / "out.json", tmp_path / "export.config.xml")
    assert seen["tasks"] == [51, 52]
    assert seen["wrong"]
    assert seen["sent"] == ["POST", "/api/projects/3/import/predictions", predictions]
    again = [{**one, "predictions": [two]} for one, two in zip(tasks, predictions, strict=True)]
    again[1]["annotations"] = [{"id": 8, "was_cancelled": False, "result": [chose("scene", "sea")]}]
    table = partlabel.read_table(project(tmp_path, again), columns="present=scene").table
    cells = [(table.images[row], table.classes[column], source) for row, column, _, source in zip(*table.cells())]  # noqa: B905
    assert ("b.jpg", "sea", partlabel.Source.REVIEW) in cells


def test_numbers_of_json_min(tmp_path: Path) -> None:
    tasks = [
        {"id": 9, "picture": "b.jpg", "scene": {"choices": ["sky", "sea"]}, "annotation_id": 4},
        {"id": 10, "picture": "c.jpg"},
    ]
    export = project(tmp_path, tasks, CONFIG.replace("CHOICE", "multiple"))
    predictions, _ = put(
        tmp_path, export, suggest(tmp_path, "c.jpg,sky,present,recovered,0.7"), read={"columns": "present=scene"}
    )
    assert [one["task"] for one in predictions] == [10]
