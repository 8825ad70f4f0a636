"""The main job on the bundled scene: embed it, save it, look at it. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.api import sample_scene
from rs_embed.core.errors import ModelError

if TYPE_CHECKING:
    import xarray

CLASSES = 4
# Reflectance that is shown as white; the scene is bright steppe around dark water.
_WHITE = 0.25


def run_demo(
    out: str | Path,
    *,
    pictures: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Path, str]]:
    """Write the demo's files one by one, and say what each is.

    Parameters
    ----------
    out : path
        Folder, made where it is not there.
    pictures : bool
        Draw the two PNG files; needs matplotlib.
    progress : callable, optional
        ``progress(done, total)``, in windows.

    Yields
    ------
    (Path, str)

    Raises
    ------
    ModelError
        Where pictures are asked for and matplotlib is not installed.
    """
    if pictures and find_spec("matplotlib") is None:
        raise ModelError(
            'pictures need matplotlib: pip install "rs-embed[plot]", or pass --no-pictures'
        )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    scene = sample_scene()
    grid = scene.rsembed.embed("mosaiks", progress=progress)
    size = " x ".join(map(str, grid.shape[1:]))
    grid.rsembed.to_cog(folder / "embedding.tif")
    yield folder / "embedding.tif", f"the embedding, {grid.shape[0]} features, {size} cells, COG"
    grid.rsembed.save(folder / "embedding.nc")
    yield folder / "embedding.nc", "the same as netCDF, with all that made it"
    labels = grid.rsembed.kmeans(CLASSES)
    labels.astype("uint8").rio.to_raster(folder / "classes.tif")
    yield folder / "classes.tif", f"k-means of the embedding, {CLASSES} classes"
    if pictures:
        components = grid.rsembed.pca(3)
        draw_components(scene, components, folder / "components.png")
        yield folder / "components.png", "true colour beside the first three principal components"
        draw_classes(scene, labels, folder / "classes.png")
        yield folder / "classes.png", "true colour beside the classes"


def true_colour(scene: xarray.DataArray) -> np.ndarray:
    """``(H, W, 3)`` in 0..1 of the scene's red, green and blue, gamma 1/1.4."""
    rgb = scene.sel(band=["B4", "B3", "B2"]).transpose("y", "x", "band").astype("float32") / 1e4
    return np.asarray(np.clip(rgb / _WHITE, 0, 1) ** (1 / 1.4))


def draw_components(scene: xarray.DataArray, components: xarray.DataArray, path: Path) -> None:
    """Two panels: the scene, and its embedding's principal components as red, green and blue."""
    from rs_embed.plotting import stretch

    _two_panels(
        scene,
        stretch(components),
        ("True colour", "Embedding, principal components 1–3"),
        path,
        components,
    )


def draw_classes(scene: xarray.DataArray, labels: xarray.DataArray, path: Path) -> None:
    """Two panels: the scene, and the classes of its embedding, coloured as the ground below them."""
    _two_panels(
        scene,
        _class_colours(scene, labels)[np.asarray(labels)],
        ("True colour", f"k-means of the embedding, k = {CLASSES}"),
        path,
        labels,
    )


def _class_colours(scene: xarray.DataArray, labels: xarray.DataArray) -> np.ndarray:
    """Four well-apart colours, dark to bright as the ground of each class is in the infrared."""
    nir = scene.sel(band="B8").interp(y=labels.y, x=labels.x, method="nearest")
    means = [float(nir.where(labels == k).mean()) for k in range(CLASSES)]
    palette = np.array(
        [[0.11, 0.31, 0.55], [0.45, 0.36, 0.28], [0.78, 0.66, 0.43], [0.35, 0.60, 0.27]]
    )
    colours = np.empty_like(palette)
    colours[np.argsort(means)] = palette
    return colours


def _two_panels(
    scene: xarray.DataArray,
    right: np.ndarray,
    titles: tuple[str, str],
    path: Path,
    cells: xarray.DataArray,
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.1), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    panels: Any = figure.subplots(1, 2, sharex=True, sharey=True)
    for panel, image, array, title in zip(
        panels, (true_colour(scene), right), (scene, cells), titles, strict=True
    ):
        west, south, east, north = (v / 1000 for v in array.rio.bounds())
        panel.imshow(image, extent=(west, east, south, north), interpolation="nearest")
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("easting, km")
    panels[0].set_ylabel("northing, km (EPSG:32719)")
    figure.text(
        0.995, 0.01, "modified Copernicus Sentinel data", ha="right", fontsize=7, color="0.4"
    )
    figure.savefig(path)
