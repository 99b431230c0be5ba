"""Class maps over images: the right place, the right classes."""

from typing import Any

import numpy as np
import torch
from PIL import Image

from partlabel.drawing.marks import mark
from partlabel.drawing.overlays import overlay, range_text
from partlabel.images.decode import decode
from partlabel.images.views import build_view
from partlabel.labels import LabelTable
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.base import view_settings
from partlabel.report.maps import IMAGES, chosen_images, mapped_images


def test_the_highest_place_of_the_map_is_the_brightest_of_the_image() -> None:
    class_map = np.full((4, 4), -2.0, np.float32)
    class_map[3, 0] = 5.0
    drawn = overlay(Image.new("RGB", (80, 40), (90, 90, 90)), class_map)
    assert drawn.size == (80, 40)
    brightness = np.asarray(drawn).astype(int).sum(axis=2)
    row, column = np.unravel_index(brightness.argmax(), brightness.shape)
    assert row >= 30
    assert column < 20
    assert brightness[:20, 40:].max() < brightness.max() / 2


def test_a_flat_map_is_drawn_dark() -> None:
    half = np.full((2, 2), 0.5, np.float32)
    between = overlay(Image.new("RGB", (6, 6)), half, (0, 1))
    assert between.getpixel((3, 3)) == overlay(Image.new("RGB", (6, 6)), half, (0.25, 0.75)).getpixel((3, 3))
    assert between.getpixel((3, 3)) != overlay(Image.new("RGB", (6, 6)), half).getpixel((3, 3))
    assert range_text(half, (0, 1)) == "0.5 to 0.5, drawn from 0 to 1"
    drawn = np.asarray(overlay(Image.new("RGB", (6, 6), "white"), np.ones((2, 2), np.float32)))
    assert drawn.max() - drawn.min() < 5


def test_images_with_a_known_present_at_even_spaces() -> None:
    states = np.full((100, 2), -1)
    states[::2, 1] = 1
    table = LabelTable.from_dense([f"{number:03d}" for number in range(100)], ["a", "b"], states)
    assert chosen_images(table) == ["000", "018", "038", "058", "078", "098"]
    assert chosen_images(table.select_images([0, 1, 2])) == ["000", "002"]
    assert chosen_images(table.select_images([1, 3])) == []
    assert len(chosen_images(table)) == IMAGES


def test_maps_of_the_highest_classes_with_their_labels(trained: Any) -> None:
    tagger, info = load_bundle(trained.run.model)
    labels = trained.run.labels()
    names = [labels.images[4], labels.images[9]]
    found = mapped_images(tagger, info, trained.images, labels, names, lambda logit, column: f"{logit:.4f} {column}")
    assert [one.image for one in found] == names
    view = build_view("plain", view_settings(info.backbone))
    for one in found:
        images = view(decode(trained.images / one.image))[None]
        with torch.no_grad():
            logits, maps = tagger(images).logits[0], tagger.class_maps(images)[0]
        assert one.kind == "class"
        strength, *drawn_maps = one.overlays
        norm = torch.linalg.vector_norm(tagger.backbone(images).maps[0], dim=0).detach()
        assert (strength.title, strength.caption) == ("backbone alone, class-free", f"map {_range(norm)}")
        order = logits.argsort(descending=True).tolist()
        assert [drawn.title for drawn in drawn_maps] == [labels.classes[column] for column in order]
        for drawn, column in zip(drawn_maps, order, strict=True):
            state = {1: "present", 0: "unknown", -1: "absent"}[
                int(labels.states_at([labels.image_positions[one.image]], [column])[0])
            ]
            assert drawn.caption == f"{logits[column]:.4f} {column}, label {state}; map {_range(maps[column])}"
            assert drawn.mark is None


def _range(values: torch.Tensor) -> str:
    return " to ".join(f"{float(value):.3g}".replace("-", "−") for value in (values.min(), values.max()))


def test_labels_are_marked_by_the_truth_at_the_threshold(trained: Any) -> None:
    tagger, info = load_bundle(trained.run.model)
    assert info.thresholds is not None
    labels = trained.run.labels()
    found = mapped_images(
        tagger, info, trained.images, labels, labels.images, lambda logit, column: f"{logit!r}", trained.truth
    )
    kinds = set()
    for row, one in enumerate(found):
        for drawn in one.overlays[1:]:
            column = labels.class_positions[drawn.title]
            logit = float(drawn.caption.partition(",")[0])
            expected = mark(
                int(labels.states_at([row], [column])[0]),
                int(trained.truth.states_at([row], [column])[0]),
                logit >= info.thresholds[column],
            )
            assert drawn.mark == expected
            kinds.add(drawn.mark and drawn.mark.kind)
    assert "observed" in kinds
    assert kinds & {"right", "wrong", "missed"}


def test_an_image_that_cannot_be_read_has_no_maps(case: Any) -> None:
    tagger, info = load_bundle(case.run.model)
    name = case.truth.images[0]
    (case.images / name).write_text("gone")
    found = mapped_images(tagger, info, case.images, case.run.labels(), [name], lambda logit, column: "")
    assert found[0].thumbnail is None
    assert found[0].overlays == []
