"""One table of names, read towards our networks and towards the published file."""

from __future__ import annotations

import argparse

import pytest
import torch

from rs_embed.embedders.keys import Keys, Row
from rs_embed.embedders.weights import read_state

KEYS = Keys(
    rows=(
        Row("cls", "cls_token", lead=2),
        Row("proj", "head.weight", turned=True),
        ("layers.{}.attn.out.", "blocks.{}.attn.proj."),
        Row("layers.{}.attn.[q,k,v].{}", "blocks.{}.attn.qkv.{}"),
        ("layers.", "blocks."),
    ),
    ignored=(("decoder.*", "not needed"),),
    beside=("decoder.weight",),
    wrapper="model",
    copies="net.",
    stray=".backbone",
)
FILE = {
    "cls": (4,),
    "proj": (4, 3),
    "layers.0.attn.out.weight": (4, 4),
    **{f"layers.0.attn.{part}.weight": (4, 4) for part in "qkv"},
    "layers.0.norm.bias": (4,),
    "norm.bias": (4,),
}
OURS = {
    "cls_token": (1, 1, 4),
    "head.weight": (3, 4),
    "blocks.0.attn.proj.weight": (4, 4),
    "blocks.0.attn.qkv.weight": (12, 4),
    "blocks.0.norm.bias": (4,),
    "norm.bias": (4,),
}


def tensors(shapes=FILE) -> dict[str, torch.Tensor]:
    return {key: torch.randn(shape) for key, shape in shapes.items()}


def test_a_file_becomes_ours_and_ours_a_file() -> None:
    loaded = KEYS.load(tensors() | {"decoder.0.bias": torch.zeros(2)})
    assert {key: tuple(value.shape) for key, value in loaded.items()} == OURS
    published = KEYS.publish([(key, shape, "float32") for key, shape in OURS.items()])
    assert {key: shape for key, shape, _ in published} == FILE


def test_values_stand_where_they_belong() -> None:
    state = tensors()
    loaded = KEYS.load(state)
    assert torch.equal(loaded["head.weight"], state["proj"].T)
    assert torch.equal(loaded["cls_token"][0, 0], state["cls"])
    parts = [state[f"layers.0.attn.{part}.weight"] for part in "qkv"]
    assert torch.equal(loaded["blocks.0.attn.qkv.weight"], torch.cat(parts))


@pytest.mark.parametrize("where", ["model.", "net.", ""])
def test_wrappers_copies_and_stray_parts_are_looked_through(where) -> None:
    state = {where + key.replace("norm", "norm.backbone"): v for key, v in tensors().items()}
    if where == "model.":
        state["optimizer.state.0"] = torch.zeros(3)
    assert set(KEYS.load(state)) == set(OURS)


def test_a_training_runs_own_file_is_read(tmp_path) -> None:
    torch.save({"model": tensors(), "args": argparse.Namespace(lr=1), "epoch": 3}, tmp_path / "w")
    assert set(KEYS.load(read_state(tmp_path / "w").unwrap())) == set(OURS)


def test_what_is_joined_of_too_few_parts_keeps_its_names() -> None:
    state = tensors()
    del state["layers.0.attn.k.weight"]
    left = set(KEYS.load(state)) - set(OURS)
    assert left == {"layers.0.attn.q.weight", "layers.0.attn.v.weight"}
    assert KEYS.published_names("blocks.0.attn.qkv.weight") == [
        f"layers.0.attn.{part}.weight" for part in "qkv"
    ]


def test_what_no_row_names_is_the_same_on_both_sides() -> None:
    assert set(KEYS.load({"unknown.part": torch.zeros(1)})) == {"unknown.part"}
    assert KEYS.published_names("unknown.part") == ["unknown.part"]
