import numpy as np
import pytest
import torch

from partlabel.errors import UsageError
from partlabel.models.encoders.build import create_backbone
from partlabel.models.heads import HeadSpec, build_head
from partlabel.models.heads.pooled import PooledHead, pooled_spec, transformed
from partlabel.models.tagger import Tagger

MAPS = torch.randn(3, 5, 2, 4, generator=torch.Generator().manual_seed(0))


def test_the_root_of_each_pooled_feature_with_its_sign() -> None:
    head = PooledHead(5, 2, "avg", "sqrt")
    logits = head(MAPS).logits.detach().numpy()
    weight, bias = (parameter.detach().numpy() for parameter in head.linear.parameters())
    for image in range(3):
        for name in range(2):
            expected = float(bias[name])
            for channel in range(5):
                pooled = float(MAPS[image, channel].mean())
                expected += float(weight[name, channel]) * np.sign(pooled) * abs(pooled) / np.sqrt(abs(pooled) + 1e-4)
            assert logits[image, name] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("transform", ["none", "sqrt"])
def test_the_mean_of_a_class_map_is_the_logit(transform: str) -> None:
    head = build_head(HeadSpec(settings={"transform": transform}), 5, 2)
    torch.testing.assert_close(head.class_maps(MAPS).mean((2, 3)), head(MAPS).logits)


def test_the_root_has_a_finite_slope_at_zero() -> None:
    features = torch.tensor([[0.0, 1e-12, -1e-12]], requires_grad=True)
    transformed(features, "sqrt").sum().backward()
    assert features.grad is not None
    assert (features.grad <= 100).all()
    assert (features.grad > 99).all()


def test_no_such_transform() -> None:
    with pytest.raises(UsageError, match=r"head 'pooled' does not take these settings|transform 'cube' is not 'none'"):
        build_head(HeadSpec(settings={"transform": "cube"}), 5, 2)


def test_a_head_that_is_replaced_stands_on_the_device_of_the_old_one() -> None:
    """A fit on a GPU puts on another head before its last pass."""
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    tagger = Tagger(backbone, HeadSpec(), ("a", "b")).eval().to("meta")
    tagger.replace_head(pooled_spec("avg", "sqrt"))
    assert {parameter.device.type for parameter in tagger.parameters()} == {"meta"}
    assert tagger(torch.empty(1, 3, 32, 32, device="meta")).logits.shape == (1, 2)


def test_what_does_nothing_is_not_written() -> None:
    assert pooled_spec("max", "none").settings == {"pool": "max"}
    assert pooled_spec("avg", "sqrt").settings == {"pool": "avg", "transform": "sqrt"}
