"""Which source serves a model: named, or the first configured one in a fixed order."""

from __future__ import annotations

from typing import Any

from returns.result import Failure

from rs_embed.core.errors import ProviderError
from rs_embed.core.model import Model
from rs_embed.core.result import Outcome
from rs_embed.providers.base import Provider, open_provider


def choose_provider(model: Model, backend: str, source: Any = None) -> Outcome[Provider]:
    """The source for a model, decided before anything is fetched; its own ``backend`` holds."""
    return choose_backend(model.backend or backend, source)


def choose_backend(name: str, source: Any = None) -> Outcome[Provider]:
    """The source of a name; "auto" takes "local" where a ``source`` is given, else Earth Engine."""
    if not isinstance(name, str):
        return Failure(ProviderError(f"backend must be a name, not {name!r}"))
    if name == "auto":
        name = "local" if source is not None else "gee"
    return open_provider(name, source)
