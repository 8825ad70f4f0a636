"""From an xarray object to a `Raster`, and to the grid a model works on."""

from rs_embed.raster.read import read_xarray
from rs_embed.raster.working import working_grid

__all__ = ["read_xarray", "working_grid"]
