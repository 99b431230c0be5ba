"""Sine positions by explicit loops, and the encoder layer against torch's own."""

import math

import pytest
import torch
from torch import nn

from partlabel.errors import UsageError
from partlabel.models.position_code import PlaceEncoder, sine_positions


def _naive_positions(height: int, width: int, features: int) -> torch.Tensor:
    half = features // 2
    code = torch.zeros(height * width, features, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            for number in range(features):
                at, length = (row, height) if number < half else (column, width)
                k = number % half
                angle = 2 * math.pi * (at + 1) / length / 10000 ** (2 * (k // 2) / half)
                code[row * width + column, number] = math.sin(angle) if k % 2 == 0 else math.cos(angle)
    return code


@pytest.mark.parametrize(("height", "width", "features"), [(1, 1, 4), (2, 3, 8), (3, 2, 12)])
def test_positions_by_explicit_loops(height: int, width: int, features: int) -> None:
    expected = _naive_positions(height, width, features)
    torch.testing.assert_close(sine_positions(height, width, features, dtype=torch.float64), expected)
    torch.testing.assert_close(sine_positions(height, width, features), expected.float())


def test_all_places_have_codes_of_their_own() -> None:
    codes = sine_positions(14, 14, 64)
    distances = torch.cdist(codes, codes) + 9 * torch.eye(196)
    assert distances.min() > 0.1


def _torch_layer(encoder: PlaceEncoder, features: int, heads: int, wide: int) -> nn.TransformerEncoderLayer:
    """Torch's own layer with the weights of ours."""
    layer = nn.TransformerEncoderLayer(features, heads, wide, dropout=0.1, batch_first=True).double()
    names = {
        "attention.": "self_attn.",
        "feed_forward.0.": "linear1.",
        "feed_forward.3.": "linear2.",
        "attention_norm.": "norm1.",
        "output_norm.": "norm2.",
    }
    state = {}
    for name, value in encoder.state_dict().items():
        own = next(prefix for prefix in names if name.startswith(prefix))
        state[names[own] + name.removeprefix(own)] = value
    layer.load_state_dict(state)
    return layer


@pytest.mark.parametrize("feed_forward", [None, 20])
def test_layer_without_positions_is_that_of_torch(feed_forward: int | None) -> None:
    torch.manual_seed(0)
    encoder = PlaceEncoder(8, 2, 0.1, feed_forward).double().eval()
    layer = _torch_layer(encoder, 8, 2, feed_forward or 8).eval()
    places = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(encoder(places, torch.zeros(5, 8, dtype=torch.float64)), layer(places))


def _naive_encoder(encoder: PlaceEncoder, places: torch.Tensor, positions: torch.Tensor, heads: int) -> torch.Tensor:
    """Post-norm layer by loops over places and heads; positions in queries and keys only."""
    state = {name: value.detach() for name, value in encoder.state_dict().items()}
    features = places.shape[1]
    weights, biases = state["attention.in_proj_weight"].chunk(3), state["attention.in_proj_bias"].chunk(3)
    queries = [weights[0] @ (x + position) + biases[0] for x, position in zip(places, positions, strict=True)]
    keys = [weights[1] @ (x + position) + biases[1] for x, position in zip(places, positions, strict=True)]
    values = [weights[2] @ x + biases[2] for x in places]
    size, out = features // heads, []

    def normalized(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean()
        return centred / (centred.square().mean() + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    for p, place in enumerate(places):
        parts = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            shares = torch.stack([queries[p][part] @ key[part] / math.sqrt(size) for key in keys]).exp()
            parts.append(sum(share / shares.sum() * value[part] for share, value in zip(shares, values, strict=True)))
        attended = state["attention.out_proj.weight"] @ torch.cat(parts) + state["attention.out_proj.bias"]
        middle = normalized(place + attended, "attention_norm")
        inner = (state["feed_forward.0.weight"] @ middle + state["feed_forward.0.bias"]).clamp(min=0)
        out.append(
            normalized(middle + state["feed_forward.3.weight"] @ inner + state["feed_forward.3.bias"], "output_norm")
        )
    return torch.stack(out)


def test_layer_by_explicit_loops() -> None:
    torch.manual_seed(0)
    encoder = PlaceEncoder(8, 2, 0.1).double().eval()
    for norm in (encoder.attention_norm, encoder.output_norm):
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    places, positions = torch.randn(2, 6, 8, dtype=torch.float64), sine_positions(2, 3, 8, dtype=torch.float64)
    expected = torch.stack([_naive_encoder(encoder, image, positions, 2) for image in places])
    torch.testing.assert_close(encoder(places, positions), expected)
    assert not torch.allclose(encoder(places, torch.zeros_like(positions)), expected)


def test_dropout_is_at_work_in_training_only() -> None:
    torch.manual_seed(0)
    encoder, positions = PlaceEncoder(8, 2, 0.1), sine_positions(2, 3, 8)
    places = torch.randn(2, 6, 8)
    assert not torch.equal(encoder(places, positions), encoder(places, positions))
    torch.testing.assert_close(encoder.eval()(places, positions), encoder(places, positions), rtol=0, atol=0)


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="not 6; set reduction"):
        sine_positions(2, 2, 6)
    for features, heads in ((12, 8), (6, 2)):
        with pytest.raises(UsageError, match=f"{features} channels with {heads} heads.*choose other heads.*reduction"):
            PlaceEncoder(features, heads, 0.1)
