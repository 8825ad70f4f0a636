"""A region as a lazy array: pixels come when they are computed, and only those that are."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Result, Success
from xarray.backends import BackendArray
from xarray.core import indexing

from rs_embed.core import specs
from rs_embed.core.errors import ProviderError, SpecError
from rs_embed.core.extras import missing_text
from rs_embed.core.fetch import FetchPlan, sensor_for
from rs_embed.core.grid import MAX_PIXELS, MAX_STREAMED, Grid, roi_grid
from rs_embed.core.intervals import midpoint, plan_intervals
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.patch import Interval, Patch
from rs_embed.core.result import Outcome, collect, unwrap_or_raise
from rs_embed.core.specs import SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.embedders.catalog import find_model
from rs_embed.pipeline.inspect import patch_plan
from rs_embed.providers.auto import choose_backend, choose_provider
from rs_embed.providers.base import Provider
from rs_embed.providers.collections import find_collection
from rs_embed.raster.embedding_array import grid_coords

if TYPE_CHECKING:
    import xarray as xr

_BLOCK_PX = 512


@dataclass(frozen=True)
class Roi:
    """What a lazy array stands for.

    Parameters
    ----------
    fetch_plans : tuple of FetchPlan
        The whole region, one for each input.
    names : tuple of str
        The bands of all of them, as the array calls them.
    intervals : tuple of Interval
    """

    fetch_plans: tuple[FetchPlan, ...]
    names: tuple[str, ...]
    intervals: tuple[Interval, ...]

    @property
    def grid(self) -> Grid:
        """The region's pixels."""
        return self.fetch_plans[0].grid

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)."""
        return (max(1, len(self.intervals)), len(self.names), *self.grid.shape)


def lazy_roi(
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    wanted: SensorSpec | str | ModelChoice,
    *,
    chunks: Any,
    backend: str,
) -> Outcome[xr.DataArray]:
    """What `rs_embed.open_roi` returns. Fails before anything is fetched, as planning does."""
    return Result.do(
        chunked
        for provider, asked in _source(wanted, backend)
        for roi in _plan_region(provider, spatial, temporal, asked)
        for chunked in _chunked(_array(provider, roi), chunks)
    )


def _source(
    wanted: SensorSpec | str | ModelChoice, backend: str
) -> Outcome[tuple[Provider, SensorSpec | Model]]:
    """Whom to ask, and for what; a model that names its own backend is asked of that."""
    if isinstance(wanted, SensorSpec):
        return choose_backend(backend).map(lambda provider: (provider, wanted))
    return find_model(wanted).bind(
        lambda model: choose_provider(model, backend).map(lambda provider: (provider, model))
    )


def _plan_region(
    provider: Provider,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    asked: SensorSpec | Model,
) -> Outcome[Roi]:
    if isinstance(asked, SensorSpec):
        return _of_sensor(provider, spatial, temporal, asked)
    return _of_model(provider, spatial, temporal, asked)


def _of_sensor(
    provider: Provider, spatial: SpatialSpec, temporal: TemporalSpec | None, sensor: SensorSpec
) -> Outcome[Roi]:
    def named(plan: FetchPlan) -> Roi:
        # A collection's "B5" may be another's "B8A": where the row tells the meaning, that is it.
        row = find_collection(plan.collection)
        common: Mapping[str, str] = row.common if row else {}
        return Roi((plan,), tuple(common.get(b, b) for b in plan.bands), plan.intervals)

    return (
        specs.check_sensor(sensor)
        .bind(lambda ok: patch_plan(provider, spatial, temporal, ok, MAX_STREAMED))
        .map(named)
    )


def _of_model(
    provider: Provider, spatial: SpatialSpec, temporal: TemporalSpec | None, model: Model
) -> Outcome[Roi]:
    """The bands of every input of a model, its composites in its own cadence."""
    inputs = model.inputs
    return Result.do(
        Roi(
            tuple(
                FetchPlan(
                    source.collection, source.bands, source.units, grid,
                    intervals if source.dated and not item.static else (),
                    sensor_for(item, source, grid.resolution[0], None), source.content_hash,
                )
                for item, source in zip(inputs, sources, strict=True)
            ),
            model.bands,
            intervals,
        )
        for sources in collect(provider.describe(item, None) for item in inputs)
        for intervals in plan_intervals(model.cadence, temporal, sources)
        for grid in roi_grid(spatial, model.scale_m, max_pixels=MAX_STREAMED)
    )  # fmt: skip


class RoiArray(BackendArray):
    """``(T, C, H, W)`` float32, fetched part by part; NaN where a pixel is missing."""

    def __init__(self, provider: Provider, roi: Roi) -> None:
        self.provider = provider
        self.roi = roi
        self.shape = roi.shape
        self.dtype = np.dtype(np.float32)
        self._seen = _Seen()

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._part
        )

    def __dask_tokenize__(self) -> tuple[str, ...]:
        return ("rs_embed.pipeline.open_roi", *(plan.fingerprint for plan in self.roi.fetch_plans))

    def _part(self, key: tuple[int | slice, ...]) -> np.ndarray:
        """The pixels of whole numbers and slices: one window of the lattice, some bands, dates."""
        axes = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, key, strict=True)]
        dropped = tuple(i for i, k in enumerate(key) if not isinstance(k, slice))
        if min(map(len, axes)) == 0:
            return np.empty(
                [len(a) for i, a in enumerate(axes) if i not in dropped], dtype=self.dtype
            )
        times, bands, rows, cols = axes
        top, left = int(rows.min()), int(cols.min())
        grid = self.roi.grid.window(
            top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1
        )
        unwrap_or_raise(_held(grid, len(times)))
        out = np.empty((len(times), len(bands), len(rows), len(cols)), dtype=self.dtype)
        first = 0
        for plan in self.roi.fetch_plans:
            own = [i for i, b in enumerate(bands) if first <= b < first + len(plan.bands)]
            if own:
                places = [int(bands[i]) - first for i in own]
                found = self._fetched(plan, grid, places, times)
                out[:, own] = found[..., (rows - top)[:, None], (cols - left)[None, :]]
            first += len(plan.bands)
        return out.squeeze(axis=dropped)

    def _fetched(
        self, plan: FetchPlan, grid: Grid, bands: list[int], times: np.ndarray
    ) -> np.ndarray:
        """``(T, C, H, W)`` of some bands and dates of one input; a static layer has one date."""
        names = tuple(plan.bands[i] for i in bands)
        part = replace(
            plan,
            grid=grid,
            bands=names,
            units=tuple(plan.units[i] for i in bands),
            intervals=tuple(plan.intervals[t] for t in times) if plan.intervals else (),
            sensor=replace(plan.sensor, bands=names),
        )
        return unwrap_or_raise(self._seen.read(self.provider, plan, part)).data


def _held(grid: Grid, dates: int) -> Outcome[Grid]:
    """The grid itself; Failure(SpecError) where its pixels are too many to be held at once."""
    height, width = grid.shape
    if height * width * dates <= MAX_PIXELS:
        return Success(grid)
    return Failure(
        SpecError(
            f"{height} x {width} pixels of {dates} date(s) are more than the {MAX_PIXELS:g} that "
            "are held at once; read a part, array.isel(y=..., x=...), or in chunks: "
            "open_roi(..., chunks={'y': 1024, 'x': 1024})"
        )
    )


@dataclass
class _Seen:
    """Tells a part without scenes, which is missing pixels, from a region without any."""

    known: dict[str, bool] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)

    def read(self, provider: Provider, whole: FetchPlan, part: FetchPlan) -> Outcome[Patch]:
        """The pixels of a part; Failure(ProviderError) where the whole region has no scene."""
        found = provider.read(part)
        if not isinstance(found, Success) or np.isfinite(found.unwrap().data).any():
            return found
        with self.lock:
            if self.known.get(whole.fingerprint):
                return found
            why = provider.explain_empty(whole)
            if isinstance(why, Failure):
                return why
            self.known[whole.fingerprint] = True
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Seen, ())


def _array(provider: Provider, roi: Roi) -> xr.DataArray:
    import xarray as xr

    lazy = indexing.LazilyIndexedArray(RoiArray(provider, roi))
    variable = xr.Variable(("time", "band", "y", "x"), lazy, _attrs(provider, roi))
    units = [unit for plan in roi.fetch_plans for unit in plan.units]
    source = [band for plan in roi.fetch_plans for band in plan.bands]
    array = xr.DataArray(
        variable,
        coords={
            **grid_coords(roi.grid),
            "band": list(roi.names),
            "source_band": ("band", source),
            "band_units": ("band", units),
            **_times(roi),
        },
        name="pixels",
    )
    array.encoding["grid_mapping"] = "spatial_ref"
    # So much is read at once where a reader walks over it: a request a window would be slow.
    array.encoding["preferred_chunks"] = {"y": _BLOCK_PX, "x": _BLOCK_PX}
    return array if len(roi.intervals) > 1 else array.isel(time=0)


def _times(roi: Roi) -> dict[str, Any]:
    """The middle of each frame, where there is time."""
    if not roi.intervals:
        return {}
    days = np.array([midpoint(interval) for interval in roi.intervals], dtype="datetime64[ns]")
    return {"time": days}


def _attrs(provider: Provider, roi: Roi) -> dict[str, Any]:
    collections = dict.fromkeys(plan.collection for plan in roi.fetch_plans)
    units = {unit for plan in roi.fetch_plans for unit in plan.units}
    attrs: dict[str, Any] = {
        "long_name": roi.names,  # which rio.to_raster writes as the names of the bands
        "source": provider.name,
        "collection": ", ".join(collections),
        "intervals": ", ".join(f"{start}/{end}" for start, end in roi.intervals),
    }
    return {**attrs, "rs_embed_units": units.pop()} if len(units) == 1 else attrs


def _chunked(array: xr.DataArray, chunks: Any) -> Outcome[xr.DataArray]:
    if chunks is None:
        return Success(array)
    try:
        return Success(array.chunk(chunks))
    except ImportError as error:
        failure = ProviderError(missing_text("chunks=", "dask", "dask"))
        failure.__cause__ = error
        return Failure(failure)
    except (ValueError, TypeError) as error:
        wrong = SpecError(f"chunks={chunks!r} does not fit {dict(array.sizes)}: {error}")
        wrong.__cause__ = error
        return Failure(wrong)
