"""Sources that others wrote: what they give is checked before it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from returns.result import Failure, Result, Success

from rs_embed.core.errors import ProviderError, RsEmbedError
from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.grid import Grid
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Patch, PatchReader, ReadWindow
from rs_embed.core.result import Outcome, caused
from rs_embed.core.specs import SensorSpec
from rs_embed.providers.source import Provider, Scenes


def is_source(made: object) -> bool:
    """Whether an object has what a source cannot do without; it need not inherit from one."""
    # A class has the names of its methods too, but it makes a source and is none.
    needed = ("name", "workers", "describe", "fetch")
    return not isinstance(made, type) and all(hasattr(made, name) for name in needed)


@dataclass(frozen=True)
class ValidatedProvider(Provider):
    """Another's source. What it does not do itself, `Provider` does for it.

    An error of rs_embed that it raises travels as a Failure, as if it had been returned; any other
    exception becomes a ProviderError that names the source, what was asked and the cause.
    """

    inner: Any
    name: str
    workers: int

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """What the source says, if that is a SourceInfo with the input's bands."""
        asked = f"input {item.name!r}"
        return self._answer("describe", SourceInfo, asked, item, sensor).bind(
            lambda source: self._described(source, item.bands)
        )

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The patch, if it holds the plan's bands on the plan's grid."""
        return self._answer("fetch", Patch, _place(plan.grid), plan).bind(
            lambda patch: self._fetched(patch, plan)
        )

    def open(self, plan: FetchPlan) -> Outcome[PatchReader]:
        """The source's own reader, each window checked; else its patch."""
        if not self._has("open"):
            return super().open(plan)
        return self._answer("open", PatchReader, _place(plan.grid), plan).bind(
            lambda reader: self._opened(reader, plan)
        )

    def check_available(self) -> Outcome[None]:
        """Whether the source can be asked."""
        if not self._has("check_available"):
            return super().check_available()
        return self._answer("check_available", object, "the source")

    def scenes(self, plans: Sequence[FetchPlan]) -> Outcome[list[Scenes]]:
        """The scenes behind each plan, where the source tells them."""
        if not self._has("scenes"):
            return super().scenes(plans)
        return self._answer("scenes", list, f"{len(plans)} plans", plans)

    def describe_sensor(self, sensor: SensorSpec) -> Outcome[SourceInfo]:
        """What the source says of the caller's own bands."""
        if not self._has("describe_sensor"):
            return super().describe_sensor(sensor)
        asked = f"sensor {sensor.collection!r}"
        return self._answer("describe_sensor", SourceInfo, asked, sensor).bind(
            lambda source: self._described(source, sensor.bands)
        )

    def read(self, plan: FetchPlan) -> Outcome[Patch]:
        """The patch of a part of a region, if it fits the plan."""
        if not self._has("read"):
            return super().read(plan)
        return self._answer("read", Patch, _place(plan.grid), plan).bind(
            lambda patch: self._fetched(patch, plan)
        )

    def explain_empty(self, plan: FetchPlan) -> Outcome[None]:
        """Why a plan has no scene, where the source tells."""
        if not self._has("explain_empty"):
            return super().explain_empty(plan)
        return self._answer("explain_empty", object, _place(plan.grid), plan)

    def _has(self, method: str) -> bool:
        """Whether the source brings a method of its own, and does not just inherit ours."""
        found = getattr(self.inner, method, None)
        return found is not None and getattr(found, "__func__", None) is not getattr(
            Provider, method
        )

    def _answer(self, method: str, kind: type, asked: str, *words: Any) -> Outcome[Any]:
        """What the source answers, as an Outcome of the kind that it should be."""
        try:
            answer = getattr(self.inner, method)(*words)
        except RsEmbedError as error:
            return Failure(error)
        except Exception as error:  # another's code may raise anything
            return Failure(self._raised(method, asked, error))
        if isinstance(answer, Failure) and isinstance(answer.failure(), RsEmbedError):
            return answer
        if isinstance(answer, Success) and isinstance(answer.unwrap(), kind):
            return answer
        got = answer if isinstance(answer, Result) else type(answer).__name__
        text = (
            f"{method} of backend {self.name!r} gave {got}; it must give "
            f"Success({kind.__name__}) or Failure(ProviderError)"
        )
        return Failure(ProviderError(text))

    def _raised(self, method: str, asked: str, error: Exception) -> RsEmbedError:
        text = (
            f"{method} of backend {self.name!r} failed for {asked}: {type(error).__name__}: {error}"
        )
        return caused(ProviderError(text), by=error)

    def _described(self, source: SourceInfo, bands: Sequence[str]) -> Outcome[SourceInfo]:
        if len(source.bands) == len(source.units) == len(bands):
            return Success(source)
        text = (
            f"backend {self.name!r} describes {len(source.bands)} bands and {len(source.units)} "
            f"units for the {len(bands)} of {', '.join(bands)}; it must name one each"
        )
        return Failure(ProviderError(text))

    def _fetched(self, patch: Patch, plan: FetchPlan) -> Outcome[Patch]:
        if patch.bands == plan.bands and patch.grid == plan.grid:
            problem = self._misfit(patch.data, plan, plan.grid.shape)
        else:
            problem = self._unlike(patch.data, patch.bands, plan, plan.grid.shape)
        return Success(patch) if problem is None else Failure(problem)

    def _opened(self, reader: PatchReader, plan: FetchPlan) -> Outcome[PatchReader]:
        if reader.bands != plan.bands or reader.grid != plan.grid:
            text = (
                f"open of backend {self.name!r} gave {', '.join(reader.bands)} on {reader.grid}; "
                f"the plan asks for {', '.join(plan.bands)} on {plan.grid}"
            )
            return Failure(ProviderError(text))

        def opened() -> ReadWindow:
            read = self._careful(reader.open, plan.grid)()

            def checked(row: int, col: int, height: int, width: int) -> np.ndarray:
                asked = plan.grid.window(row, col, height, width)
                pixels: np.ndarray = self._careful(read, asked)(row, col, height, width)
                problem = self._misfit(pixels, plan, (height, width))
                if problem is not None:
                    raise problem
                return pixels

            return checked

        return Success(replace(reader, open=opened))

    def _careful(self, function: Callable[..., Any], grid: Grid) -> Callable[..., Any]:
        """The function, whose exceptions are ProviderErrors."""

        def call(*words: int) -> Any:
            try:
                return function(*words)
            except RsEmbedError:
                raise
            except Exception as error:  # another's code may raise anything
                raise self._raised("open", _place(grid), error) from error

        return call

    def _misfit(
        self, data: np.ndarray, plan: FetchPlan, shape: tuple[int, int]
    ) -> RsEmbedError | None:
        wanted = (max(1, len(plan.intervals)), len(plan.bands), *shape)
        if data.shape == wanted and data.dtype == "float32":
            return None
        return self._unlike(data, plan.bands, plan, shape)

    def _unlike(
        self, data: np.ndarray, bands: Sequence[str], plan: FetchPlan, shape: tuple[int, int]
    ) -> RsEmbedError:
        wanted = (max(1, len(plan.intervals)), len(plan.bands), *shape)
        return ProviderError(
            f"backend {self.name!r} gave {data.dtype} {data.shape} of {', '.join(bands)}; "
            f"the plan asks for float32 {wanted} of {', '.join(plan.bands)}, on its own grid"
        )


def _place(grid: Grid) -> str:
    """Where a grid is, in words."""
    west, south, east, north = grid.hull()[0]
    return f"{west:.4f}..{east:.4f} E, {south:.4f}..{north:.4f} N"
