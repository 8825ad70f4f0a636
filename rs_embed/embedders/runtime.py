"""Networks in memory: loaded once, kept, and run on a batch."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core import registry
from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.model import Model, ModelSpec, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows
from rs_embed.core.result import Outcome, caused
from rs_embed.core.tokens import Tokens


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network ready to run, and where its numbers came from."""

    model: Model
    network: Any
    device: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self, windows: Windows) -> dict[str, np.ndarray]:
        """What the network takes for a batch of windows."""
        return prepare(self.model, windows)

    def encode(self, arrays: Mapping[str, np.ndarray]) -> Tokens:
        """The tokens of what `prepare` gave, without gradients."""
        return encode(self, arrays)


_CACHE: dict[tuple[Any, ...], LoadedModel] = {}
_LOCKS: dict[tuple[Any, ...], threading.Lock] = {}
_GUARD = threading.Lock()


def load(model: Model, device: str = "auto") -> Outcome[LoadedModel]:
    """The network of a model on a device, from memory where it is there already.

    Threads that ask for one network at once share one load. Fails with ModelError for a device
    that is not there, a missing extra, or weights that cannot be had.
    """
    return (
        _device(model, device)
        .bind(lambda place: _cached(model, place))
        .map(lambda found: replace(found, model=model))
    )


def unload_models() -> None:
    """Let go of every network in memory."""
    with _GUARD:
        for loaded in _CACHE.values():
            registry.note_unloaded(loaded.model.id)
        _CACHE.clear()
        _LOCKS.clear()


def check_dates(model: Model, intervals: Sequence[Interval]) -> Outcome[None]:
    """Failure(ModelError) where the family refuses the model's options with these dates."""
    if model.spec.check is None:
        return Success(None)
    return _functions(model.spec).bind(lambda _: _checked(model, tuple(intervals)))


def _checked(model: Model, intervals: tuple[Interval, ...]) -> Outcome[None]:
    try:
        attribute(str(model.spec.check))(model, intervals)
    except RsEmbedError as error:
        return Failure(error)
    return Success(None)


def prepare(model: Model, windows: Windows) -> dict[str, np.ndarray]:
    """What the network takes for a batch of windows: the family's own pure ``prepare``."""
    arrays: dict[str, np.ndarray] = attribute(model.spec.prepare)(windows, model)
    return arrays


def encode(
    loaded: LoadedModel, arrays: Mapping[str, np.ndarray], model: Model | None = None
) -> Tokens:
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


def _cached(model: Model, device: str) -> Outcome[LoadedModel]:
    key = (*model.network_key, _stamp(model.weights), device)
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


def _stamp(weights: str | None) -> tuple[int, int] | None:
    """Tells a local file from another that took its place."""
    if weights is None or not Path(weights).is_file():
        return None
    stat = Path(weights).stat()
    return stat.st_size, stat.st_mtime_ns


def _build(model: Model, device: str) -> Outcome[LoadedModel]:
    return _functions(model.spec).bind(lambda _: _built(model, device))


def _functions(spec: ModelSpec) -> Outcome[None]:
    """Failure(ModelError) where a function that the spec names is not there."""
    for name in spec.functions:
        try:
            attribute(name)
        except (ImportError, AttributeError) as error:
            text = f"{spec.id} names the function {name!r}, which cannot be had: {error}"
            return Failure(caused(ModelError(text), by=error))
    return Success(None)


def _built(model: Model, device: str) -> Outcome[LoadedModel]:
    spec = model.spec
    if spec.build is None:
        return Success(LoadedModel(model, None, device, _local(model)))
    build = attribute(spec.build)
    if not spec.device:
        try:
            return Success(LoadedModel(model, build(model), device, _local(model)))
        except RsEmbedError as error:
            return Failure(error)
    if model.variant.weights is None and model.weights is None:
        return Success(
            LoadedModel(model, build(model).eval().to(device), device, {"weights": "none"})
        )
    return _filled(model, build, device)


def _filled(model: Model, build: Callable[[Model], Any], device: str) -> Outcome[LoadedModel]:
    """The network built without storage and given the tensors of its weights file."""
    from rs_embed.embedders import store, weights

    record = model.variant.weights or WeightRecord("")
    spec = model.spec
    clean = attribute(spec.checkpoint_filter) if spec.checkpoint_filter else _unchanged
    if model.weights is None:
        store.note_licence(record)

    def loaded(path: Path) -> Outcome[LoadedModel]:
        described = store.provenance(record, path) if model.weights is None else _local(model)
        return (
            weights.read_state(path)
            .bind(lambda state: _cleaned(clean, state, model))
            .bind(
                lambda state: weights.fill(
                    weights.build_on_meta(lambda: build(model)),
                    state,
                    allowed_key_mismatches=spec.allowed_key_mismatches,
                )
            )
            .map(
                lambda network: LoadedModel(
                    model, network.requires_grad_(False).to(device), device, described
                )
            )
        )

    name = f"{spec.id}:{model.variant.name}"
    return store.locate(record, local=model.weights, model=name).bind(loaded)


def _cleaned(clean: Callable[..., Any], state: Any, model: Model) -> Outcome[Any]:
    """The state as the family's filter leaves it, or its own word on what does not fit."""
    try:
        return Success(clean(state, model))
    except RsEmbedError as error:
        return Failure(error)


def _unchanged(state: Any, model: Model) -> Any:
    return state


def _local(model: Model) -> dict[str, Any]:
    """A user's path stays out of the description; that there was one is said."""
    return {"weights": "none" if model.weights is None else "local file"}


def _device(model: Model, device: str) -> Outcome[str]:
    if not isinstance(device, str) or not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        return Failure(ModelError(f"device must be 'auto', 'cpu' or 'cuda', not {device!r}"))
    if not model.spec.device:
        if device.startswith("cuda"):
            return Failure(
                ModelError(f"{model.id} runs on the CPU alone; use device='cpu' or 'auto'")
            )
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
