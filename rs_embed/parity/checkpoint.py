"""Checkpoints laid out as the authors publish them, their numbers made by the recipe.

The family's ``KEYS`` (`rs_embed.embedders.keys`) say how a published file differs from the
network's own state dict; here they are read towards the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelChoice, ModelSpec
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.keys import Entry
from rs_embed.embedders.runtime import function, keys, own_state
from rs_embed.parity import recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rs_embed.parity.case import Case


def write_checkpoint(
    what: Case | tuple[ModelSpec, str | None], path: str | Path, *, model: Model | None = None
) -> Path:
    """Write a torch checkpoint with recipe weights in the authors' own layout.

    Parameters
    ----------
    what : Case or (ModelSpec, variant)
        A fixture (``model`` then says how its adapter reads it), or a variant of the catalogue
        (None for the default one); ``ModelChoice(id, variant, weights=path)`` then loads it.
    path : path
    model : Model, optional
        Beside a variant: the model of another modality or other options, where its file differs.

    Returns
    -------
    Path

    Raises
    ------
    ModelError
    """
    import torch

    if not isinstance(what, tuple):
        if model is None:
            raise ModelError("a fixture's checkpoint needs model=, the Model that it is about")
        entries = case_entries(what, model)
    else:
        spec, variant = what
        model = model or unwrap_or_raise(resolve(spec, ModelChoice(spec.id, variant)))
        entries = published_entries(model)
    names, place = keys(model), Path(path)
    tree: dict[str, Any] = dict(recipe_state(entries))
    wrapper = names.wrapper
    if wrapper:
        tree = {wrapper: tree}
    if names.arguments:
        tree["args"] = argparse.Namespace(model=model.id)
    torch.save(tree, place)
    return place


def published_entries(model: Model) -> list[Entry]:
    """What the authors' file of a model holds: every key and shape, and some that we ignore.

    One file serves every modality, also where each builds a network of its own.
    """
    spec = model.spec
    others = [
        replace(model, modality=name, inputs=inputs)
        for name, inputs in spec.modalities.items()
        if spec.modality_builds and name != model.modality
    ]
    found = [entry for one in (model, *others) for entry in read_entries(one)]
    return _once([*found, *_beside(model)])


def read_entries(model: Model) -> list[Entry]:
    """The part of the file that the model's own network reads."""
    own = [
        (key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in _on_meta(model).state_dict().items()
    ]
    return keys(model).publish(own)


def case_entries(case: Case, model: Model) -> list[Entry]:
    """The same for a fixture: its own key list, what it says is ignored, what lies beside."""
    checkpoint = case.data.get("checkpoint")
    ignored = checkpoint.get("ignored", []) if isinstance(checkpoint, dict) else []
    listed = [
        (key, tuple(shape), dtype)
        for key, shape, dtype in [*case.data.get("weights", []), *ignored]
    ]
    return _once([*listed, *_beside(model)])


def case_state(case: Case, model: Model) -> dict[str, Tensor]:
    """The tensors of a fixture's checkpoint as they come out of the file."""
    real = case.real_weights()
    if real is None:
        return recipe_state(case_entries(case, model))
    from rs_embed.embedders.weights import read_state

    return unwrap_or_raise(read_state(real))


def recipe_state(entries: Iterable[Entry]) -> dict[str, Tensor]:
    """A tensor for each entry, by the recipe."""
    import torch

    return {key: torch.from_numpy(_value(key, shape, dtype)) for key, shape, dtype in entries}


def filled(model: Model, state: dict[str, Tensor]) -> nn.Module:
    """The model's network with a published state, through its checkpoint filter, strictly."""
    from rs_embed.embedders.weights import fill

    spec = model.spec
    return unwrap_or_raise(
        fill(
            _on_meta(model),
            own_state(model, state),
            allowed_key_mismatches=spec.allowed_key_mismatches,
            names=keys(model).published_names,
        )
    )


def _on_meta(model: Model) -> nn.Module:
    from rs_embed.embedders.weights import build_on_meta

    build = function(model.spec, "build")
    if build is None or not model.spec.device:
        raise ModelError(f"{model.id} has no network of torch's, so no checkpoint")
    network: nn.Module = build_on_meta(lambda: build(model))
    return network


def _beside(model: Model) -> list[Entry]:
    """Entries that published files hold and the encoder does not read."""
    return [(key, (1,), "float32") for key in keys(model).beside]


def _once(entries: Iterable[Entry]) -> list[Entry]:
    return list({entry[0]: entry for entry in reversed(list(entries))}.values())[::-1]


def _value(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "float32":
        return recipe.weight(key, shape)
    # Batch norms count their batches; nothing reads the number.
    if dtype == "int64" and shape == ():
        return np.zeros(shape, dtype=np.int64)
    raise ModelError(f"the recipe has no value for {key}: {dtype} {shape}")
