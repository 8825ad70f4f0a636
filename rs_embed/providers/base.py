"""What every source of pixels does, and the table of those there are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from returns.result import Failure, Result, Success

from rs_embed.core.errors import ProviderError, RsEmbedError, SpecError
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch
from rs_embed.core.plan import FetchPlan, SourceInfo
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec
from rs_embed.plugins.entry_points import load_entry_points
from rs_embed.plugins.notices import warn_once

ENTRY_POINTS = "rs_embed.providers"


@runtime_checkable
class Provider(Protocol):
    """A source of pixels.

    ``describe`` says, without fetching a pixel, what the source gives for one input of a model;
    it fails with ModelError or SpecError where it cannot serve it. ``fetch`` turns a plan into a
    patch on exactly the plan's grid, NaN where a pixel is missing; its errors say with
    ``transient`` whether the same fetch may succeed later. ``workers`` is how many fetches may run
    at once.

    Two methods more are optional: ``check_available() -> Outcome[None]``, asked before weights are
    loaded (see `check_available`), and ``scenes(plans) -> Outcome[list]`` (see `list_scenes`).
    """

    @property
    def name(self) -> str:
        """What ``meta["backend"]`` says."""
        ...

    @property
    def workers(self) -> int:
        """How many fetches may run at once."""
        ...

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What the source gives for one input."""
        ...

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The pixels of a plan."""
        ...


def check_available(provider: Provider) -> Outcome[None]:
    """Whether a source can be asked, from those that can tell before the first fetch."""
    ask = getattr(provider, "check_available", None)
    return Success(None) if ask is None else ask()


def list_scenes(provider: Provider, plans: Sequence[FetchPlan]) -> list[dict[str, Any] | None]:
    """The scenes behind each plan, ``{"ids": [...], "dates": [...]}``; None where not told.

    Where a source that lists scenes fails to, the entry says why: pixels at hand are worth more
    than their provenance.
    """
    ask = getattr(provider, "scenes", None)
    if ask is None:
        return [None] * len(plans)
    found: Outcome[list[dict[str, Any] | None]] = ask(plans)
    if isinstance(found, Failure):
        return [{"ids": None, "dates": None, "error": str(found.failure())} for _ in plans]
    return found.unwrap()


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
    # A class has the names of its methods too, but it makes a source and is none.
    if isinstance(provider, Provider) and not isinstance(provider, type):
        _FACTORIES[name] = lambda source: _itself(name, provider, source)
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


@dataclass(frozen=True)
class ValidatedProvider:
    """A source that others wrote: what it gives is checked before it is used.

    An error of rs_embed that it raises travels as a Failure, as if it had been returned.
    """

    inner: Provider
    name: str
    workers: int

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What the source says, if that is a Source with the input's bands."""
        return _checked_answer(
            lambda: self.inner.describe(item, sensor), self.name, "describe", SourceInfo
        ).bind(lambda source: self._described(source, item))

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The patch, if it holds the plan's bands on the plan's grid."""
        return _checked_answer(lambda: self.inner.fetch(plan), self.name, "fetch", Patch).bind(
            lambda patch: self._fetched(patch, plan)
        )

    def _described(self, source: SourceInfo, item: InputSpec) -> Outcome[SourceInfo]:
        if len(source.bands) == len(source.units) == len(item.bands):
            return Success(source)
        text = (
            f"backend {self.name!r} describes {len(source.bands)} bands and {len(source.units)} "
            f"units for the {len(item.bands)} of {', '.join(item.bands)}; it must name one each"
        )
        return Failure(ProviderError(text))

    def _fetched(self, patch: Patch, plan: FetchPlan) -> Outcome[Patch]:
        wanted = (max(1, len(plan.intervals)), len(plan.bands), *plan.grid.shape)
        data = patch.data
        fits = data.shape == wanted and data.dtype == "float32"
        if fits and patch.bands == plan.bands and patch.grid == plan.grid:
            return Success(patch)
        text = (
            f"backend {self.name!r} gave {data.dtype} {data.shape} of {', '.join(patch.bands)}; "
            f"the plan asks for float32 {wanted} of {', '.join(plan.bands)}, on its own grid"
        )
        return Failure(ProviderError(text))


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


def _guarded(name: str, made: object) -> Outcome[Provider]:
    if isinstance(made, Provider) and not isinstance(made, type):
        return Success(ValidatedProvider(made, name, made.workers))
    return Failure(
        ProviderError(
            f"backend {name!r} made a {type(made).__name__}, which is no source: it needs name, "
            "workers, describe and fetch"
        )
    )


def _checked_answer(ask: Callable[[], Any], name: str, what: str, kind: type) -> Outcome[Any]:
    """What another's source answers, as an Outcome of the kind that it should be."""
    try:
        answer = ask()
    except RsEmbedError as error:
        return Failure(error)
    if isinstance(answer, Failure) and isinstance(answer.failure(), RsEmbedError):
        return answer
    if isinstance(answer, Success) and isinstance(answer.unwrap(), kind):
        return answer
    got = answer if isinstance(answer, Result) else type(answer).__name__
    text = (
        f"{what} of backend {name!r} gave {got}; it must give Success({kind.__name__}) or "
        "Failure(ProviderError)"
    )
    return Failure(ProviderError(text))


def _load_plugged() -> None:
    """Take in the sources that installed packages offer, once; one that fails is told."""
    global _PLUGGED
    with _PLUGGING:
        if _PLUGGED:
            return
        _PLUGGED = True
        for name, problem in load_entry_points(ENTRY_POINTS, "source", ProviderError, register):
            warn_once((ENTRY_POINTS, name), problem)
