"""Every head can be exported: one graph for batches of any size, with the numbers of the tagger itself."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.base import Backbone
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers
from partlabel.models.encoders.twin import TwinBackbone
from partlabel.models.heads import HEADS, HeadSpec
from partlabel.models.tagger import Tagger

CLASSES = ("red", "green", "blue")
SMALL = {"label_features": 5, "hidden": 6}
CASES: dict[str, HeadSpec] = {
    "average": HeadSpec(),
    "two stages": HeadSpec(),
    "square roots": HeadSpec(settings={"transform": "sqrt"}),
    "added classes": HeadSpec(kind="extended", settings={"added": 2, "transform": "sqrt"}),
    "saliency": HeadSpec(kind="saliency", settings={"k": 2}),
    "ssgrl": HeadSpec(kind="ssgrl", settings={**SMALL, "reduction": 8}),
    "ml_gcn": HeadSpec(kind="ml_gcn", settings=SMALL),
    "twin": HeadSpec(kind="twin", settings={"head": {"kind": "pooled"}}),
    "twin backbones": HeadSpec(kind="twin", settings={"head": {"kind": "saliency"}}),
    "colearning": HeadSpec(kind="colearning", settings={**SMALL, "reduction": 8, "heads": 2}),
    "low_rank": HeadSpec(kind="low_rank", settings={"rank": 2}),
    "latent_noise": HeadSpec(kind="latent_noise"),
    "cnn_rnn": HeadSpec(kind="cnn_rnn", settings={**SMALL, "steps": 2}),
    "fast0tag": HeadSpec(kind="fast0tag", settings=SMALL),
    "zero_shot": HeadSpec(kind="zero_shot", settings={"scale": 14.0}),
    "dual": HeadSpec(kind="dual"),
    "dual, evidence": HeadSpec(kind="dual", settings={"evidence": True, "winner": "share", "image_token": False}),
    "ml_decoder": HeadSpec(kind="ml_decoder", settings={"width": 8, "feed_forward": 8, "heads": 2}),
    "ml_decoder groups": HeadSpec(kind="ml_decoder", settings={"width": 8, "feed_forward": 8, "heads": 2, "groups": 2}),
    "query2label": HeadSpec(kind="query2label", settings={"reduction": 8, "feed_forward": 8, "heads": 2}),
    "local-global": HeadSpec(),
    "last stage trained": HeadSpec(),
}


class Logits(nn.Module):
    """What a server asks for."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.tagger = tagger

    def forward(self, images: Tensor) -> Tensor:
        return self.tagger(images).logits  # type: ignore[no-any-return]


@pytest.fixture
def _shapes_unchecked() -> Iterator[None]:
    """Shapes are symbols during an export."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _backbone(case: str, folder: Path) -> Backbone:
    if CASES[case].kind in {"zero_shot", "dual"}:
        return create_backbone(write_towers(folder), joint_space="projected")

    def one() -> Backbone:
        return create_backbone(
            "test_resnet",
            pretrained=False,
            size=32,
            local_global=case == "local-global",
            freeze=case == "last stage trained",
            train_last=int(case == "last stage trained"),
            stages=2 if case == "two stages" else 1,
        )

    return TwinBackbone(one(), one()) if case == "twin backbones" else one()


@pytest.mark.slow
@pytest.mark.usefixtures("_shapes_unchecked")
@pytest.mark.parametrize("case", CASES)
def test_a_bundle_exports_with_its_numbers(tmp_path: Path, case: str) -> None:
    torch.manual_seed(0)
    backbone = _backbone(case, tmp_path)
    tagger = Tagger(backbone, CASES[case], CLASSES)
    if isinstance(backbone, TwinBackbone):
        assert tagger.head.first.classifier.in_channels == backbone.first.num_features  # type: ignore[union-attr,operator]
    info = BundleInfo(backbone=backbone.spec, head=tagger.head_spec, classes=CLASSES, method="bce")
    save_bundle(tmp_path, tagger, info)
    model = Logits(load_bundle(tmp_path)[0])
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.randn(2, 3, 32, 32),), dynamic_shapes={"images": {0: batch}})
    for count in (1, 2, 7):
        images = torch.randn(count, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(images), model(images), rtol=1e-5, atol=1e-5)


def test_every_head_is_among_the_cases() -> None:
    assert {spec.kind for spec in CASES.values()} == set(HEADS)
