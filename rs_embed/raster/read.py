"""An xarray object as a `Raster`: where, when, which bands, in which units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from returns.result import Failure, Result, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.patch import Interval
from rs_embed.core.result import Outcome
from rs_embed.raster.dims import DimRoles, identify_dims
from rs_embed.raster.file_masks import check_masks_read
from rs_embed.raster.georeference import Georeference, georeference
from rs_embed.raster.imagery import numbered_names
from rs_embed.raster.naming import BandUnits, Units, band_names, band_units
from rs_embed.raster.raster import Raster, content_of
from rs_embed.raster.times import find_intervals
from rs_embed.raster.variables import Loader, PixelVariable, find_planes, in_memory


def read_xarray(
    obj: xr.DataArray | xr.Dataset,
    *,
    bands: Mapping[str, str] | Sequence[str] | None = None,
    units: Units = None,
    crs: object = None,
    content: bool = False,
) -> Outcome[Raster]:
    """An array with its grid, bands, units and dates. Values are read when they are asked for.

    Parameters
    ----------
    obj : DataArray or Dataset
        What rioxarray, odc-stac, stackstac, xee or cubo give, or any array with rows and columns.
        Data variables of a Dataset are bands.
    bands : sequence or mapping of str, optional
        A sequence names the bands in the array's order. A mapping puts a band in another's place
        (``{"B8A": "B8"}``) and comes back as `Raster.stand_ins`.
    units : str, sequence or mapping of str, optional
        Units of all bands, of each date, or by band (and date); of the values after
        ``scale_factor`` and ``add_offset``.
    crs : str, optional
        Where the array does not tell. ``("override", crs)`` where it tells wrong.
    content : bool
        Whether to hash the values for `Raster.content`: reads all of them, in strips.

    Returns
    -------
    Outcome[Raster]
        North-up. ``notes`` tells ``south_up`` (the array runs from south to north),
        ``units_assumed``, ``transform_ignored`` (it did not fit the coordinates),
        ``coordinates`` ("corners"), ``ignored_variables``.

    Fails with SpecError, naming the mending call: dimensions or types that are not pixels, an
    empty array, no CRS, a rotated or irregular grid, missing or repeated band names, undeclared
    units, a time axis without dates, values in memory of which none is valid.
    """
    substitutes = dict(bands) if isinstance(bands, Mapping) else {}
    named = bands is not None and not isinstance(bands, Mapping)
    return Result.do(
        replace(raster, common=numbered_names(layout, names, named))
        for layout in identify_dims(obj)
        for _ in check_masks_read(layout)
        for placed in georeference(layout, crs)
        for names in band_names(layout, bands)
        for declared in band_units(layout, names, units)
        for planes in find_planes(layout, declared.units, declared.by_date)
        for intervals in find_intervals(layout)
        for raster in _raster(
            layout, placed, names, declared, planes, intervals, substitutes, content
        )
    )


def _raster(
    layout: DimRoles,
    placed: Georeference,
    names: tuple[str, ...],
    declared: BandUnits,
    planes: tuple[PixelVariable, ...],
    intervals: tuple[Interval, ...],
    substitutes: dict[str, str],
    content: bool,
) -> Outcome[Raster]:
    loader = Loader(planes, layout, placed.south_up)
    notes = {**placed.notes, **declared.notes}
    if layout.ignored:
        notes["ignored_variables"] = list(layout.ignored)
    raster = Raster(
        loader, placed.grid, names, declared.units, intervals,
        notes=notes, substitutes=substitutes, narrow=loader.narrow,
    )  # fmt: skip
    if in_memory(layout) and not any(bool(np.isfinite(part).any()) for part in raster.row_blocks()):
        return Failure(
            SpecError(
                "not one value of the array is valid: all are NaN, or the value that means "
                "missing; check the selection, the mask and da.rio.nodata"
            )
        )
    return Success(raster.with_content(content_of(raster)) if content else raster)
