"""Embeddings as files: netCDF, Zarr, COG and npz, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from returns.result import Failure

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.export.cog import write_cog
from rs_embed.export.formats import write_netcdf, write_npz, write_zarr
from rs_embed.export.targets import TIFF, check_target, write_whole
from rs_embed.raster.embedding_array import cells_grid, check_embedding, check_grid
from rs_embed.raster.sources import sources_of

if TYPE_CHECKING:
    import xarray as xr


def save(
    array: Any, path: str | Path, *, overwrite: bool = False, sources: Iterable[str | Path] = ()
) -> Outcome[Path]:
    """An embedding written to ``.nc``, ``.zarr``, ``.tif`` (one grid) or ``.npz``; whole or not.

    netCDF and Zarr keep dims, coordinates, CRS and attributes: ``xr.open_dataarray(path)`` and
    ``xr.open_zarr(path)``. A COG has one band a feature. An npz has ``embedding``, ``meta`` (JSON),
    of a grid ``y``, ``x`` and ``crs``, of a series ``time`` and ``dims``.
    `rs_embed.export.reopen.reopen` reads each of them.

    Parameters
    ----------
    array : DataArray
        An embedding.
    path : str or Path
        ``~`` is put in full. What rs_embed wrote there before is replaced.
    overwrite : bool
        Also replace a file of another origin. Folders of another origin, and what ``array`` or
        ``sources`` were read from, are never replaced.
    sources : iterable of str or Path
        Files that were read for it, besides those that the array itself names.

    Fails with SpecError for an array that is no embedding, a suffix that cannot hold it, or a path
    that cannot be written or is not ours; with ProviderError where writing fails on the way, what
    was there then being as it was.
    """
    return check_embedding(array).bind(
        lambda found: check_target(
            path,
            pooled="y" not in found.dims,
            dims=[str(dim) for dim in found.dims],
            sources=(*sources, *sources_of(array)),
            overwrite=overwrite,
            values=found.nbytes,
        ).bind(lambda target: _saved(found, target, overwrite))
    )


def _saved(array: xr.DataArray, target: Path, overwrite: bool) -> Outcome[Path]:
    suffix = target.suffix.lower()
    if suffix in TIFF:
        return cells_grid(array).bind(
            lambda grid: write_whole(
                target, lambda out: write_cog(array, grid, out), overwrite=overwrite
            )
        )
    writers = {".nc": write_netcdf, ".zarr": write_zarr, ".npz": write_npz}
    return write_whole(target, lambda out: writers[suffix](array, out), overwrite=overwrite)


def to_cog(array: Any, path: str | Path, *, overwrite: bool = False) -> Outcome[Path]:
    """A grid written as a cloud-optimised GeoTIFF, one band a feature; whole or not at all.

    Missing cells are NaN, which is also the nodata value; the description is a tag. Written tile
    by tile, so that memory does not grow with the grid.

    Fails with SpecError for a pooled embedding, one with further dims, or a path that is no .tif
    or, as `save` tells, may not be written.
    """
    return check_grid(array).bind(
        lambda _: (
            save(array, path, overwrite=overwrite)
            if Path(path).suffix.lower() in TIFF
            else Failure(SpecError(f"a COG is written to a .tif, not {Path(path).name!r}"))
        )
    )
