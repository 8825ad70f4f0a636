"""Published weights as tensors, and tensors as a network: read safely, loaded strictly.

A network is built on torch's meta device, so that building it allocates nothing, and the tensors
of the file become its parameters. What a family's ``build`` has to keep to: see `build_on_meta`.
"""

from __future__ import annotations

import argparse
import re
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, TypeVar

from returns.result import Failure, Success

from rs_embed.core.errors import ModelError
from rs_embed.core.result import Outcome, caused
from rs_embed.embedders.store import installed, locate, note_licence, provenance

__all__ = ["build_on_meta", "fill", "locate", "note_licence", "provenance", "read_state"]

if TYPE_CHECKING:
    from torch import Tensor, nn

    State = dict[str, Tensor]

Network = TypeVar("Network", bound="nn.Module")

MAX_DEPTH = 16
"""Dicts inside dicts that a checkpoint may have; one that refers to itself has no end."""

_READING = threading.Lock()

NAMED = 6
"""How many keys an error names before it counts the rest."""


def read_state(path: Path, *, wrapper: str | None = None, mapped: bool = False) -> Outcome[State]:
    """The tensors of a file by key, on the CPU.

    Code in a pickle is never run. Nested dicts are flattened with dots, so what a training run
    saved under "model" has keys that start with ``model.``; a family's ``checkpoint_filter`` picks
    those. What is neither a dict nor a tensor (epochs, arguments) is left out; tensors never are,
    so that `fill` names each one that nobody asked for.

    Parameters
    ----------
    path : Path
        ``.safetensors``, or whatever ``torch.save`` wrote.
    wrapper : str, optional
        Only what stands under this top-level key, such as "model" or "state_dict".
    mapped : bool
        Map the file instead of reading it: less work, for a file that nobody writes to while the
        network is in use, as those of the hub's cache. One rewritten in place would change the
        network, one cut short would end the process.

    Returns
    -------
    Outcome of dict
        Fails with ModelError: the file is damaged, wants code to be run, has no such ``wrapper``,
        holds no tensors, or refers to itself.
    """
    if path.suffix == ".safetensors":
        raw = installed("torch", "safetensors").bind(lambda _: _read_safetensors(path, mapped))
    else:
        raw = installed("torch").bind(lambda _: _read_pickle(path, mapped))
    return raw.bind(lambda tree: _unwrapped(tree, wrapper, path)).bind(
        lambda tree: _flat(tree, path)
    )


def build_on_meta(build: Callable[[], Network]) -> Network:
    """The network that ``build`` makes, its parameters without storage until `fill`.

    Under ``build`` every tensor made is a shape without values. What the file holds needs nothing
    more. What it does not hold (rotary tables, relative positions, non-persistent buffers) has to
    be computed in ``forward``, or made inside ``with torch.device("cpu"):``, or come from numpy;
    ``.item()`` and ``float()`` of a tensor made in ``build`` do not work. `fill` names what was
    left without values.
    """
    import torch

    with torch.device("meta"):
        return build()


def fill(
    network: Network,
    state: State,
    *,
    allowed_key_mismatches: Iterable[tuple[str, str]] = (),
    names: Callable[[str], list[str]] = lambda key: [key],
) -> Outcome[Network]:
    """The network with the tensors of ``state`` as its own, in evaluation mode.

    Floating-point tensors take the dtype that the network declares: half-precision files become
    float32. Nothing is copied that need not be.

    Parameters
    ----------
    network : torch.nn.Module
        From `build_on_meta`, or built anywhere; it is changed and returned.
    state : dict
        Keys as in ``network.state_dict()``.
    allowed_key_mismatches : iterable of (str, str)
        (shell pattern of a key that may be missing or left over, reason).
    names : callable, optional
        What the file calls the parts of a key, to name what is missing or left over.

    Returns
    -------
    Outcome of Module
        Fails with ModelError that names the keys: missing, left over, of another shape or kind, or
        without values afterwards.
    """
    patterns = [pattern for pattern, _ in allowed_key_mismatches]
    slots: State = dict(network.state_dict())
    missing: list[str] = []
    left = state.keys() - slots.keys()
    for key in _untolerated(slots.keys() - state.keys(), patterns):
        parts = names(key)
        # Of what is joined of several, those that are there are neither missing nor left over.
        missing += [name for name in parts if name not in left] or [key]
        left = left - set(parts)
    problems = [
        _listed("missing from the file", missing),
        _listed("in the file only", [n for k in _untolerated(left, patterns) for n in names(k)]),
        _listed("of another shape or kind", _misfits(slots, state)),
    ]
    found = "; ".join(problem for problem in problems if problem)
    if found:
        return Failure(ModelError(f"the weights do not fit {type(network).__name__}: {found}"))
    fitting = {key: _as_declared(state[key], slot) for key, slot in slots.items() if key in state}
    network.load_state_dict(fitting, strict=False, assign=True)
    empty = _listed("without values", _on_meta(network))
    if empty:
        return Failure(ModelError(f"{type(network).__name__} is not complete: {empty}"))
    network.eval()
    return Success(network)


