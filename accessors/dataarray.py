"""``DataArray.rsembed``: embeddings of pixels, and first looks at an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from rs_embed.accessors.pixels import PixelsAccessor
from rs_embed.core.result import unwrap_or_raise

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@xr.register_dataarray_accessor("rsembed")  # type: ignore[no-untyped-call]
class DataArrayAccessor(PixelsAccessor):
    """Embeddings of an array, and the methods of an embedding array."""

    def pca(self, n: int = 3) -> xr.DataArray:
        """Principal components of an embedding, ``("component", "y", "x")`` float32.

        Fitted on the valid cells; of each component the loading of largest magnitude is positive.
        ``attrs`` hold ``explained_variance`` and ``explained_variance_ratio``.

        Raises
        ------
        SpecError
            For an array that is no embedding, or more components than it can give.
        """
        from rs_embed.analysis.components import pca

        return unwrap_or_raise(pca(self._obj, n))

    def similarity(self, target: Any) -> xr.DataArray:
        """Cosine of each cell of an embedding with a vector or a place, ``("y", "x")``, -1 to 1.

        Parameters
        ----------
        target : (lon, lat), or array of shape (D,)
            A tuple of two numbers is a place in degrees; all else is a vector.

        Raises
        ------
        SpecError
            For a place outside the grid or a vector of another length.
        """
        from rs_embed.analysis.similarity import similarity

        return unwrap_or_raise(similarity(self._obj, target))

    def sample(self, points: Sequence[tuple[float, float]]) -> xr.DataArray:
        """The cells of an embedding at places, ``("point", "feature")``; NaN outside the grid.

        Parameters
        ----------
        points : sequence of (lon, lat)
            Degrees (EPSG:4326).

        Raises
        ------
        SpecError
        """
        from rs_embed.analysis.sample import sample

        return unwrap_or_raise(sample(self._obj, points))

    def kmeans(self, k: int, seed: int = 0) -> xr.DataArray:
        """Clusters of an embedding's cells, ``("y", "x")`` int32: 0 is the largest, -1 is missing.

        Parameters
        ----------
        k : int
            Clusters.
        seed : int
            Of the first centres.

        Raises
        ------
        SpecError
        """
        from rs_embed.analysis.kmeans import kmeans

        return unwrap_or_raise(kmeans(self._obj, k, seed))

    def plot(self, ax: Axes | None = None) -> Axes:
        """The first three principal components of an embedding as red, green and blue.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure where none is given.

        Returns
        -------
        Axes

        Raises
        ------
        SpecError
            For an array that is no grid embedding.
        ModelError
            Where matplotlib is not installed.
        """
        from rs_embed.analysis.plot import plot

        return unwrap_or_raise(plot(self._obj, ax))  # type: ignore[no-any-return]

    def to_cog(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a grid embedding as a cloud-optimised GeoTIFF, one band a feature.

        The file appears whole or not at all; it is written tile by tile.

        Parameters
        ----------
        path : str or Path
            A ``.tif``. What rs_embed wrote there before is replaced.
        overwrite : bool
            Also replace a file of another origin; a folder never is.

        Raises
        ------
        SpecError
            For an array that is no grid embedding, or a path that may not be written.
        ProviderError
            Where writing fails on the way; what was there is as it was.
        """
        from rs_embed.export.files import to_cog

        return unwrap_or_raise(to_cog(self._obj, path, overwrite=overwrite))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write an embedding as ``.nc``, ``.zarr``, ``.tif`` or ``.npz``, by the path's suffix.

        The file appears whole or not at all. `rs_embed.open_embedding` reads it back.

        Parameters
        ----------
        path : str or Path
            ``~`` is put in full. What rs_embed wrote there before is replaced.
        overwrite : bool
            Also replace a file of another origin. A folder of another origin, and a file that the
            array was read from, never are.

        Raises
        ------
        SpecError
            For an array that is no embedding, or a path that may not be written.
        ProviderError
            Where writing fails on the way; what was there is as it was.
        """
        from rs_embed.export.files import save

        return unwrap_or_raise(save(self._obj, path, overwrite=overwrite))
