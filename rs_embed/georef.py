"""The former home of `grid_array`."""

from rs_embed.raster.embedding_array import grid_array

__all__ = ["grid_array"]
