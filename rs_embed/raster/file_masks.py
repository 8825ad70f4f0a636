"""What a file itself marks as not valid, in the ways that GDAL knows beside one nodata value."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from returns.result import Failure, Success

from rs_embed.core.errors import SpecError
from rs_embed.core.result import Outcome
from rs_embed.raster.dims import DimRoles


@dataclass(frozen=True)
class FileMasks:
    """``masked``: whether a mask, an alpha band or a nodata value of a single band has to be read.

    ``alpha`` are the bands, from 0, that say what is valid and are no pixels themselves.
    """

    masked: bool
    alpha: tuple[int, ...]


def file_masks(path: str | Path) -> FileMasks:
    """What a raster file marks. Raises rasterio's errors for what is no raster file."""
    import rasterio
    from rasterio.enums import ColorInterp, MaskFlags
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():  # which opening the file itself gives once
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        file = rasterio.open(path)
    with file:
        flags = {flag for band in file.mask_flag_enums for flag in band}
        alpha = tuple(i for i, c in enumerate(file.colorinterp) if c == ColorInterp.alpha)
        # Several nodata values, of which rioxarray keeps the first.
        several = len({repr(value) for value in file.nodatavals}) > 1
    return FileMasks(bool(flags & {MaskFlags.per_dataset, MaskFlags.alpha}) or several, alpha)


def check_masks_read(layout: DimRoles) -> Outcome[None]:
    """Failure(SpecError) where an array comes from a file whose mask was not read with it."""
    for array in layout.arrays:
        path = _unmasked_source(array)
        if path is None:
            continue
        from rasterio.errors import RasterioError

        try:
            found = file_masks(path)
        except (OSError, RasterioError):
            continue
        if found.masked:
            bands = ", and leave out the alpha band" if found.alpha else ""
            return Failure(
                SpecError(
                    f"the file {path.name} marks missing pixels by a mask, an alpha band or nodata "
                    "values band by band, which were not read with it; open it with "
                    f"rioxarray.open_rasterio(path, masked=True){bands}"
                )
            )
    return Success(None)


def _unmasked_source(array: xr.DataArray) -> Path | None:
    """The local file of which an array holds the bare numbers, as rioxarray opened it."""
    encoding = array.encoding
    # rioxarray notes the stored dtype besides where it masks.
    if "rasterio_dtype" not in encoding or "dtype" in encoding or "rasterio" not in sys.modules:
        return None
    source = encoding.get("source")
    if not isinstance(source, str):
        return None
    try:
        path = Path(source)
        return path if path.is_file() else None
    except OSError:
        return None
