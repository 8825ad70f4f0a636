"""Checkpoints laid out as the authors publish them, their numbers made by the recipe.

An adapter may say how its published files differ from the network's own state dict:

``published(entries, model) -> entries``
    The network's own entries under their published keys (and shapes, where the filter reshapes).
    Without it the two are the same.
``left_out(model) -> entries``
    What a published file holds beside the encoder: decoders, text towers, stored tables.
``WRAPPER``
    The top-level key under which the file keeps its state dict, such as ``"model"``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rs_embed.core.choice import resolve
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelChoice, ModelSpec
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.runtime import attribute
from rs_embed.parity import recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

    from rs_embed.parity.case import Case

Entry: TypeAlias = tuple[str, tuple[int, ...], str]
"""(key, shape, name of the dtype)."""


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
            raise ModelError("a fixture's checkpoint needs model=, the Model of its adapter")
        entries = case_entries(what, model)
    else:
        spec, variant = what
        model = unwrap_or_raise(resolve(spec, ModelChoice(spec.id, variant)))
        entries = published_entries(model)
    state = recipe_state(entries)
    wrapper = getattr(adapter(model.spec), "WRAPPER", None)
    place = Path(path)
    torch.save({wrapper: state} if wrapper else state, place)
    return place


def adapter(spec: ModelSpec) -> ModuleType:
    """The module of a model's parity adapter. ModelError where it has none."""
    if spec.parity is None:
        raise ModelError(f"{spec.id} has no parity adapter: its spec names none in parity=")
    return importlib.import_module(spec.parity.partition(":")[0])


def published_entries(model: Model) -> list[Entry]:
    """What the authors' file of a model holds: every key, shape and dtype."""
    module = adapter(model.spec)
    network = _on_meta(model)
    own = [
        (key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for key, tensor in network.state_dict().items()
    ]
    rename = getattr(module, "published", None)
    return _once([*(rename(own, model) if rename else own), *_left_out(module, model)])


def case_entries(case: Case, model: Model) -> list[Entry]:
    """The same for a fixture: its own key list, what it says is ignored, what is left out."""
    checkpoint = case.data.get("checkpoint")
    ignored = checkpoint.get("ignored", []) if isinstance(checkpoint, dict) else []
    listed = [
        (key, tuple(shape), dtype)
        for key, shape, dtype in [*case.data.get("weights", []), *ignored]
    ]
    return _once([*listed, *_left_out(adapter(model.spec), model)])


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
    clean = attribute(spec.checkpoint_filter) if spec.checkpoint_filter else None
    own = clean(state, model) if clean else state
    return unwrap_or_raise(
        fill(_on_meta(model), own, allowed_key_mismatches=spec.allowed_key_mismatches)
    )


def _on_meta(model: Model) -> nn.Module:
    from rs_embed.embedders.weights import build_on_meta

    if model.spec.build is None:
        raise ModelError(f"{model.id} has no network: its spec names no build")
    build = attribute(model.spec.build)
    network: nn.Module = build_on_meta(lambda: build(model))
    return network


def _left_out(module: ModuleType, model: Model) -> list[Entry]:
    find: Any = getattr(module, "left_out", None)
    return list(find(model)) if find else []


def _once(entries: Iterable[Entry]) -> list[Entry]:
    return list({entry[0]: entry for entry in reversed(list(entries))}.values())[::-1]


def _value(key: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "float32":
        return recipe.weight(key, shape)
    # Batch norms count their batches; nothing reads the number.
    if dtype == "int64" and shape == ():
        return np.zeros(shape, dtype=np.int64)
    raise ModelError(f"the recipe has no value for {key}: {dtype} {shape}")
