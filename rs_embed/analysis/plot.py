"""A picture of an embedding: its first three principal components as red, green and blue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.analysis.components import pca
from rs_embed.core.crs import is_geographic
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.extras import missing_text
from rs_embed.core.grid import Grid
from rs_embed.core.result import Outcome, caused
from rs_embed.raster.embedding_array import cells_grid, check_grid

if TYPE_CHECKING:
    import xarray as xr

_LOW, _HIGH = 2, 98  # percentiles that become black and full colour
_MISSING = 0.92  # light grey


def plot(array: Any, ax: Any = None) -> Outcome[Any]:
    """The axes of matplotlib with the embedding drawn on them.

    Each of the first three principal components is stretched from its 2nd to its 98th percentile;
    missing cells are light grey. Axes count kilometres (metres for small grids, degrees for
    geographic ones) in the grid's CRS.

    Parameters
    ----------
    array : DataArray
        A grid embedding ``("feature", "y", "x")``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure where none is given.

    Fails with SpecError for an array that is no grid embedding, or too small for one component;
    with ModelError where matplotlib is not installed.
    """
    return check_grid(array).bind(
        lambda found: (
            Failure(_further(found))
            if found.ndim != 3
            else cells_grid(found).bind(
                lambda grid: pca(found, min(3, found.sizes["feature"])).bind(
                    lambda components: _drawn(components, grid, ax)
                )
            )
        )
    )


def stretch(components: xr.DataArray) -> np.ndarray:
    """``(H, W, 3)`` values 0..1 of up to three components, each stretched to its 2–98 % range."""
    values = np.asarray(components, dtype=np.float64)
    out = np.full((*values.shape[1:], 3), _MISSING)
    valid = np.isfinite(values).all(axis=0)
    for i in range(3):
        band = values[min(i, len(values) - 1)][valid]
        low, high = np.percentile(band, [_LOW, _HIGH])
        out[valid, i] = np.clip((band - low) / (high - low), 0, 1) if high > low else 0.5
    return out


def _drawn(components: xr.DataArray, grid: Grid, ax: Any) -> Outcome[Any]:
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        missing = ModelError(missing_text("plot()", "plot", "matplotlib"))
        return Failure(caused(missing, by=error))
    if ax is None:
        ratio = grid.height * grid.resolution[1] / (grid.width * grid.resolution[0])
        _, ax = plt.subplots(figsize=(6.4, min(max(6.4 * ratio, 3), 9)), layout="constrained")
    unit, size = _unit(grid)
    west, south, east, north = (edge / size for edge in grid.bounds)
    image = stretch(components)
    # Rows and columns as on a map, whatever their order in the array.
    image = image if grid.north_up else image[::-1]
    image = image if grid.transform.a > 0 else image[:, ::-1]
    ax.imshow(image, extent=(west, east, south, north), interpolation="nearest", origin="upper")
    # A degree of longitude is shorter than one of latitude by the cosine of the latitude.
    middle = np.deg2rad((grid.bounds[1] + grid.bounds[3]) / 2)
    ax.set_aspect(1 / max(np.cos(middle), 0.05) if unit == "degrees" else "equal")
    share = sum(components.attrs["explained_variance_ratio"])
    count = components.sizes["component"]
    ax.set_title(f"{components.name} · PCA 1–{count} · {share:.0%} of the variance")
    east_name, north_name = (
        ("longitude", "latitude") if unit == "degrees" else ("easting", "northing")
    )
    ax.set_xlabel(f"{east_name}, {unit}")
    ax.set_ylabel(f"{north_name}, {unit}")
    ax.ticklabel_format(style="plain", useOffset=False)
    ax.locator_params(nbins=5)
    ax.tick_params(labelsize="small")
    return Success(ax)


def _unit(grid: Grid) -> tuple[str, float]:
    """What the axes count in, and how many CRS units that is."""
    if is_geographic(grid.crs):
        return "degrees", 1.0
    west, south, east, north = grid.bounds
    return ("m", 1.0) if max(east - west, north - south) < 2000 else ("km", 1000.0)


def _further(array: xr.DataArray) -> SpecError:
    extra = [str(dim) for dim in array.dims if dim not in ("feature", "y", "x")]
    return SpecError(
        f"a picture shows one grid and this embedding has further dims {extra}; select one entry, "
        f"such as array.isel({extra[0]}=0)"
    )
