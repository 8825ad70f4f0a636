"""Files and arrays that a caller names as ``source=``, opened as rasters."""

from __future__ import annotations

import datetime as dt
import glob
import re
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.errors import ProviderError, RsEmbedError, SpecError
from rs_embed.core.patch import Interval
from rs_embed.core.resample import offset_in
from rs_embed.core.result import Outcome, caused, collect
from rs_embed.core.units import check_units
from rs_embed.providers.file_kinds import (
    STACK,
    band_files,
    check_folder,
    file_content,
    is_subdataset,
    subdataset_file,
    subdataset_name,
    subdatasets,
)
from rs_embed.raster import read_xarray
from rs_embed.raster.file_masks import file_masks
from rs_embed.raster.raster import Load, Raster, content_of

_NETCDF = {".nc", ".nc4", ".cdf", ".h5", ".hdf5"}
_DATE = re.compile(r"(?<!\d)(20\d\d|19\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass(frozen=True)
class Opened:
    """A source: ``read(units)`` gives its raster, ``content(raster)`` the hash of what it holds."""

    read: Callable[[str | None], Outcome[Raster]]
    content: Callable[[Raster], str]


def open_source(source: Any) -> Outcome[Opened]:
    """What a caller named. Fails with SpecError for no source, with ProviderError for no file."""
    if isinstance(source, xr.DataArray | xr.Dataset):
        return Success(
            Opened(
                lambda units: read_xarray(source, units=units),
                lambda raster: _array_content(source, raster),
            )
        )
    if isinstance(source, Raster):
        return Success(
            Opened(
                lambda units: _declared(source, units),
                lambda raster: source.content_hash or content_of(raster),
            )
        )
    if isinstance(source, str) and is_subdataset(source):
        return Success(
            Opened(
                lambda units: open_path(source).bind(
                    lambda array: _kept_open(array, subdataset_name(source), units)
                ),
                lambda _: file_content(
                    (subdataset_file(source),), source.replace(str(subdataset_file(source)), "")
                ),
            )
        )
    if isinstance(source, str | Path) and str(source):
        return _paths(source).map(
            lambda found: Opened(
                lambda units: _read(*found, units), lambda _: file_content(found[0])
            )
        )
    if isinstance(source, list | tuple) and source:
        return Failure(SpecError(f"source= is one source, not a {_kind(source)}; {STACK}"))
    return Failure(
        SpecError(
            "backend 'local' reads source=: a path, a glob, a DataArray or a Dataset, not "
            + (repr(source) if source is None else type(source).__name__)
        )
    )


# Content of lazy arrays by their token, which tells one from another inside a process.
_KNOWN: dict[tuple[str, tuple[str, ...]], str] = {}
_MOST_KNOWN = 1000


def _array_content(source: xr.DataArray | xr.Dataset, raster: Raster) -> str:
    """`content_of` an array; a lazy one is computed for it once in a process."""
    if not source.chunks:
        return content_of(raster)
    from dask.base import tokenize

    key = (tokenize(source), raster.units)
    if key not in _KNOWN:
        while len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = content_of(raster)
    return _KNOWN[key]


def _kind(source: Sequence[Any]) -> str:
    return f"{type(source).__name__} of {len(source)}"


def _declared(raster: Raster, units: str | None) -> Outcome[Raster]:
    if units is None:
        return Success(raster)
    return check_units(units).map(raster.declared)


def _paths(source: str | Path) -> Outcome[tuple[tuple[Path, ...], bool]]:
    """The files of a path or a glob, sorted, and whether it was a glob."""
    path = Path(source).expanduser()
    if path.exists():
        return Success(((path,), False))
    found = tuple(sorted(Path(name) for name in glob.glob(str(path), recursive=True)))
    if found:
        return Success((found, True))
    return Failure(_missing(source))


def _read(paths: tuple[Path, ...], is_glob: bool, units: str | None) -> Outcome[Raster]:
    if not is_glob:
        return _open(paths[0], units)
    bands = band_files(paths)
    if bands:
        return Failure(
            SpecError(f"the {len(paths)} files are one a band ({', '.join(bands)}); {STACK}")
        )
    return collect(
        _open(path, units).bind(lambda raster, path=path: _dated(raster, path))  # type: ignore[misc]
        for path in paths
    ).bind(_series)


def open_path(path: str | Path) -> Outcome[Any]:
    """A GeoTIFF (or anything else GDAL opens), netCDF or Zarr as a lazy DataArray or Dataset.

    Of a file of several datasets, ``path`` is the name that GDAL gives one of them.

    Use it as a context manager, or call its ``close()``. Fails with ProviderError.
    """
    place = Path(path).expanduser()
    named = isinstance(path, str) and is_subdataset(path)
    if not named and not place.exists():
        return Failure(_missing(path))
    text = subdataset_name(str(path)) if named else str(place)
    if place.is_dir() and isinstance(fit := check_folder(place), Failure):
        return fit
    try:
        return Success(_open_raster(str(path)) if named else _open_lazily(place))
    except (OSError, ValueError, KeyError) as error:
        return Failure(
            caused(
                ProviderError(f"{text!r} cannot be opened as GeoTIFF, netCDF or Zarr: {error}"),
                by=error,
            )
        )


def _open(path: Path, units: str | None) -> Outcome[Raster]:
    """A file as a raster that reads on demand and closes the file when it is let go."""
    return open_path(path).bind(lambda array: _kept_open(array, path.name, units))


def _kept_open(array: Any, name: str, units: str | None) -> Outcome[Raster]:
    outcome = read_xarray(array, units=units).alt(lambda error: _of_file(error, name))
    if isinstance(outcome, Success):
        weakref.finalize(outcome.unwrap().load, array.close)
    else:
        array.close()
    return outcome


def _missing(path: str | Path) -> ProviderError:
    return ProviderError(
        f"there is no file {str(path)!r}; give a path or a glob, or open a remote file yourself "
        "and pass the array: source=rioxarray.open_rasterio(url)"
    )


def _open_lazily(path: Path) -> Any:
    if path.is_dir() or path.suffix == ".zarr":
        # Version 3 keeps consolidated metadata in zarr.json itself; asking for it where there is
        # none draws a warning.
        merged = (path / ".zmetadata").exists()
        return xr.open_zarr(path, chunks=None, consolidated=merged, decode_coords="all")
    if path.suffix.lower() in _NETCDF:
        return xr.open_dataset(path, decode_coords="all")
    return _open_raster(path)


def _open_raster(path: str | Path) -> Any:
    """What GDAL opens. Raises ValueError for a file of several datasets, naming them."""
    import rioxarray

    masks = file_masks(path)
    found = subdatasets(path)
    opened = rioxarray.open_rasterio(path, masked=masks.masked)
    if isinstance(opened, list):
        for one in opened:
            one.close()
        listed = ", ".join(map(repr, found[:4])) + (", ..." if len(found) > 4 else "")
        raise ValueError(
            f"it holds {len(found)} datasets, of different grids: {listed}; give the name of the "
            "one that you mean in place of the path, or put several on one grid and pass the array"
        )
    if not masks.alpha or not isinstance(opened, xr.DataArray):
        return opened
    return _without(opened, masks.alpha)


def _without(opened: xr.DataArray, bands: tuple[int, ...]) -> xr.DataArray:
    """The array without some of its bands, and without their names."""
    kept = [i for i in range(opened.sizes["band"]) if i not in bands]
    left = opened.isel(band=kept)
    names = opened.attrs.get("long_name")
    if isinstance(names, tuple) and len(names) == opened.sizes["band"]:
        left.attrs["long_name"] = tuple(names[i] for i in kept)
    left.set_close(opened.close)
    return left


def _of_file(error: RsEmbedError, name: str) -> RsEmbedError:
    hint = "; or open it yourself, mend the array, and pass that as source="
    return caused(type(error)(f"{name}: {error}{hint}"), by=error)


def _dated(raster: Raster, path: Path) -> Outcome[Raster]:
    """The raster of one file of a series, dated by its own time or by its name."""
    if raster.intervals:
        return Success(raster)
    found = {"".join(match.group(1, 3, 4)) for match in _DATE.finditer(path.name)}
    if len(found) != 1:
        return Failure(
            SpecError(
                f"{path.name} has no time and {len(found) or 'no'} date(s) in its name; the files "
                "of a glob are a series of dates, so put one date such as 20220601 in each name, "
                "or merge the files yourself and pass the array as source="
            )
        )
    day = dt.datetime.strptime(found.pop(), "%Y%m%d").date()
    return Success(replace(raster, intervals=((str(day), str(day + dt.timedelta(days=1))),)))


def _series(rasters: tuple[Raster, ...]) -> Outcome[Raster]:
    """Rasters of one grid as one raster with all their dates."""
    first = rasters[0]
    for other in rasters[1:]:
        same = offset_in(first.grid, other.grid) == (0, 0) and first.grid.shape == other.grid.shape
        if not same or (first.bands, first.units) != (other.bands, other.units):
            return Failure(
                SpecError(
                    "the files of the glob do not share one grid, bands and units; merge them "
                    "yourself, for instance with rioxarray.merge.merge_arrays, and pass the array "
                    "as source="
                )
            )
    if len(rasters) == 1:
        return Success(first)
    places = [(raster, step) for raster in rasters for step in range(len(raster.intervals))]
    everything = range(len(first.bands))

    def narrow(bands: Sequence[int], steps: Sequence[int]) -> Load:
        picked = [places[i][0].only(bands, [places[i][1]]) for i in steps]

        def load(row: int, col: int, height: int, width: int) -> np.ndarray:
            return np.concatenate([one.load(row, col, height, width) for one in picked])

        return load

    intervals: tuple[Interval, ...] = tuple(
        interval for raster in rasters for interval in raster.intervals
    )
    notes = {key: value for raster in rasters for key, value in raster.notes.items()}
    load = narrow(everything, range(len(places)))
    return Success(replace(first, load=load, intervals=intervals, notes=notes, narrow=narrow))
