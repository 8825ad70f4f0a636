"""Networks in memory: loaded once, kept, and run on a batch."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core import registry
from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.core.result import Outcome, caused
from rs_embed.core.tokens import Tokens


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network ready to run, and where its numbers came from."""

    model: Model
    network: Any
    device: str
    provenance: Mapping[str, Any] = field(default_factory=dict)


_CACHE: dict[tuple[Any, ...], Loaded] = {}
_LOCKS: dict[tuple[Any, ...], threading.Lock] = {}
_GUARD = threading.Lock()


def load(model: Model, device: str = "auto") -> Outcome[Loaded]:
    """The network of a model on a device, from memory where it is there already.

    Threads that ask for one network at once share one load. Fails with ModelError for a device
    that is not there, a missing extra, or weights that cannot be had.
    """
    return _device(model, device).bind(lambda place: _cached(model, place))


def unload_models() -> None:
    """Let go of every network in memory."""
    with _GUARD:
        for loaded in _CACHE.values():
            registry.note_unloaded(loaded.model.id)
        _CACHE.clear()
        _LOCKS.clear()


def prepare(model: Model, windows: Windows) -> dict[str, np.ndarray]:
    """What the network takes for a batch of windows: the family's own pure ``prepare``."""
    arrays: dict[str, np.ndarray] = attribute(model.spec.prepare)(windows, model)
    return arrays


def encode(loaded: Loaded, arrays: Mapping[str, np.ndarray], model: Model | None = None) -> Tokens:
    """The tokens of a batch: the family's ``encode``, without gradients."""
    chosen = model or loaded.model
    function = attribute(chosen.spec.encode)
    if not chosen.spec.device:
        tokens: Tokens = function(loaded.network, arrays, chosen)
        return tokens
    import torch

    with torch.inference_mode():
        tokens = function(loaded.network, arrays, chosen)
    return tokens


def attribute(name: str) -> Callable[..., Any]:
    """The function that ``"package.module:function"`` names."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def _cached(model: Model, device: str) -> Outcome[Loaded]:
    key = (*model.network_key, device)
    with _GUARD:
        found = _CACHE.get(key)
        lock = _LOCKS.setdefault(key, threading.Lock())
    if found is not None:
        return Success(found)
    with lock:
        with _GUARD:
            found = _CACHE.get(key)
        if found is not None:
            return Success(found)
        outcome = _build(model, device)
        if isinstance(outcome, Success):
            with _GUARD:
                _CACHE[key] = outcome.unwrap()
            registry.note_loaded(model.id)
        return outcome


def _build(model: Model, device: str) -> Outcome[Loaded]:
    spec = model.spec
    if spec.build is None:
        return Success(Loaded(model, None, device))
    build = attribute(spec.build)
    if not spec.device:
        try:
            return Success(Loaded(model, build(model), device, _local(model)))
        except RsEmbedError as error:
            return Failure(error)
    from rs_embed.embedders import weights

    record = model.variant.weights
    if record is None and model.weights is None:
        network = build(model).eval().to(device)
        return Success(Loaded(model, network, device, {"weights": "none"}))
    clean = attribute(spec.checkpoint_filter) if spec.checkpoint_filter else None
    return weights.locate(record, local=model.weights).bind(
        lambda path: weights.read_state(path).bind(
            lambda state: weights.fill(
                weights.build_on_meta(lambda: build(model)),
                clean(state, model) if clean else state,
                tolerated=spec.tolerated,
            ).map(
                lambda network: Loaded(
                    model,
                    network.requires_grad_(False).to(device),
                    device,
                    weights.provenance(record, path) if model.weights is None else _local(model),
                )
            )
        )
    )


def _local(model: Model) -> dict[str, Any]:
    """A user's path stays out of the description; that there was one is said."""
    return {"weights": "none" if model.weights is None else "local file"}


def _device(model: Model, device: str) -> Outcome[str]:
    if device not in ("auto", "cpu", "cuda") and not device.startswith("cuda:"):
        return Failure(ModelError(f"device must be 'auto', 'cpu' or 'cuda', not {device!r}"))
    if not model.spec.device:
        return Success("cpu")
    try:
        import torch
    except ImportError as error:
        return Failure(
            caused(ModelError(f'{model.id} runs on torch; pip install "rs-embed[torch]"'), by=error)
        )
    if device == "auto":
        return Success("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        return Failure(
            ModelError(
                f"device {device!r} was asked for, but torch {torch.__version__} sees no CUDA "
                "device; use device='cpu' or 'auto'"
            )
        )
    return Success(device)
