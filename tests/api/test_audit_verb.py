"""`recover --audit` and `--audited`, from files to files."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import partlabel
from partlabel.cli.app import app
from partlabel.errors import LabelError, UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable, State
from partlabel.recovery import Audited, Suggestions

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
def positives(color_images: Data) -> LabelTable:
    """The first images have their present labels known, the others nothing; no absent label is known."""
    truth = color_images[1]
    states = np.where(truth.dense() > 0, 1, 0).astype(np.int8)
    states[14:] = 0
    return LabelTable.from_dense(truth.images, truth.classes, states)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, color_images: Data, positives: LabelTable) -> partlabel.RunFolder:
    return partlabel.train(positives, images=color_images[0], out=tmp_path_factory.mktemp("audit") / "run", **FITTED)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _answer(path: Path, truth: LabelTable, first: int | None = None) -> None:
    """What a person does who knows the truth: set the states, of the first cells or all."""
    rows = _rows(path)
    for row in rows[:first]:
        state = truth.states_at([truth.image_positions[row["image"]]], [truth.class_positions[row["class"]]])[0]
        row["state"] = State(int(state)).name.lower()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _audited(found: Suggestions) -> Audited:
    assert isinstance(found.thresholds, Audited)
    return found.thresholds


def test_positives_alone_promise_nothing_and_an_audit_does(
    run: partlabel.RunFolder, color_images: Data, positives: LabelTable, tmp_path: Path, heard: Any
) -> None:
    root, truth = color_images
    where: dict[str, Any] = {"images": root}
    with pytest.raises(
        LabelError, match=r"known.*present, so precision cannot be measured.*recover --audit|all .* are"
    ):
        partlabel.recover(run, positives, **where)
    audit, out = tmp_path / "audit.csv", tmp_path / "released.csv"
    drawn = partlabel.recover(run, positives, out=audit, audit=12, precision=0.5, confidence=0.8, **where)
    rows = _rows(audit)
    assert [(row["state"], row["rule"]) for row in rows] == [("unknown", "audit")] * 12
    assert [(one.image, one.class_name) for one in drawn] == [(row["image"], row["class"]) for row in rows]
    table = partlabel.read_table(audit, format="long").table
    assert not table.counts_by_class().present.any()
    assert not table.counts_by_class().absent.any()

    nothing = partlabel.recover(run, positives, audited=audit, **where)
    assert len(nothing) == 0
    _answer(audit, truth)
    right = [row["state"] == "present" for row in _rows(audit)]
    released = partlabel.recover(run, positives, audited=audit, out=out, reporter=heard, **where)
    found = _audited(released)
    assert (found.target_precision, found.confidence) == (0.5, 0.8)  # those of the audit, not the defaults
    assert (int(found.release.judged.sum()), int(found.release.right.sum())) == (12, sum(right))
    assert f"{sum(right)} of 12 judged suggestions are right" in "\n".join(heard.lines)
    assert len(released) > sum(right)
    judged_wrong = {(row["image"], row["class"]) for row in _rows(audit) if row["state"] == "absent"}
    assert not judged_wrong & {(one.image, one.class_name) for one in released}
    states = truth.states_at(released.image_index, released.class_index)
    assert (states > 0).mean() >= 0.5
    written = json.loads(Path(f"{out}.json").read_text())
    assert (written["kind"], written["judged"], written["right"]) == ("audited", 12, sum(right))
    assert {row["rule"] for row in _rows(out)} == {"audited"}


def test_an_audit_without_known_absents_expects_nothing_of_probabilities(
    run: partlabel.RunFolder, color_images: Data, positives: LabelTable, partial_labels: LabelTable, tmp_path: Path
) -> None:
    known = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **FITTED)
    for number, (one, table, prior, by) in enumerate(
        (
            (run, positives, "uniform", "nothing but verdicts"),
            (known, partial_labels, "calibrated", "cross-fitting"),
        )
    ):
        audit = tmp_path / f"{number}.csv"
        partlabel.recover(one, table, images=color_images[0], out=audit, audit=5, precision=0.5)
        drawn = json.loads(Path(f"{audit}.json").read_text())
        assert (drawn["strata"]["prior"], drawn["evidence"]["by"]) == (prior, by)


def test_what_an_audit_was_drawn_with_need_not_be_said_again_and_nothing_else_may_be(
    color_images: Data, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    run = partlabel.train(partial_labels, images=root, out=tmp_path / "run", **FITTED)
    table, audit = tmp_path / "tags.csv", tmp_path / "audit.csv"
    lines = ["image,note,red,green,blue"]
    for name, states in zip(partial_labels.images, partial_labels.dense(), strict=True):
        lines.append(",".join([name, "hm", *("-1" if state < 0 else str(state) for state in states)]))
    table.write_text("\n".join(lines) + "\n")
    drawn: dict[str, Any] = {
        "precision": 0.55,
        "confidence": 0.8,
        "state": "absent",
        "folds": 3,
        "image_labels": True,
        "read": {"codes": "1=present,-1=absent,0=unknown", "ignore": ("note",)},
    }
    partlabel.recover(run, table, images=root, out=audit, audit=8, **drawn)
    _answer(audit, truth)
    plain, again = (partlabel.recover(run, table, images=root, audited=audit, **options) for options in ({}, drawn))
    found = _audited(plain)
    assert (found.target_precision, found.confidence, found.state) == (0.55, 0.8, State.ABSENT)
    assert (plain.evidence["folds"], plain.evidence["image_labels"]) == (3, True)
    assert [tuple(one) for one in plain] == [tuple(one) for one in again]
    assert int(found.release.judged.sum()) == 8
    more = tmp_path / "more.csv"
    partlabel.recover(run, table, images=root, audited=audit, audit=2, out=more)
    assert json.loads(Path(f"{more}.json").read_text())["read"] == {
        "table": "tags.csv",
        "options": {"codes": "1=present,-1=absent,0=unknown", "ignore": ["note"]},
    }
    others = (
        ({"precision": 0.9}, "with --precision 0.55, not 0.9; leave --precision out, or draw another audit"),
        ({"confidence": 0.9}, "with --confidence 0.8, not 0.9"),
        ({"state": "present"}, "with --state absent, not present"),
        ({"folds": 5}, "with --folds 3, not 5"),
        ({"folds": 0}, "with --folds 3, not 0"),
        ({"image_labels": False}, "with --image-labels True, not False"),
        ({"read": {"ignore": ("red",)}}, r"with --ignore \['note'\], not \['red'\]"),
        ({"read": {"conflicts": "unknown"}}, "was drawn without --conflicts, not unknown"),
    )
    for wrong, said in others:
        with pytest.raises(UsageError, match=f"audit.csv was drawn .*{said}".replace("drawn .*was drawn", "drawn")):
            partlabel.recover(run, table, images=root, audited=audit, **wrong)
    # read otherwise, from a file of another name, the table is the same
    write_table(partial_labels, tmp_path / "same.parquet")
    other = partlabel.recover(run, tmp_path / "same.parquet", images=root, audited=audit)
    assert [tuple(one) for one in other] == [tuple(one) for one in plain]


def test_more_can_be_drawn_and_answers_stay(
    run: partlabel.RunFolder, color_images: Data, positives: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    partlabel.recover(run, positives, images=root, out=first, audit=5, precision=0.5)
    _answer(first, truth)
    with pytest.raises(UsageError, match="may hold your checks"):
        partlabel.recover(run, positives, images=root, out=first, audit=5, precision=0.5)
    partlabel.recover(run, positives, images=root, out=second, audited=first, audit=4)
    old, new = (_rows(path) for path in (first, second))
    assert new[:5] == old
    assert len(new) == 9
    assert {row["state"] for row in new[5:]} == {"unknown"}
    assert len({(row["image"], row["class"]) for row in new}) == 9


def test_passed_over_cells_count_as_wrong(
    run: partlabel.RunFolder, color_images: Data, positives: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    audit = tmp_path / "audit.csv"
    partlabel.recover(run, positives, images=root, out=audit, audit=8, precision=0.5)
    _answer(audit, truth)
    lines = audit.read_text().splitlines()
    lines[2] = lines[2].replace(",present,", ",unknown,").replace(",absent,", ",unknown,")
    audit.write_text("\n".join(lines) + "\n")
    found = _audited(partlabel.recover(run, positives, images=root, audited=audit))
    assert int(found.release.judged.sum()) == 8
    answered = [row["state"] for row in _rows(audit)]
    assert int(found.release.right.sum()) == answered.count("present")


def test_an_audit_of_other_suggestions_is_refused(
    run: partlabel.RunFolder, color_images: Data, positives: LabelTable, tmp_path: Path
) -> None:
    root, truth = color_images
    audit = tmp_path / "audit.csv"
    partlabel.recover(run, positives, images=root, out=audit, audit=8, precision=0.5)
    dense = positives.dense()
    dense[14:] = truth.dense()[14:]
    more = LabelTable.from_dense(positives.images, positives.classes, dense)
    with pytest.raises(LabelError, match="drawn from other suggestions"):
        partlabel.recover(run, more, images=root, audited=audit)
    Path(f"{audit}.json").unlink()
    with pytest.raises(LabelError, match="does not say how an audit was drawn"):
        partlabel.recover(run, positives, images=root, audited=audit)


def test_as_a_command(run: partlabel.RunFolder, color_images: Data, positives: LabelTable, tmp_path: Path) -> None:
    root, truth = color_images
    table, audit, out = tmp_path / "labels.parquet", tmp_path / "audit.csv", tmp_path / "released.csv"
    write_table(positives, table)
    command = ["recover", str(run.path), str(table), "--images", str(root)]
    done = CliRunner().invoke(app, [*command, "--audit", "0", "--precision", "0.5", "--out", str(audit)])
    assert done.stdout.endswith("cells to judge\n"), done.output
    _answer(audit, truth)
    done = CliRunner().invoke(app, [*command, "--audited", str(audit), "--out", str(out)])
    assert done.stdout.endswith("suggestions\n"), done.output