def _read_safetensors(path: Path, mapped: bool) -> Outcome[Mapping[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        return Success(load_file(path) if mapped else load(path.read_bytes()))
    except (SafetensorError, OSError, ValueError) as error:
        return Failure(caused(ModelError(_damaged(path, error)), by=error))


def _read_pickle(path: Path, mapped: bool) -> Outcome[Any]:
    import torch

    # Older files are one plain pickle, which cannot be mapped.
    try:
        with _namespace_allowed():
            mmap = mapped and zipfile.is_zipfile(path)
            return Success(torch.load(path, map_location="cpu", weights_only=True, mmap=mmap))
    except Exception as error:  # a damaged pickle can raise anything
        return Failure(caused(ModelError(_damaged(path, error)), by=error))


@contextmanager
def _namespace_allowed() -> Iterator[None]:
    """``argparse.Namespace``, the one class beyond torch's own list, allowed for one reading.

    Training scripts save their arguments beside the weights. The list is the whole process's:
    one reading at a time, and what the caller has put there stays.
    """
    from torch.serialization import get_safe_globals, safe_globals

    with _READING:
        if argparse.Namespace in get_safe_globals():
            yield
        else:
            with safe_globals([argparse.Namespace]):
                yield


def _damaged(path: Path, error: BaseException) -> str:
    # torch wraps the reason in advice to trust the file, which is the opposite of what to do.
    told = error.__context__ if isinstance(error, UnpicklingError) else None
    reason = str(told or error).strip() or type(error).__name__
    if wants := re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", reason):
        return (
            f"{path.name} was refused: reading it would run {wants.group(1) or wants.group(2)}, "
            "which plain weights do not need. Save the state dict alone, best as safetensors"
        )
    return f"{path.name} cannot be read as weights ({reason.splitlines()[0][:200]}); fetch it again"


def _unwrapped(tree: Any, wrapper: str | None, path: Path) -> Outcome[Mapping[str, Any]]:
    if not isinstance(tree, Mapping):
        return Failure(ModelError(f"{path.name} holds a {type(tree).__name__}, not a state dict"))
    if wrapper is None:
        return Success(tree)
    inner = tree.get(wrapper)
    if isinstance(inner, Mapping):
        return Success(inner)
    keys = _some(map(str, tree))
    return Failure(ModelError(f"{path.name} has no state dict under {wrapper!r}; it has {keys}"))


def _flat(tree: Mapping[str, Any], path: Path) -> Outcome[State]:
    from torch import Tensor

    found = list(_leaves(tree, ""))
    deep = next((key for key, leaf in found if isinstance(leaf, Mapping)), None)
    if deep is not None:
        text = f"{path.name} holds dicts in dicts without end, at {deep[:80]}; save the state dict"
        return Failure(ModelError(text))
    state = {key: leaf for key, leaf in found if isinstance(leaf, Tensor)}
    if state:
        return Success(state)
    held = f"only {_some(map(str, tree))}" if tree else "nothing"
    return Failure(ModelError(f"{path.name} holds no tensors: {held}"))


def _leaves(
    tree: Mapping[str, Any], prefix: str, above: tuple[int, ...] = ()
) -> Iterable[tuple[str, Any]]:
    """Key and value of every leaf; of a dict inside itself or too deep, the dict."""
    above = (*above, id(tree))
    for key, value in tree.items():
        endless = id(value) in above or len(above) > MAX_DEPTH
        if isinstance(value, Mapping) and not endless:
            yield from _leaves(value, f"{prefix}{key}.", above)
        else:
            yield f"{prefix}{key}", value


def _untolerated(keys: Iterable[str], patterns: list[str]) -> list[str]:
    return sorted(k for k in keys if not any(fnmatchcase(k, pattern) for pattern in patterns))


def _misfits(slots: State, state: State) -> list[str]:
    both = [(key, slots[key], state[key]) for key in slots if key in state]
    shapes = [
        f"{key} {tuple(given.shape)} where {tuple(slot.shape)} is wanted"
        for key, slot, given in both
        if slot.shape != given.shape
    ]
    kinds = [
        f"{key} {given.dtype} where {slot.dtype} is wanted"
        for key, slot, given in both
        if slot.shape == given.shape
        and slot.dtype != given.dtype
        and not (slot.is_floating_point() and given.is_floating_point())
    ]
    return shapes + kinds


def _as_declared(given: Tensor, slot: Tensor) -> Tensor:
    return given.to(slot.dtype)


def _on_meta(network: nn.Module) -> list[str]:
    named = [*network.named_parameters(), *network.named_buffers()]
    return [name for name, tensor in named if tensor.is_meta]


def _listed(what: str, names: list[str]) -> str:
    return f"{len(names)} {what}: {_some(names)}" if names else ""


def _some(names: Iterable[str]) -> str:
    every = list(names)
    rest = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
