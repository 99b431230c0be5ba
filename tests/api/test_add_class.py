"""`add-class`: tables, queues and models with a class that nobody looked for before."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import partlabel
from partlabel.api.add_class import add_class, with_classes
from partlabel.cli import main
from partlabel.errors import LabelError, RunError, UsageError
from partlabel.inference.new_class import NewClasses
from partlabel.labels import LabelTable, Source
from partlabel.models.bundle import load_bundle
from partlabel.models.heads.pooled import PooledHead, transformed
from partlabel.models.label_text import label_vectors
from partlabel.progress import SILENT
from partlabel.reviewing.journal import Journal
from partlabel.reviewing.queues import Wanted, asked_of
from partlabel.reviewing.source import open_subject
from partlabel.reviewing.verdicts import Decision, Verdicts
from partlabel.runs.folder import RunFolder

Data = tuple[Path, LabelTable]
WORDS = "red 1 0 0.2\ngreen 0 1 0.1\nblue 0.1 0.2 1\norange 0.9 0.4 0\nteal 0 0.7 0.8\n"


SMALL: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "accelerator": "cpu",
    "report": False,
    "holdout": 0,
}


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory: pytest.TempPathFactory, color_images: Data, partial_labels: LabelTable) -> RunFolder:
    """A discriminant on features of two stages."""
    how = {**SMALL, "images": color_images[0], "out": tmp_path_factory.mktemp("two") / "run"}
    return partlabel.train(partial_labels, method="discriminant", freeze=True, stages=2, **how)


@pytest.fixture(scope="module")
def trained_whole(
    tmp_path_factory: pytest.TempPathFactory, color_images: Data, partial_labels: LabelTable
) -> RunFolder:
    """A network that was trained with its backbone, and the largest value of each channel."""
    how = {**SMALL, "images": color_images[0], "out": tmp_path_factory.mktemp("whole") / "run"}
    return partlabel.train(partial_labels, method="bce", pool="max", epochs=1, **how)


RUNS = ["two_stages", "trained_whole"]


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text(WORDS)
    return str(path)


@pytest.fixture
def table() -> LabelTable:
    """Cells of all sources, one unsure, one class declared complete."""
    sources = [Source.HUMAN, Source.RECOVERED, Source.UNSURE, Source.REVIEW]
    return LabelTable.from_cells(
        ["a.jpg", "b.jpg", "c.jpg"], ["cat", "dog"], [0, 1, 1, 2], [0, 0, 1, 1], [1, 0, 0, -1], sources, [-1, 0]
    )


def _run_command(monkeypatch: pytest.MonkeyPatch, *words: object) -> object:
    monkeypatch.setattr(sys, "argv", ["partlabel", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_a_new_class_is_unknown_and_nothing_else_changes(
    table: LabelTable, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    partlabel.write_table(table, tmp_path / "old.parquet")
    out = tmp_path / name
    assert not _run_command(monkeypatch, "add-class", tmp_path / "old.parquet", "horse", "red fox", "--out", out)
    found = partlabel.read_table(out).table
    assert found.classes == ("cat", "dog", "horse", "red fox")
    assert not found.select_classes(["horse", "red fox"]).dense().any()
    assert not found.select_classes(["horse", "red fox"]).background.any()
    old = found.select_classes(table.classes)
    assert old.hash == table.hash
    np.testing.assert_array_equal(old.background, table.background)
    for part in ("image_index", "class_index", "states", "sources"):
        np.testing.assert_array_equal(getattr(old.cells(), part), getattr(table.cells(), part))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["cat"], r"class 'cat' is in the table already; .*\(--run RUN\)"),
        (["Cat"], r"class 'Cat' looks like 'cat' of the table and differs"),
        (["cafe\u0301"], r"class 'cafe\\u0301' looks like 'caf\\xe9' of the table"),
        (["horse", "Horse"], "two of the names 'horse', 'Horse' are one class"),
        (["horse", "horse"], "are one class"),
        ([" horse"], "' horse' is no name of a class"),
        (["nan"], "'nan' is no name of a class"),
        ([""], "'' is no name of a class"),
    ],
)
def test_a_name_that_is_there_or_looks_so_is_refused(
    names: list[str], sentence: str, table: LabelTable, tmp_path: Path
) -> None:
    known = with_classes(table, ["caf\u00e9"])
    with pytest.raises(LabelError, match=sentence):
        add_class(known, names, out=tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


def test_what_cannot_be_written_is_refused_before_anything_is_read(table: LabelTable, tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("image\n")
    for how, sentence in (
        ({}, r"nothing would be written; name a file .*--out"),
        ({"out": tmp_path / "new.csv", "queue": "queue.csv"}, r"come from a trained run; name one \(--run"),
        ({"run": "run", "queue": there}, "somebody may be reviewing it; name another"),
        ({"run": "run", "model": tmp_path}, "name a new folder for the model"),
        ({"run": "run", "queue": tmp_path / "queue.csv", "top": 0}, "top 0 is below 1"),
    ):
        with pytest.raises(UsageError, match=sentence):
            add_class(table, ["horse"], **how)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is read and would be overwritten"):
        add_class(there, ["horse"], out=there)
    with pytest.raises(UsageError, match="no class was named"):
        add_class(table, [], out=tmp_path / "new.csv")


@pytest.mark.slow
def test_a_class_without_a_label_is_ranked_by_its_name(
    fitted_run: RunFolder, color_images: Data, words: str, tmp_path: Path, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is in the order of the logits of the model that is written, and review opens it in this order."""
    root = color_images[0]
    source = tmp_path / "table.csv"
    partlabel.write_table(fitted_run.labels(), source)
    out, model = tmp_path / "new.csv", tmp_path / "model"
    how = {"images": root, "label_vectors": words, "top": 7}
    added = add_class(source, ["orange", "teal"], out=out, run=fitted_run, model=model, reporter=heard, **how)  # type: ignore[arg-type]
    queue = tmp_path / "new.csv.queue.csv"
    assert added.written == (out, queue, model)
    assert [(one.name, len(one.images)) for one in added.rankings] == [("orange", 7), ("teal", 7)]
    said = " ".join(heard.lines)
    assert "2 classes without a known present image, told by the name alone" in said
    assert "ranks and is no probability, and no image is tagged by it" in said

    table = partlabel.predict(model, [root / name for name in fitted_run.labels().images])
    rows = table.to_pylist()
    for one in added.rankings:
        its = {Path(row["image"]).name: row for row in rows if row["class"] == one.name}
        order = sorted(its, key=lambda name: -its[name]["logit"])
        assert list(one.images) == order[:7]
        np.testing.assert_allclose(one.scores, [its[name]["logit"] for name in order[:7]], rtol=1e-3, atol=1e-3)
        assert not any(row["predicted"] for row in its.values())
        assert np.ptp([row["probability"] for row in its.values()]) < 1e-6

    counts = fitted_run.labels().counts_by_class()
    prior = np.mean([present / (present + absent) for present, absent, _ in zip(*counts, strict=True)])
    calibration = load_bundle(model)[1].calibration
    assert calibration is not None
    assert calibration["intercept"][-2:] == pytest.approx([np.log(prior / (1 - prior))] * 2)

    subject, known = open_subject(queue, out, root, SILENT, {})
    assert known is not None
    assert subject.listed is not None
    asked = asked_of(subject, learns=False)
    for one in added.rankings:
        column = subject.classes.index(one.name)
        cells = asked.page(Wanted(asked.queues[0], column, verdict=0), 0, 100).cells
        assert tuple(subject.images[cell // len(subject.classes)] for cell in cells) == one.images
        assert np.isnan(asked.probability_of(cells)).all()
    assert not subject.listed.suggests.any()
    assert partlabel.merge(out, queue).hash == added.table.hash


@pytest.mark.slow
@pytest.mark.parametrize("which", RUNS)
def test_logits_of_the_classes_of_the_run_have_the_same_bits(
    which: str, request: pytest.FixtureRequest, color_images: Data, words: str, tmp_path: Path
) -> None:
    run, root = request.getfixturevalue(which), color_images[0]
    added = add_class(run.labels(), ["orange"], run=run, images=root, label_vectors=words, model=tmp_path / "model")
    assert added.written == (tmp_path / "model",)
    before, after = (partlabel.predict(model, root) for model in (run.path, tmp_path / "model"))
    rows = [row for row in after.to_pylist() if row["class"] != "orange"]
    assert len(rows) == len(before) == 3 * len(color_images[1])
    for row, old in zip(rows, before.to_pylist(), strict=True):
        assert (row["image"], row["class"], row["predicted"]) == (old["image"], old["class"], old["predicted"])
        assert row["logit"] == old["logit"]
        assert row["probability"] == pytest.approx(old["probability"], rel=1e-12)


@pytest.fixture
def reviewed(color_images: Data) -> LabelTable:
    """A class that the run does not know, decided in half of the images: what is red in truth."""
    images, truth = color_images[1].images, color_images[1].dense()[:, 0]
    return LabelTable.from_dense(images, ["crimson"], np.where(np.arange(len(images)) < 16, truth, 0)[:, None])


def _as_read(run: RunFolder, names: tuple[str, ...], root: Path) -> Any:
    """Features of one image after the other, by the network as it is shipped; those of each of two stages of the same
    variance in all, but for the weight that the run chose.
    """
    tagger, info = load_bundle(run.model)
    head, found = tagger.head, []
    assert isinstance(head, PooledHead)
    for name in names:
        with Image.open(root / name) as image:
            pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255)
        mean, deviation = torch.tensor(info.backbone.mean), torch.tensor(info.backbone.std)
        with torch.no_grad():
            maps = tagger.features(((pixels - mean) / deviation).permute(2, 0, 1)[None]).maps[0].flatten(1)
        found.append(transformed((maps.mean(1) if head.pool == "avg" else maps.amax(1))[None], head.transform))
    features, stages = torch.cat(found).double().numpy(), tagger.backbone.stage_features
    if len(stages) > 1:
        first, second = features[:, : stages[0]], features[:, stages[0] :]
        weight = run.info["fitted"]["stage_weight"]
        features = np.hstack([first / first.var(0).sum() ** 0.5, weight * second / second.var(0).sum() ** 0.5])
    return features


@pytest.mark.slow
@pytest.mark.parametrize("which", RUNS)
def test_after_a_review_images_are_ranked_by_those_that_show_the_class(
    which: str, request: pytest.FixtureRequest, color_images: Data, reviewed: LabelTable, tmp_path: Path
) -> None:
    """With the features that the model of the run reads, and no words."""
    run, how = request.getfixturevalue(which), {"label_vectors": "nowhere.txt", "queue": tmp_path / "queue.csv"}
    (found,) = add_class(reviewed, ["crimson"], run=run, images=color_images[0], **how).rankings  # type: ignore[arg-type]
    features = _as_read(run, reviewed.images, color_images[0])
    states, mean = reviewed.dense()[:, 0], features.mean(0)
    below = (features[states < 0].mean(0) + mean) / 2
    covariance = np.cov(features, rowvar=False, bias=True)
    shrunk = 0.03 * covariance + 0.97 * np.trace(covariance) / len(mean) * np.eye(len(mean))
    z = (features - mean) @ np.linalg.solve(shrunk, features[states > 0].mean(0) - below)
    expected = dict(zip(reviewed.images, z / z.std(), strict=True))
    slope, offset = np.polyfit([expected[name] for name in found.images], found.scores, 1)
    line = [slope * expected[name] + offset for name in found.images]
    np.testing.assert_allclose(found.scores, line, rtol=1e-2, atol=1e-2)
    assert slope > 0.1


@pytest.mark.slow
def test_from_a_name_by_a_review_to_a_model(
    fitted_run: RunFolder, color_images: Data, words: str, tmp_path: Path, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of docs/new_class.md, with a reviewer who takes "orange" for what is red."""
    (root, truth), more, model = color_images, tmp_path / "more.csv", tmp_path / "model"
    partlabel.write_table(fitted_run.labels(), tmp_path / "tags.csv")
    given = ["--run", fitted_run.path, "--images", root]
    how = ["--label-vectors", words, "--top", 12, *given]
    assert not _run_command(monkeypatch, "add-class", tmp_path / "tags.csv", "orange", "--out", more, *how)
    queue, reviewed = tmp_path / "more.csv.queue.csv", tmp_path / "reviewed.csv"
    subject, _ = open_subject(queue, more, root, SILENT, {})
    with Journal(Path(f"{queue}.verdicts.jsonl"), subject) as journal:
        decisions = []
        for cell in asked_of(subject, learns=False).page(Wanted("file"), 0, 100).cells.tolist():
            red = truth.states_at([truth.image_positions[subject.images[cell // 4]]], [0])[0] > 0
            decisions.append(Decision(cell, "present" if red else "absent"))
        Verdicts(subject, asked_of(subject, learns=False), journal).decide("tab", "Ann", decisions)
    partlabel.reviewed(queue, out=reviewed, images=root, table=more)
    table = partlabel.read_table(reviewed).table
    assert int((table.select_classes(["orange"]).dense() != 0).sum()) == 12 == len(decisions)
    assert table.select_classes(list(truth.classes)).hash == fitted_run.labels().hash

    added = add_class(
        reviewed, ["orange"], run=fitted_run, images=root, queue=tmp_path / "next.csv", model=model, reporter=heard
    )
    assert any(line.startswith("'orange': fitted to") for line in heard.lines)
    assert len(added.rankings[0].images) == len(table) - 12
    assert load_bundle(model)[1].classes == (*truth.classes, "orange")


@pytest.mark.slow
def test_a_class_with_both_signs_is_tagged_from_even_odds_on(
    stepped_run: RunFolder, color_images: Data, reviewed: LabelTable, tmp_path: Path, heard: Any
) -> None:
    (root, truth), model = color_images, tmp_path / "model"
    table = partlabel.merge(truth.select_classes(["green"]), reviewed)
    add_class(table, ["crimson"], run=stepped_run, images=root, model=model, reporter=heard)
    present = int((reviewed.dense() > 0).sum())
    assert f"'crimson': fitted to {present} present and {16 - present} absent cells" in heard.lines
    rows = partlabel.predict(model, [root / name for name in truth.images]).to_pylist()
    its = [row for row in rows if row["class"] == "crimson"]
    assert all(row["predicted"] == (row["logit"] >= 0) for row in its)
    logits, states = np.array([row["logit"] for row in its])[16:], truth.dense()[16:, 0]
    assert logits[states > 0].mean() > logits[states < 0].mean()
    tagged = np.array([row["predicted"] for row in its])
    assert (tagged == (truth.dense()[:, 0] > 0)).mean() > 0.75

    alone = LabelTable.from_dense(reviewed.images, ["crimson"], np.maximum(reviewed.dense(), 0))
    add_class(alone, ["crimson"], run=stepped_run, images=root, model=tmp_path / "other", reporter=heard)
    assert heard.lines[-1].endswith(
        "0 absent cells; it ranks, and no image is tagged by it until somebody has stated absent ones"
    )
    rows = partlabel.predict(tmp_path / "other", [root / name for name in truth.images]).to_pylist()
    assert {row["predicted"] for row in rows if row["class"] == "crimson"} == {False}
    assert {round(row["probability"], 5) for row in rows if row["class"] == "crimson"} == {round(present / 32, 5)}


@pytest.mark.slow
def test_scores_do_not_hang_on_where_features_begin(
    stepped_run: RunFolder, color_images: Data, reviewed: LabelTable, words: str
) -> None:
    """All features moved by the same vector: the logits are the same, of a fitted class and of one told by its name."""
    (root, truth) = color_images
    asked = NewClasses.open(stepped_run, partlabel.merge(truth.select_classes(["green"]), reviewed), root, SILENT)
    assert asked.head.transform == "none"
    moved = NewClasses(asked.run, asked.tagger, asked.info, asked.table, asked.labels, asked.features + 3)
    vectors = label_vectors(words, (*asked.labels.classes, "orange"))
    for one, other in (
        (asked.by_labels(["crimson"])[0], moved.by_labels(["crimson"])[0]),
        (asked.by_words(["orange"], vectors).rows[0], moved.by_words(["orange"], vectors).rows[0]),
    ):
        np.testing.assert_allclose(moved.scores(other), asked.scores(one), atol=0.05)
        assert np.ptp(asked.scores(one)) > 1


@pytest.mark.slow
def test_what_a_run_cannot_do_is_a_sentence(
    fitted_run: RunFolder, color_images: Data, words: str, tmp_path: Path
) -> None:
    root, truth = color_images
    how: dict[str, Any] = {"run": fitted_run, "images": root, "label_vectors": words, "queue": tmp_path / "queue.csv"}
    with pytest.raises(UsageError, match="was trained on class 'red' already; leave it out"):
        add_class(truth, ["red"], **how)
    with pytest.raises(LabelError, match=r"class 'Red' looks like 'red' of the run"):
        add_class(truth.select_classes(["green"]), ["Red"], **how)
    with pytest.raises(UsageError, match="label_vectors 'learned' may give no vectors for a new name"):
        add_class(truth, ["orange"], **{**how, "label_vectors": "learned"})
    with pytest.raises(LabelError, match=r"has no word of 1 class.*'unheard'"):
        add_class(truth, ["unheard"], **how)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").write_bytes((root / "00.png").read_bytes())
    strange = LabelTable.from_cells(["x.png"], ["green"], [], [], [])
    with pytest.raises(RunError, match=r"none of the images that .* was trained on is below .*\(--images\)"):
        add_class(strange, ["orange"], **{**how, "images": tmp_path / "elsewhere"})
    assert not (tmp_path / "queue.csv").exists()


def test_what_is_read_beside_the_table_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,class,state\na.jpg,dog,present\n")
    relations, renaming = tmp_path / "relations.csv", tmp_path / "names.csv"
    relations.write_text("class,relation,other\ndog,implies,animal\n")
    renaming.write_text("from,to\ndog,hound\n")
    with pytest.raises(UsageError, match="is read and would be overwritten"):
        add_class(tmp_path / "t.csv", ["cat"], out=relations, read={"relations": str(relations)})
    with pytest.raises(UsageError, match="is read and would be overwritten"):
        add_class(tmp_path / "t.csv", ["cat"], out=renaming, read={"rename": str(renaming)})


def test_two_things_are_not_written_to_one_file(table: LabelTable, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        add_class(
            table, ["cow"], out=tmp_path / "x.csv", queue=tmp_path / "x.csv", run=tmp_path / "run", images=tmp_path
        )


def test_a_name_of_a_file_that_no_format_has_is_refused_before_anything_is_computed(
    table: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partlabel.runs.folder import RunFolder as Folder

    monkeypatch.setattr(Folder, "open", lambda *_: pytest.fail("the run is opened first"))
    with pytest.raises(UsageError, match="does not end in"):
        add_class(table, ["cow"], out=tmp_path / "x.txt", run=tmp_path / "run", images=tmp_path)
