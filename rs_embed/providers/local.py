"""Pixels that are at hand: files, arrays, and the bundled scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from returns.result import Failure, Success

from rs_embed.core.bands import match_bands
from rs_embed.core.crs import is_geographic, transformer
from rs_embed.core.errors import ModelError, ProviderError
from rs_embed.core.fetch import FetchPlan, SourceInfo
from rs_embed.core.grid import Grid
from rs_embed.core.model import InputSpec
from rs_embed.core.patch import Interval, Patch, PatchReader
from rs_embed.core.result import Outcome
from rs_embed.core.specs import SensorSpec
from rs_embed.core.units import check_convertible
from rs_embed.providers.array import raster_reader
from rs_embed.providers.files import open_path, open_source
from rs_embed.providers.source import Provider
from rs_embed.raster.raster import Raster
from rs_embed.raster.working import resampling_notes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["LocalProvider", "local_provider", "open_path", "sample_provider", "sample_scene"]

SAMPLE = "patagonia_s2_6band.tif"


class LocalProvider(Provider):
    """A raster that is at hand as a source of pixels.

    Parameters
    ----------
    name : str
        Name of the backend.
    collection : str
        What plans and descriptions call it; never a path.
    read : callable
        ``read(units)``: the raster, with the units that the caller's SensorSpec states, if any.
    content : callable
        ``content(raster)``: SHA-256 of what the pixels come from, so that plans on equal content
        are equal whatever it is called. It reads all of a file, or all values of an array, in
        blocks; a file that stays the same, and a lazy array, are read for it once in a process.
    """

    workers = 1

    def __init__(
        self,
        name: str,
        collection: str,
        read: Callable[[str | None], Outcome[Raster]],
        content: Callable[[Raster], str],
    ) -> None:
        self.name = name
        self._collection = collection
        self._read = read
        self._content = content
        self._rasters: dict[str | None, Outcome[Raster]] = {}

    def describe(self, item: InputSpec, sensor: SensorSpec | None) -> Outcome[SourceInfo]:
        """The raster's bands for one input.

        Fails with ModelError where the raster or the SensorSpec lacks a band of the model, with
        SpecError where the units cannot become the model's or the raster cannot be read.
        """
        return self._raster(sensor.units if sensor else None).bind(
            lambda raster: self._bands(item, sensor, raster).bind(
                lambda places: self._source(item, raster, places)
            )
        )

    def fetch(self, plan: FetchPlan) -> Outcome[Patch]:
        """The pixels of a plan: every date of the raster within a frame, composited.

        Fails with ProviderError where the plan lies outside the raster, or no date within it.
        """
        return self.open(plan).map(PatchReader.patch)

    def open(self, plan: FetchPlan) -> Outcome[PatchReader]:
        """As `fetch`; of the raster only what a window needs is read."""
        return self._raster(plan.sensor.units).bind(lambda raster: open_plan(raster, plan))

    def read(self, plan: FetchPlan) -> Outcome[Patch]:
        """`fetch` of a part of a region: beyond the raster's edge its pixels are missing."""
        return self._raster(plan.sensor.units).bind(
            lambda raster: open_part(raster, plan).map(PatchReader.patch)
        )

    def explain_empty(self, plan: FetchPlan) -> Outcome[None]:
        """Failure(ProviderError) where the whole region lies outside of the raster."""
        return self._raster(plan.sensor.units).bind(lambda raster: check_place(raster, plan))

    def _raster(self, units: str | None) -> Outcome[Raster]:
        if units not in self._rasters:
            self._rasters[units] = self._read(units).map(
                lambda raster: raster.with_content(self._content(raster))
            )
        return self._rasters[units]

    def _bands(
        self, item: InputSpec, sensor: SensorSpec | None, raster: Raster
    ) -> Outcome[tuple[int, ...]]:
        remedy = (
            "choose a model or modality that does without, or read the array yourself and name a "
            "stand-in: da.rsembed.embed(model, bands={{'{missing}': '<a band you have>'}})"
        )
        where = f"backend {self.name!r}"
        if sensor is None:
            return raster.places_of(item.bands, error=ModelError, where=where, remedy=remedy)
        return match_bands(
            item.bands, sensor.bands, common=raster.common, error=ModelError,
            where="the SensorSpec", remedy="name them all in SensorSpec.bands",
        ).bind(
            lambda order: raster.places_of(
                [raster.common.get(sensor.bands[i], sensor.bands[i]) for i in order],
                error=ModelError, where=where, remedy=remedy,
            )
        )  # fmt: skip

    def _source(
        self, item: InputSpec, raster: Raster, places: tuple[int, ...]
    ) -> Outcome[SourceInfo]:
        bands = tuple(raster.bands[i] for i in places)
        units = tuple(raster.units[i] for i in places)
        return check_convertible(bands, units, (item.units,) * len(bands)).map(
            lambda _: SourceInfo(
                self._collection, bands, units,
                dated=bool(raster.intervals) and not item.static,
                grid=raster.grid,
                content_hash=raster.content_hash,
            )
        )  # fmt: skip


