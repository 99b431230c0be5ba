"""`recover` with a promise, from files to files."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partlabel
from partlabel.errors import LabelError, RunError, UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable, State
from partlabel.merging import merge
from partlabel.progress import Tick
from partlabel.recovery import Promise, Suggestions, read_suggestions, score_suggestions

pytestmark = pytest.mark.slow

Data = tuple[Path, LabelTable]
FITTED: dict[str, Any] = {
    "method": "discriminant",
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "accelerator": "cpu",
    "freeze": True,
    "report": False,
}


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, color_images: Data, partial_labels: LabelTable
) -> partlabel.RunFolder:
    out = tmp_path_factory.mktemp("promise") / "run"
    return partlabel.train(partial_labels, images=color_images[0], out=out, **FITTED)


def _promise(found: Suggestions) -> Promise:
    assert isinstance(found.thresholds, Promise)
    return found.thresholds


def test_a_promise_is_made_and_told(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path, heard: Any
) -> None:
    out = tmp_path / "found.csv"
    found = partlabel.recover(
        fitted, partial_labels, images=color_images[0], out=out, precision=0.6, confidence=0.8, reporter=heard
    )
    assert len(found)
    (group,) = _promise(found).groups
    assert group.suggested == len(found)
    assert {one.rule for one in found} == {"promised"}
    assert (found.probability >= group.threshold).all()
    states = partial_labels.states_at(found.image_index, found.class_index)
    assert (states == State.UNKNOWN).all()
    written = json.loads((tmp_path / "found.csv.json").read_text())
    assert (written["kind"], written["target_precision"], written["confidence"]) == ("promise", 0.6, 0.8)
    assert written["groups"][0]["threshold"] == group.threshold
    assert written["evidence"]["by"] == "cross-fitting"
    said = "\n".join(heard.lines)
    assert "promised: at least 60 % right, at 80 % confidence" in said
    assert "cross-fitted in 5 folds" in said
    page = (fitted.path / "report.html").read_text()
    assert "at least 60 % of them right, promised at 80 % confidence" in page


def test_where_nothing_can_be_promised_the_file_is_empty_and_the_way_on_is_told(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path, heard: Any
) -> None:
    found = partlabel.recover(
        fitted, partial_labels, images=color_images[0], out=tmp_path / "s.csv", precision=0.99, reporter=heard
    )
    assert len(found) == 0
    said = "\n".join(heard.lines)
    assert "nothing can be promised of all classes: fewer than 230 known cells" in said
    assert "--precision" in said
    assert "--estimate" in said
    assert (tmp_path / "s.csv").read_text().count("\n") == 1


def test_a_class_that_the_training_left_out_for_want_of_known_cells_is_left_out(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, heard: Any
) -> None:
    cells = partial_labels.cells()
    names = partial_labels.images, ("gold", *partial_labels.classes)
    wider = LabelTable.from_cells(*names, cells.image_index, cells.class_index + 1, cells.states)
    found = partlabel.recover(fitted, wider, images=color_images[0], precision=0.6, confidence=0.8, reporter=heard)
    alone = partlabel.recover(fitted, partial_labels, images=color_images[0], precision=0.6, confidence=0.8)
    assert list(found) == list(alone)
    assert "1 class without a known cell, which the run did not learn, left out: 'gold'" in heard.lines
    known = LabelTable.from_cells(*names, [0], [0], [1])
    with pytest.raises(RunError, match=r"does not know 1 \('gold'\).*leave the others out"):
        partlabel.recover(fitted, merge(wider, known)[0], images=color_images[0])


def test_absent_labels_are_suggested_in_the_same_way(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path
) -> None:
    found = partlabel.recover(
        fitted, partial_labels, images=color_images[0], out=tmp_path / "a.csv", precision=0.6, state="absent"
    )
    assert len(found)
    assert (found.to_table().cells().states == State.ABSENT).all()
    table = partlabel.read_table(tmp_path / "a.csv").table
    assert int(table.counts_by_class().absent.sum()) == len(found)
    assert int(table.counts_by_class().present.sum()) == 0
    score = score_suggestions(found, color_images[1])
    truth = color_images[1].states_at(found.image_index, found.class_index)
    assert (score.correct, score.wrong) == ((truth < 0).sum(), (truth > 0).sum())
    assert score.hidden == ((partial_labels.dense() == 0) & (color_images[1].dense() < 0)).sum()


def test_each_class_or_group_keeps_the_promise_by_itself(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path
) -> None:
    table, groups = tmp_path / "labels.csv", tmp_path / "groups.csv"
    write_table(partial_labels, table)
    groups.write_text("class,group\nred,warm\ngreen,cold\nblue,cold\n")
    out = tmp_path / "found.csv"
    arguments = ["recover", str(fitted.path), str(table), "--images", str(color_images[0]), "--quiet"]
    asked = ["--precision", "0.6", "--each", str(groups), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "partlabel", *arguments, *asked], check=True, capture_output=True)
    written = json.loads(Path(f"{out}.json").read_text())
    assert [group["name"] for group in written["groups"]] == ["warm", "cold"]
    assert {entry["class"]: entry["group"] for entry in written["classes"]} == {
        "red": "warm",
        "green": "cold",
        "blue": "cold",
    }
    by_class = partlabel.recover(fitted, partial_labels, images=color_images[0], precision=0.6, each="class")
    assert [group.name for group in _promise(by_class).groups] == ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class\nred\n", "no column 'group'"),
        ("class,group\nred,a\nred,b\n", "line 3: class 'red' comes twice"),
        ("class,group\nred,\n", "line 2: a class and its group are needed"),
    ],
)
def test_a_file_of_groups_that_says_nothing_clear_is_refused(tmp_path: Path, text: str, said: str) -> None:
    from partlabel.recovery.groups import read_groups

    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(LabelError, match=said):
        read_groups(tmp_path / "groups.csv")


def test_settings_out_of_range_are_refused(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    where = {"images": color_images[0]}
    for wrong, said in (
        ({"precision": 1.0}, "precision 1 must lie between 0 and 1"),
        ({"confidence": 0.0}, "confidence 0 must lie between 0 and 1"),
        ({"state": "perhaps"}, "is not 'present' or 'absent'"),
        ({"each": {"a": ["pink"]}}, "no such class"),
        ({"folds": 1}, "2 or more"),
        ({"folds": 0, "image_labels": True}, "cross-fitted"),
    ):
        with pytest.raises(UsageError, match=said):
            partlabel.recover(fitted, partial_labels, **where, **wrong)  # type: ignore[arg-type]


class Tracks:
    """A reporter that keeps how far each long part came."""

    def __init__(self) -> None:
        self.ticks: dict[str, list[tuple[int, int]]] = {}

    def say(self, text: str) -> None:
        """Ignore the line."""

    @contextmanager
    def track(self, what: str) -> Iterator[Tick]:
        """Keep the steps."""
        steps = self.ticks.setdefault(what, [])
        yield lambda done, total: steps.append((done, total))


def test_long_parts_tell_how_far_they_are(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    tracks = Tracks()
    partlabel.recover(fitted, partial_labels, images=color_images[0], precision=0.5, image_labels=True, reporter=tracks)
    images = int((partial_labels.counts_by_image().unknown < 3).sum())
    assert tracks.ticks["calibrating"] == [(number, 5) for number in range(1, 6)]
    for what in ("learning from labels of the same image", "changing scores by labels of the same image"):
        assert tracks.ticks[what] == [(number, images) for number in range(1, images + 1)]


def test_image_labels_change_the_list_and_are_told(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    plain, informed = (
        partlabel.recover(
            fitted, partial_labels, images=color_images[0], precision=0.5, estimate=True, image_labels=which
        )
        for which in (False, True)
    )
    assert (plain.evidence["image_labels"], informed.evidence["image_labels"]) == (False, True)
    assert plain.logit.tolist() != informed.logit.tolist()


def test_new_images_are_scored_by_the_models_of_their_folds(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path
) -> None:
    """A table of other images than the run was trained on."""
    names = [f"new-{number}.png" for number in range(10)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes((color_images[0] / f"{number:02d}.png").read_bytes())
    new = LabelTable.from_dense(names, partial_labels.classes, np.zeros((10, 3), np.int8))
    found = partlabel.recover(fitted, new, images=tmp_path, precision=0.6, confidence=0.8)
    assert {one.image for one in found} <= set(names)
    assert found.scored.all()


def test_a_run_that_may_only_be_read_is_judged_by_its_held_out_cells(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, monkeypatch: pytest.MonkeyPatch, heard: Any
) -> None:
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **{**FITTED, "holdout": 0.4})
    (run.path / "folds").write_text("in the way")
    found = partlabel.recover(run, partial_labels, images=color_images[0], precision=0.5, reporter=heard)
    assert found.evidence["by"] == "held-out cells"
    assert any(line.startswith("no cross-fitting, the held-out cells are used") for line in heard.lines)


def test_moved_images_are_cross_fitted_where_they_are_now(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path, heard: Any
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(color_images[0], before)
    run = partlabel.train(partial_labels, images=before, out=tmp_path / "run", **{**FITTED, "holdout": 0.4})
    before.rename(after)
    how: dict[str, Any] = {"images": after, "precision": 0.5, "confidence": 0.8, "folds": 2, "reporter": heard}
    found = partlabel.recover(run, partial_labels, **how)
    assert "are not in" in heard.lines[0]
    assert heard.lines[0].endswith(f"cross-fitting takes 32 of 32 from {after}")
    unmoved = partlabel.recover(fitted, partial_labels, **{**how, "images": color_images[0]})
    assert found.evidence == unmoved.evidence
    assert found.logit.tolist() == unmoved.logit.tolist()
    few = partial_labels.select_images(np.arange(6))
    heard.lines.clear()
    partlabel.recover(run, few, **how)  # nothing is left to be done, so that images that are gone do no harm
    assert not any("trained anew" in line or "cross-fitting" in line for line in heard.lines)


def test_moved_images_are_cross_fitted_as_far_as_the_table_names_them(
    color_images: Data, partial_labels: LabelTable, tmp_path: Path, heard: Any
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(color_images[0], before)
    run = partlabel.train(partial_labels, images=before, out=tmp_path / "run", **{**FITTED, "holdout": 0.4})
    before.rename(after)
    (after / partial_labels.images[-1]).unlink()
    how: dict[str, Any] = {"images": after, "precision": 0.5, "reporter": heard}
    few = partlabel.recover(run, partial_labels.select_images(np.arange(15)), **how)
    assert few.evidence["by"] == "held-out cells"
    assert any(line.endswith("the table names 15 of its 32 images") for line in heard.lines)
    kept = partial_labels.select_images(np.arange(31))
    found = partlabel.recover(run, kept, folds=2, **how)
    assert found.evidence["by"] == "cross-fitting"
    assert found.evidence["present"] == kept.counts_by_class().present.sum()
    assert partlabel.RunFolder(run.fold(2, 0)).labels().images == kept.images


def test_doubtful_labels_are_listed_and_not_changed(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, tmp_path: Path
) -> None:
    out, before = tmp_path / "doubtful.csv", partial_labels.hash
    partlabel.recover(fitted, partial_labels, images=color_images[0], precision=0.5, doubtful=out)
    assert partial_labels.hash == before
    rows = read_suggestions(out)
    assert rows
    assert [one.probability for one in rows] == sorted((one.probability for one in rows), reverse=True)
    for one in rows:
        row, column = partial_labels.image_positions[one.image], partial_labels.class_positions[one.class_name]
        assert one.state == partial_labels.dense()[row, column] != State.UNKNOWN
    assert {one.rule for one in rows} == {"doubtful"}
    assert json.loads(Path(f"{out}.json").read_text())["kind"] == "doubtful"
    out.write_text(out.read_text() + "\n")
    with pytest.raises(UsageError, match="may hold your checks"):
        partlabel.recover(fitted, partial_labels, images=color_images[0], precision=0.5, doubtful=out)


def test_a_run_whose_start_knew_the_cells_promises_nothing_even_when_the_start_is_gone(
    color_images: Data, partial_labels: LabelTable, tmp_path: Path
) -> None:
    first = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "first", **FITTED)
    second = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "second", init=first.path, **FITTED)
    where: dict[str, Any] = {"images": color_images[0], "precision": 0.6}
    with pytest.raises(LabelError, match="of the known cells, so that they can promise nothing"):
        partlabel.recover(second, partial_labels, **where)
    first.path.rename(tmp_path / "elsewhere")
    with pytest.raises(LabelError, match="of the known cells, so that they can promise nothing"):
        partlabel.recover(second, partial_labels, **where)


def test_what_was_taken_before_is_set_aside(
    fitted: partlabel.RunFolder, color_images: Data, partial_labels: LabelTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import partlabel.api.recover as module

    where: dict[str, Any] = {"images": color_images[0], "precision": 0.6, "confidence": 0.8}
    found = partlabel.recover(fitted, partial_labels, **where)
    merged = merge(partial_labels, found.to_table())[0]
    kept: list[Any] = []
    real = module.find_candidates
    monkeypatch.setattr(module, "find_candidates", lambda *given: kept.append(real(*given)) or kept[-1])
    again = partlabel.recover(fitted, merged, **where)
    assert len(kept[0].aside.right) == len(found)
    assert kept[0].aside.right.all()
    assert not {(one.image, one.class_name) for one in again} & {(one.image, one.class_name) for one in found}
