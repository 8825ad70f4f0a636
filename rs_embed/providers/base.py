"""The table of sources there are, by name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import ProviderError, RsEmbedError, SpecError
from rs_embed.core.result import Outcome
from rs_embed.plugins.entry_points import load_entry_points
from rs_embed.plugins.notices import warn_once
from rs_embed.providers.source import Provider, list_scenes
from rs_embed.providers.validated import ValidatedProvider, is_source

__all__ = ["ENTRY_POINTS", "Factory", "Provider", "list_scenes", "open_provider", "register"]

ENTRY_POINTS = "rs_embed.providers"


Factory = Callable[[Any], Provider]
"""``factory(source) -> Provider``; ``source`` is what the caller passed as ``source=``."""

_FACTORIES: dict[str, Factory] = {}
_PLUGGED = False
_PLUGGING = threading.RLock()


def _memory(source: Any) -> Provider:
    from rs_embed.providers.memory import MemoryProvider

    _no_source("memory", source)
    return MemoryProvider()


def _local(source: Any) -> Provider:
    from rs_embed.providers.local import local_provider

    return local_provider(source)


def _sample(source: Any) -> Provider:
    from rs_embed.providers.local import sample_provider

    _no_source("sample", source)
    return sample_provider()


def _gee(source: Any) -> Provider:
    from rs_embed.providers.gee import EARTH_ENGINE

    _no_source("gee", source)
    return EARTH_ENGINE


def _no_source(name: str, source: Any) -> None:
    if source is not None:
        raise SpecError(f"backend {name!r} takes no source=; use backend='local' for data you have")


def _stac(source: Any) -> Provider:
    raise ProviderError(
        "backend 'stac' is planned, not built; load the items with odc.stac.load and use "
        "ds.rsembed.embed(...)"
    )


_BUILT_IN: dict[str, Factory] = {
    "gee": _gee,
    "local": _local,
    "sample": _sample,
    "memory": _memory,
    "stac": _stac,
}


def register(name: str, provider: Provider | Factory) -> Outcome[str]:
    """Add a source under a name. Fails with ProviderError where the name is taken or not a name."""
    if not isinstance(name, str) or not name.isidentifier() or name != name.lower():
        return Failure(ProviderError(f"a backend name is a lower-case word, not {name!r}"))
    if name in _BUILT_IN or name in _FACTORIES or name == "auto":
        return Failure(ProviderError(f"the backend name {name!r} is taken; choose another"))
    if is_source(provider):
        made: Any = provider
        _FACTORIES[name] = lambda source: _itself(name, made, source)
    elif callable(provider):
        _FACTORIES[name] = provider
    else:
        return Failure(
            ProviderError(
                f"register_provider takes an object with name, workers, describe and fetch, or a "
                f"function that makes one, not {type(provider).__name__}"
            )
        )
    return Success(name)


def _itself(name: str, provider: Provider, source: Any) -> Provider:
    _no_source(name, source)
    return provider


def open_provider(name: str, source: Any = None) -> Outcome[Provider]:
    """The source of a name, ready to plan with. Fails with ProviderError or SpecError."""
    if name in _BUILT_IN:
        return _opened(name, _BUILT_IN[name], source)
    if name not in _FACTORIES:
        _load_plugged()
    if name not in _FACTORIES:
        names = ", ".join(sorted({*_BUILT_IN, *_FACTORIES, "auto"}))
        return Failure(ProviderError(f"there is no backend {name!r}; choose from {names}"))
    return _opened(name, _FACTORIES[name], source).bind(lambda made: _guarded(name, made))


def _opened(name: str, factory: Factory, source: Any) -> Outcome[Provider]:
    try:
        return Success(factory(source))
    except RsEmbedError as error:
        return Failure(error)


def _guarded(name: str, made: Any) -> Outcome[Provider]:
    if is_source(made):
        return Success(ValidatedProvider(made, name, made.workers))
    return Failure(
        ProviderError(
            f"backend {name!r} made a {type(made).__name__}, which is no source: it needs name, "
            "workers, describe and fetch"
        )
    )


def _load_plugged() -> None:
    """Take in the sources that installed packages offer, once; one that fails is told."""
    global _PLUGGED
    with _PLUGGING:
        if _PLUGGED:
            return
        _PLUGGED = True
        for name, problem in load_entry_points(ENTRY_POINTS, "source", ProviderError, register):
            warn_once((ENTRY_POINTS, name), problem)
