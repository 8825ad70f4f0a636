"""The main job on the bundled scene: embed it, save it, look at it. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.api import sample_scene
from rs_embed.core.errors import ModelError
from rs_embed.core.extras import missing_text
from rs_embed.core.model import ModelChoice

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

    from rs_embed.pipeline.options import Progress

CLASSES = 4
MODEL = ModelChoice("mosaiks", options={"token_px": 4})
"""Cells of 40 m: small enough that the drainage lines of the scene have cells of their own."""

_GREEN, _DARK, _PALE, _PLAIN = "#5b8c3e", "#5a4634", "#e3cf9e", "#a98660"


def run_demo(
    out: str | Path,
    *,
    pictures: bool = True,
    progress: Progress | None = None,
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
        needed = missing_text("drawing pictures", "plot", "matplotlib")
        raise ModelError(f"{needed}; or pass --no-pictures")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    scene = sample_scene()
    grid = scene.rsembed.embed(MODEL, progress=progress)
    rows, columns = grid.shape[1:]
    told = f"{grid.shape[0]} features in {rows} x {columns} cells of {grid.rio.resolution()[0]:g} m"
    yield grid.rsembed.to_cog(folder / "embedding.tif"), f"{told}, EPSG:32719, COG"
    yield grid.rsembed.save(folder / "embedding.nc"), "the same as netCDF, with all that made it"
    labels = grid.rsembed.kmeans(CLASSES)
    labels.rio.write_nodata(255).astype("uint8").rio.to_raster(folder / "classes.tif")
    yield folder / "classes.tif", f"its cells in {CLASSES} clusters by k-means, GeoTIFF"
    if pictures:
        picture = folder / "components.png"
        draw_components(scene, grid.rsembed.pca(3), picture)
        yield picture, "true colour beside the embedding's first three principal components"
        draw_classes(scene, labels, folder / "classes.png")
        yield folder / "classes.png", "true colour beside the clusters"


def true_colour(scene: xarray.DataArray) -> np.ndarray:
    """``(H, W, 3)`` in 0..1: red, green and blue, each from its 0.5th to its 99.5th percentile."""
    rgb = np.asarray(scene.sel(band=["B4", "B3", "B2"]).transpose("y", "x", "band"), dtype=float)
    low, high = np.percentile(rgb, [0.5, 99.5], axis=(0, 1))
    return np.asarray(np.clip((rgb - low) / (high - low), 0, 1))


def draw_components(
    scene: xarray.DataArray, components: xarray.DataArray, path: Path, *, stacked: bool = False
) -> None:
    """Two panels: the scene, and its embedding's principal components as red, green and blue.

    ``stacked`` puts one above the other, for a narrow screen.
    """
    from rs_embed.analysis.plot import stretch

    title = f"MOSAIKS embedding, components 1–3, cells of {_step(components):g} m"
    _draw(scene, components, stretch(components), title, path, stacked=stacked)


def draw_classes(
    scene: xarray.DataArray, labels: xarray.DataArray, path: Path, *, stacked: bool = False
) -> None:
    """Two panels: the scene, and the clusters of its embedding with what the ground below is."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    colours, names = _described(scene, labels)
    image = np.array([to_rgb(colour) for colour in colours])[np.asarray(labels)]
    legend = [Patch(color=c, label=n) for c, n in zip(colours, names, strict=True)]
    title = f"k-means of the MOSAIKS embedding, k = {CLASSES}"
    _draw(scene, labels, image, title, path, legend, stacked=stacked)


def _described(scene: xarray.DataArray, labels: xarray.DataArray) -> tuple[list[str], list[str]]:
    """A colour and a name for each cluster, from the mean reflectance of its ground."""
    step = round(_step(labels) / _step(scene))
    cells = scene.astype("float32").coarsen(y=step, x=step, boundary="trim").mean() / 1e4
    means = {
        band: [
            float(cells.sel(band=band).values[np.asarray(labels) == k].mean())
            for k in range(CLASSES)
        ]
        for band in ("B4", "B8", "B11")
    }
    red, nir, swir = (np.array(means[band]) for band in ("B4", "B8", "B11"))
    ndvi = (nir - red) / (nir + red)
    green = int(ndvi.argmax())
    rest = [k for k in np.argsort(swir) if k != green]
    looks = {green: (_GREEN, "greenest")}
    for k, look in zip(
        rest, ((_DARK, "darkest"), (_PLAIN, "between"), (_PALE, "brightest")), strict=True
    ):
        looks[int(k)] = look
    share = [float((np.asarray(labels) == k).mean()) for k in range(CLASSES)]
    names = [
        f"{looks[k][1]}: NDVI {ndvi[k]:.2f}, SWIR {swir[k]:.2f}, {share[k]:.0%}"
        for k in range(CLASSES)
    ]
    return [looks[k][0] for k in range(CLASSES)], names


def _draw(
    scene: xarray.DataArray,
    cells: xarray.DataArray,
    image: np.ndarray,
    title: str,
    path: Path,
    legend: list[Any] | None = None,
    *,
    stacked: bool,
) -> None:
    """The scene first, an image of its cells second, on one map frame."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = (12, 4.75 if legend else 4.4)
    tall = (5, 8 if legend else 7.2)
    figure = Figure(figsize=tall if stacked else wide, layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    panels = figure.subplots(*((2, 1) if stacked else (1, 2)), sharex=True, sharey=True)
    _panel(panels[0], scene, true_colour(scene), "Sentinel-2, true colour")
    _panel(panels[1], cells, image, title)
    for panel in panels if stacked else panels[:1]:
        panel.set_ylabel("northing, km (EPSG:32719)")
    for panel in panels[1:] if stacked else panels:
        panel.set_xlabel("easting, km")
    if legend:
        figure.legend(
            handles=legend, loc="outside lower center", ncols=1 if stacked else len(legend),
            frameon=False, fontsize=9,
        )  # fmt: skip
    panels[0].annotate(
        "modified Copernicus Sentinel data", (0.01, 0.02), xycoords="axes fraction", color="w",
        fontsize=8,
    )  # fmt: skip
    # Without the date and version of the writer, equal pictures are equal files.
    figure.savefig(path, metadata={"Software": None})


def _panel(panel: Axes, array: xarray.DataArray, image: np.ndarray, title: str) -> None:
    from matplotlib.ticker import MultipleLocator

    west, south, east, north = (value / 1000 for value in array.rio.bounds())
    panel.imshow(image, extent=(west, east, south, north), interpolation="nearest")
    panel.set_title(title, fontsize=11)
    panel.xaxis.set_major_locator(MultipleLocator(1))
    panel.yaxis.set_major_locator(MultipleLocator(0.5))
    panel.tick_params(labelsize=9)
    panel.ticklabel_format(useOffset=False)


def _step(array: xarray.DataArray) -> float:
    """Metres a pixel."""
    return float(array.rio.resolution()[0])