def local_provider(source: Any) -> LocalProvider:
    """What backend "local" reads.

    Parameters
    ----------
    source : path, glob, DataArray, Dataset or Raster
        A GeoTIFF or anything else GDAL opens, netCDF, or Zarr. A glob of several files is a
        series: all on one grid, each dated by its own time or by one date in its name
        (``20220601`` or ``2022-06-01``). Of a file of several datasets, the name that GDAL gives
        one of them (``netcdf:file.nc:variable``).

    Raises
    ------
    SpecError, ProviderError
        For no source, or one that cannot be opened.
    """
    from rs_embed.core.result import unwrap_or_raise

    opened = unwrap_or_raise(open_source(source))
    return LocalProvider("local", "local", opened.read, opened.content)


def sample_provider() -> LocalProvider:
    """The bundled scene as a source."""
    from rs_embed.raster import read_xarray
    from rs_embed.raster.raster import content_of

    return LocalProvider(
        "sample", "sample", lambda units: read_xarray(sample_scene(), units=units), content_of
    )


def sample_scene() -> xr.DataArray:
    """The bundled scene, in memory: ``(band, y, x)`` uint16, bands by name, units in attrs."""
    from rs_embed.core.result import unwrap_or_raise

    with (
        as_file(files("rs_embed.data") / SAMPLE) as path,
        unwrap_or_raise(open_path(path)) as opened,
    ):
        scene: xr.DataArray = opened.load()
    named = scene.assign_coords(band=list(scene.attrs["long_name"]))
    named.attrs["units"] = "reflectance_x10000"
    named.name = "sample_scene"
    return named


def open_plan(raster: Raster, plan: FetchPlan) -> Outcome[PatchReader]:
    """A plan's pixels in a raster. Fails with ProviderError outside of its ground or dates."""
    return check_place(raster, plan).bind(lambda _: open_part(raster, plan))


def check_place(raster: Raster, plan: FetchPlan) -> Outcome[None]:
    """Failure(ProviderError) where a plan lies wholly outside of a raster."""
    if _overlap(raster.grid, plan.grid):
        return Success(None)
    return Failure(_outside(raster.grid, plan.grid))


def open_part(raster: Raster, plan: FetchPlan) -> Outcome[PatchReader]:
    """As `open_plan`, for a part of a region: missing pixels beyond the raster's edge."""
    groups = _groups(raster.intervals, plan.intervals)
    if plan.intervals and not any(groups):
        first, last = min(raster.intervals)[0], max(raster.intervals)[0]
        return Failure(
            ProviderError(
                f"no date of the source lies in {plan.intervals[0][0]}..{plan.intervals[-1][1]} "
                f"(end excluded); it has {len(raster.intervals)} from {first} to {last}"
            )
        )
    return Success(raster_reader(raster, plan, groups, resampling_notes(raster, plan.grid)))


def _groups(have: Sequence[Interval], intervals: Sequence[Interval]) -> list[list[int]]:
    """The steps of time in each frame, oldest first; every step where no frame is asked for."""
    order = sorted(range(max(1, len(have))), key=lambda i: have[i][0] if have else "")
    if not intervals:
        return [order]
    return [[i for i in order if start <= have[i][0] < end] for start, end in intervals]


def _overlap(source: Grid, target: Grid) -> bool:
    west, south, east, north = target.bounds
    if source.crs != target.crs:
        # Of the two, the target is the small one, which every projection can follow.
        west, south, east, north = transformer(target.crs, source.crs).transform_bounds(
            west, south, east, north, densify_pts=21
        )
    left, bottom, right, top = source.bounds
    if is_geographic(source.crs):
        # Longitudes run on eastwards from the source's own edge.
        east = west + (east - west) % 360
        turns = 360 * ((west - left) // 360)
        west, east = west - turns, east - turns
        return south < top and bottom < north and (west < right or left < east - 360)
    return west < right and left < east and south < top and bottom < north


def _outside(source: Grid, target: Grid) -> ProviderError:
    def place(grid: Grid) -> str:
        west, south, east, north = grid.hull()[0]
        return f"{west:.4f}..{east:.4f} E, {south:.4f}..{north:.4f} N"

    return ProviderError(
        f"the region ({place(target)}) lies outside the source ({place(source)}); "
        "choose a place inside, or another source"
    )
