"""The models that this process has loaded: the one piece of state in the core."""

from __future__ import annotations

import threading

_LOADED: dict[str, int] = {}
_LOCK = threading.Lock()


def list_models() -> list[str]:
    """Ids of the models that are loaded now, sorted; empty in a fresh process.

    What can be loaded is in `rs_embed.embedders.catalog.MODEL_SPECS`.
    """
    with _LOCK:
        return sorted(_LOADED)


def note_loaded(model_id: str) -> None:
    """Record that a network of this model is in memory."""
    with _LOCK:
        _LOADED[model_id] = _LOADED.get(model_id, 0) + 1


def note_unloaded(model_id: str) -> None:
    """Record that a network of this model was let go."""
    with _LOCK:
        left = _LOADED.get(model_id, 0) - 1
        if left > 0:
            _LOADED[model_id] = left
        else:
            _LOADED.pop(model_id, None)
