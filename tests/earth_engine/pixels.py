"""Requests for pixels: checked against the service's limits, computed in strips, encoded."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ServiceError, unsupported
from .geometry import coordinate_system, lattice
from .images import Band, Grid, Image, Target, select

MAX_BYTES = 50331648
MAX_SIDE = 32768
MAX_BANDS = 1024
STRIP_PIXELS = 1 << 16
"""Pixels computed at a time: bounds the memory, whatever the request."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a body of computePixels or getPixels asks for."""

    grid: Grid
    format: str
    band_ids: tuple[str, ...]

    @property
    def shape_key(self) -> tuple[object, ...]:
        """What canned answers are kept by."""
        return self.grid.width, self.grid.height, self.format, self.band_ids


def parse_request(body: Mapping[str, Any]) -> Request:
    """The request, its grid checked."""
    grid = body.get("grid")
    if not isinstance(grid, dict) or "dimensions" not in grid or "affineTransform" not in grid:
        raise unsupported("A request without an explicit grid (dimensions and affineTransform)")
    if body.get("visualizationOptions"):
        raise unsupported("visualizationOptions")
    width, height = (int(grid["dimensions"].get(name, 0)) for name in ("width", "height"))
    if width <= 0 or height <= 0:
        raise ServiceError("Pixel grid dimensions must be positive.")
    if max(width, height) > MAX_SIDE:
        raise ServiceError(
            f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {MAX_SIDE}."
        )
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    transform = tuple(float(grid["affineTransform"].get(name, 0)) for name in names)
    if transform[0] * transform[4] - transform[1] * transform[3] == 0:
        raise ServiceError("The affine transform of the grid is not invertible.")
    crs = grid.get("crsCode") or grid.get("crsWkt")
    if not crs:
        raise unsupported("A grid without crsCode or crsWkt")
    coordinate_system(crs)
    form = body.get("fileFormat", "AUTO_JPEG_PNG")
    if form not in ("NPY", "GEO_TIFF"):
        raise unsupported(f"The file format {form}")
    return Request(
        Grid.of(lattice(crs, transform), width, height), form, tuple(body.get("bandIds") or ())
    )


def chosen_bands(image: Image, band_ids: Sequence[str]) -> tuple[Band, ...]:
    """The requested bands, in the order asked for; all of them when none is named."""
    bands = select(image, list(band_ids), None).bands if band_ids else image.bands
    if not bands:
        raise ServiceError("Image must have at least one band.")
    return bands


def check_limits(grid: Grid, bands: Sequence[Band], memory_pixels: int | None) -> None:
    """Refuse what the service refuses; a mask byte is counted per value."""
    if len(bands) > MAX_BANDS:
        raise ServiceError(
            f"Number of bands ({len(bands)}) must be less than or equal to {MAX_BANDS}."
        )
    size = sum(np.dtype(band.dtype).itemsize + 1 for band in bands) * grid.width * grid.height
    if size > MAX_BYTES:
        raise ServiceError(
            f"Total request size ({size} bytes) must be less than or equal to {MAX_BYTES} bytes."
        )
    if memory_pixels is not None and grid.width * grid.height > memory_pixels:
        raise ServiceError("User memory limit exceeded.")


def compute(grid: Grid, bands: Sequence[Band]) -> np.ndarray:
    """A structured array `(h, w)`, a field per band; masked pixels are 0."""
    dtype = [(band.name, np.dtype(band.dtype).newbyteorder("<")) for band in bands]
    out = np.zeros((grid.height, grid.width), dtype)
    for top, strip in grid.strips(STRIP_PIXELS):
        target = Target(strip)
        for band in bands:
            values, mask = target.read(band)
            out[band.name][top : top + strip.height] = np.where(mask, values, 0)
    return out


def encode(array: np.ndarray, request: Request) -> bytes:
    """The array in the requested format."""
    return npy(array) if request.format == "NPY" else geotiff(array, request.grid)


def npy(array: np.ndarray) -> bytes:
    """The array as `numpy.save` writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def geotiff(array: np.ndarray, grid: Grid) -> bytes:
    """A GeoTIFF of one common dtype, band names as descriptions."""
    from affine import Affine
    from rasterio.io import MemoryFile

    names = array.dtype.names or ()
    kind = np.result_type(*(array[name].dtype for name in names)).newbyteorder("=")
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=grid.height,
            width=grid.width,
            count=len(names),
            dtype=kind,
            crs=coordinate_system(grid.projection.crs).to_wkt(),
            transform=Affine(*grid.projection.transform),
        ) as dataset:
            for number, name in enumerate(names, 1):
                dataset.write(array[name].astype(kind), number)
                dataset.set_band_description(number, name)
        return memory.read()
