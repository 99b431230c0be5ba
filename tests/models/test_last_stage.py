"""What "the last stage" is, family by family: structure alone, without weights."""

import pytest
from torch import nn

from partlabel.models.encoders.architecture import skeleton
from partlabel.models.encoders.cut import modules_after_cut

pytestmark = pytest.mark.slow

LAST: dict[str, list[str]] = {
    "resnet18": ["layer4"],
    "resnet50_clip": ["stages.3", "final_conv"],
    "resnet101_clip": ["stages.3", "final_conv"],
    "resnet50x4_clip": ["stages.3", "final_conv"],
    "repvgg_a0": ["stages.3", "final_conv"],
    "resnext26ts": ["stages.3", "final_conv"],
    "mobileone_s0": ["stages.3", "final_conv"],
    # two containers of the same, lowest resolution, then a convolution
    "gernet_s": ["stages.3", "stages.4", "final_conv"],
    "nfnet_l0": ["stages.3", "final_conv", "final_act"],
    "densenet121": ["features.transition3", "features.denseblock4", "features.norm5"],
    "regnety_002": ["s4", "final_conv"],
    "efficientnet_b0": ["blocks.6", "conv_head", "bn2"],
    "mobilenetv2_100": ["blocks.6", "conv_head", "bn2"],
    "mobilenetv3_small_050": ["blocks.5"],
    "convnext_atto": ["stages.3", "norm_pre"],
    "dla34": ["level5"],
    "res2net50_26w_4s": ["layer4"],
    "selecsls42": ["head.3"],
    "ese_vovnet19b_dw": ["stages.3"],
    "rexnet_100": ["features.15", "features.16"],
    "cspresnet50": ["stages.3"],
    "inception_v3": ["Mixed_7c"],
    "vit_tiny_patch16_224": ["blocks.11", "norm"],
    "swin_tiny_patch4_window7_224": ["layers.3", "norm"],
    "coatnet_nano_rw_224": ["stages.3", "norm"],
    "poolformer_s12": ["stages.3"],
    "mobilevit_xxs": ["stages.4", "final_conv"],
    "fastvit_t8": ["stages.3", "final_conv"],
    "levit_128": ["stages.2"],
    "pvt_v2_b0": ["stages.3"],
    "hgnetv2_b0": ["stages.3"],
    "tiny_vit_5m_224": ["stages.3"],
    "resnetv2_50": ["stages.3", "norm"],
    "skresnet18": ["layer4"],
}


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("family", LAST)
def test_the_last_stage_is_the_last_that_has_weights(family: str) -> None:
    network = skeleton(family, {})
    names = {id(module): name for name, module in network.named_modules()}
    assert [names[id(module)] for module in modules_after_cut(network, 1)] == LAST[family]
    first, *_ = modules_after_cut(network, 1)
    assert _weights(first) > 0.005 * _weights(network)
    two = [names[id(module)] for module in modules_after_cut(network, 2)]
    assert two[-len(LAST[family]) :] == LAST[family]
    assert len(two) > len(LAST[family])
