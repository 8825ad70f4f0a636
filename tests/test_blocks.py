"""The project's own transformer blocks against timm's, number by number."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from rs_embed.embedders.blocks import (
    Attention,
    Block,
    SwiGlu,
    resample_positions,
    sincos,
    sincos_2d,
    transformer,
)

NORM = partial(nn.LayerNorm, eps=1e-6)


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"qkv_bias": True}),
        ({"qkv_bias": False}, {"qkv_bias": False}),
        ({"qk_norm": NORM}, {"qkv_bias": True, "qk_norm": True}),
        ({"layer_scale": True}, {"qkv_bias": True, "init_values": 0.5}),
        ({"proj_bias": False}, {"qkv_bias": True, "proj_bias": False}),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_a_block_has_the_keys_and_numbers_of_timms(ours, theirs, masked) -> None:
    from timm.models.vision_transformer import Block as TimmBlock

    theirs = dict(theirs)
    bias = theirs.pop("proj_bias", True)
    other = TimmBlock(24, 3, norm_layer=NORM, **theirs).eval()
    if not bias:
        other.attn.proj.bias = None
    block = Block(24, 3, norm=NORM, **ours).eval()
    for i, parameter in enumerate(other.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i))
    block.load_state_dict(other.state_dict())
    x = seeded(2, 7, 24)
    mask = torch.arange(7)[None, None, None] < torch.tensor([7, 4])[:, None, None, None]
    with torch.inference_mode():
        given = {"attn_mask": mask} if masked else {}
        wanted = x + other.ls1(other.attn(other.norm1(x), **given))
        wanted = wanted + other.ls2(other.mlp(other.norm2(wanted)))
        assert torch.equal(block(x, mask if masked else None), wanted)


@pytest.mark.parametrize("masked", [False, True])
def test_one_matrix_is_three_side_by_side(masked) -> None:
    """Query, key and value apart, as some authors write it, give the same to the last bit."""
    joined = Attention(16, 4)
    parts = joined.qkv.weight.chunk(3), joined.qkv.bias.chunk(3)
    x = seeded(2, 5, 16)
    mask = torch.tensor([[True, True, False, True, True]]) if masked else None
    q, k, v = (
        nn.functional.linear(x, weight, bias).view(2, 5, 4, 4).transpose(1, 2)
        for weight, bias in zip(*parts, strict=True)
    )
    mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert torch.equal(joined(x, mask), joined.proj(mixed.transpose(1, 2).flatten(2)))


def test_a_gated_layer_is_timms() -> None:
    from timm.layers.mlp import SwiGLU

    other = SwiGLU(12, 20, norm_layer=None)
    ours = SwiGlu(12, 20)
    ours.load_state_dict(other.state_dict())
    x = seeded(3, 12)
    assert torch.equal(ours(x), other(x))


def test_a_head_may_be_wider_and_a_rotation_turns_query_and_key() -> None:
    attention = Attention(12, 3, head_dim=8)
    assert attention.qkv.weight.shape == (72, 12)
    seen = []
    x = seeded(1, 5, 12)
    plain = attention(x)
    turned = attention(x, rotate=lambda t: seen.append(t.shape) or t.flip(2))
    assert seen == [(1, 3, 5, 8)] * 2
    assert not torch.equal(plain, turned)


def test_blocks_of_another_width_within() -> None:
    blocks = transformer(8, 2, 2, eps=1e-6, mlp_ratio=2.5, layer_scale=True)
    assert [block.mlp.fc1.out_features for block in blocks] == [20, 20]
    gated = transformer(8, 1, 2, eps=1e-6, mlp=lambda: SwiGlu(8, 4))
    assert set(gated.state_dict()) >= {"0.mlp.fc1_g.weight", "0.mlp.fc2.bias"}


def test_codes_are_the_formula_in_each_order() -> None:
    places = torch.tensor([0.0, 3.0], dtype=torch.float64)
    rates = 100.0 ** -(torch.arange(4, dtype=torch.float64) / 4)
    sine, cosine = (3 * rates).sin(), (3 * rates).cos()
    torch.testing.assert_close(sincos(8, places, base=100)[1], torch.cat([sine, cosine]))
    swapped = sincos(8, places, base=100, order="cos sin")
    torch.testing.assert_close(swapped[1], torch.cat([cosine, sine]))
    mixed = sincos(8, places, base=100, order="interleaved")[1]
    torch.testing.assert_close(mixed[::2], sine)
    torch.testing.assert_close(mixed[1::2], cosine)


@pytest.mark.parametrize("first", ["row", "column"])
def test_a_code_of_two_axes_puts_one_first(first) -> None:
    rows, cols = torch.arange(2.0), torch.arange(3.0)
    code = sincos_2d(8, rows, cols, first=first)
    assert code.shape == (2, 3, 8)
    place = {"row": 1.0, "column": 2.0}[first]
    torch.testing.assert_close(code[1, 2, :4], sincos(4, torch.tensor(place)))


def test_positions_are_resampled_around_the_first_ones() -> None:
    table = seeded(1, 17, 6)
    assert resample_positions(table, 4, 4) is table
    other = resample_positions(table, 6, 3, align_corners=True)
    assert other.shape == (1, 19, 6)
    torch.testing.assert_close(other[:, 0], table[:, 0])
    torch.testing.assert_close(other[:, [1, 3, -3, -1]], table[:, [1, 4, -4, -1]])
