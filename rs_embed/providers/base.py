"""What every source of pixels does, and the table of those there are."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from returns.result import Failure, Success

from rs_embed.core.errors import ProviderError
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan, Source
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec

ENTRY_POINTS = "rs_embed.providers"


@runtime_checkable
class Provider(Protocol):
    """A source of pixels.

    ``describe`` says, without fetching a pixel, what the source gives for one input of a model;
    it fails with ModelError or SpecError where it cannot serve it. ``fetch`` turns a plan into a
    patch on exactly the plan's grid, NaN where a pixel is missing; its errors say with
    ``transient`` whether the same fetch may succeed later. ``workers`` is how many fetches may run
    at once.
    """

    name: str
    workers: int

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[Source]:
        """What the source gives for one input."""
        ...

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The pixels of a plan."""
        ...


Factory = Callable[[Any], Provider]
"""``factory(source) -> Provider``; ``source`` is what the caller passed as ``source=``."""

_FACTORIES: dict[str, Factory] = {}
_PLUGGED = False


def _memory(source: Any) -> Provider:
    from rs_embed.providers.memory import MemoryProvider

    return MemoryProvider()


def _local(source: Any) -> Provider:
    from rs_embed.providers.local import local_provider

    return local_provider(source)


def _sample(source: Any) -> Provider:
    from rs_embed.providers.local import sample_provider

    return sample_provider()


def _gee(source: Any) -> Provider:
    raise ProviderError(
        "backend 'gee' is not in this version yet; use backend='sample', backend='local' with "
        "source=, or da.rsembed.embed(...) on an array you have"
    )


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
    if isinstance(provider, Provider):
        _FACTORIES[name] = lambda source: provider
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


def open_provider(name: str, source: Any = None) -> Outcome[Provider]:
    """The source of a name, ready to plan with. Fails with ProviderError or SpecError."""
    factory = _BUILT_IN.get(name) or _FACTORIES.get(name)
    if factory is None:
        _load_plugged()
        factory = _FACTORIES.get(name)
    if factory is None:
        names = ", ".join(sorted({*_BUILT_IN, *_FACTORIES, "auto"}))
        return Failure(ProviderError(f"there is no backend {name!r}; choose from {names}"))
    from rs_embed.core.errors import RsEmbedError

    try:
        return Success(factory(source))
    except RsEmbedError as error:
        return Failure(error)


def _load_plugged() -> None:
    """Take in the sources that installed packages offer, once."""
    global _PLUGGED
    if _PLUGGED:
        return
    _PLUGGED = True
    for entry in entry_points(group=ENTRY_POINTS):
        outcome = register(entry.name, entry.load())
        if isinstance(outcome, Failure):
            raise outcome.failure()
