"""The boundary: the public functions. Arguments in, one unwrapping, a value or an error out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rs_embed.core.embedding import Embedding
from rs_embed.core.model import ModelChoice, ModelSpec
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec

if TYPE_CHECKING:
    import xarray

    from rs_embed.pipeline.options import Progress


def get_embedding(
    model: str | ModelChoice,
    *,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None = None,
    sensor: SensorSpec | None = None,
    output: OutputSpec = OutputSpec.pooled(),  # noqa: B008  # frozen
    backend: str = "gee",
    device: str = "auto",
    source: Any = None,
    input_prep: str = "native",
    overlap: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Embedding:
    """The embedding of one ROI.

    Parameters
    ----------
    model : str or ModelChoice
        ``"id"``, ``"id:variant"``, or a ModelChoice with options.
    spatial : BBox or PointBuffer
    temporal : TemporalSpec, optional
        Required unless the source has no dates.
    sensor : SensorSpec, optional
        Overrides the model's own imagery; its ``scale_m`` then holds.
    output : OutputSpec
        ``(D,)`` pooled, or a grid ``(D, H, W)``.
    backend : str
        "gee", "local" (with ``source``), "sample", "auto", or a registered one.
    device : {"auto", "cpu", "cuda"}
    source : path, glob, DataArray or Dataset, optional
        What backend "local" reads.
    input_prep : {"native", "resize"}
        Windows at the model's own resolution, or the whole ROI resampled to one window.
    overlap : int
        0, or k >= 2 for windows at 1/k stride whose tokens are averaged.
    batch_size : int, optional
        Windows a batch.
    progress : callable, optional
        ``progress(done, total)``, in windows.

    Returns
    -------
    Embedding

    Raises
    ------
    SpecError, ProviderError, ModelError
    """
    from rs_embed.pipeline.options import EmbedOptions
    from rs_embed.pipeline.rois import embed_rois

    options = EmbedOptions(
        output, temporal, sensor, backend, source, device, input_prep, overlap, batch_size, progress
    )
    return unwrap_or_raise(unwrap_or_raise(embed_rois(model, [spatial], options))[0])


def get_embeddings_batch(
    model: str | ModelChoice,
    *,
    spatials: list[SpatialSpec],
    temporal: TemporalSpec | None = None,
    sensor: SensorSpec | None = None,
    output: OutputSpec = OutputSpec.pooled(),  # noqa: B008  # frozen
    backend: str = "gee",
    device: str = "auto",
    source: Any = None,
    input_prep: str = "native",
    overlap: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
    on_error: Literal["raise", "return"] = "raise",
) -> list[Embedding]:
    """The embeddings of several ROIs, in their order; windows of all of them share batches.

    Parameters
    ----------
    spatials : list of BBox or PointBuffer
        At least one. The other parameters are those of `get_embedding`.
    on_error : {"raise", "return"}
        Raise the error of the first ROI that fails, and fetch no more; or give each error in its
        ROI's place.

    Returns
    -------
    list of Embedding
        Each its own, also of a ROI that is given twice.

    Raises
    ------
    SpecError, ProviderError, ModelError
        The message names the ROI that failed by index and place.
    """
    from rs_embed.pipeline.options import EmbedOptions
    from rs_embed.pipeline.rois import embed_rois, embeddings_or_errors

    options = EmbedOptions(
        output, temporal, sensor, backend, source, device, input_prep, overlap, batch_size, progress
    )
    return unwrap_or_raise(
        embeddings_or_errors(
            embed_rois(model, spatials, options, stop=on_error == "raise"), spatials, on_error
        )
    )


def inspect_gee_patch(
    *,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None = None,
    sensor: SensorSpec,
    backend: str = "gee",
    name: str = "gee_patch",
    value_range: tuple[float, float] | None = None,
    return_array: bool = False,
) -> dict[str, Any]:
    """Fetch a patch and report on its quality, without running a model.

    Parameters
    ----------
    spatial : BBox or PointBuffer
    temporal : TemporalSpec, optional
        Required unless the collection has no dates.
    sensor : SensorSpec
        Collection, bands and pixel size. Quicklooks (PNG) go to its ``check_save_dir``.
    backend : str
    name : str
        Beginning of the quicklooks' file names.
    value_range : (float, float), optional
        What values should lie in, in the collection's units; None takes what the units allow.
    return_array : bool
        Add ``array_chw``, ``(C, H, W)`` float32 with NaN where a pixel is missing.

    Returns
    -------
    dict
        JSON data but for ``array_chw``: ``ok`` (False where a band has no valid pixel, misses more
        than half of them, lies outside its range by more than 5 %, or is saturated by more than
        10 %), ``report`` (shape, dtype, statistics by band, NaN, fill and saturated fractions,
        problems, warnings, scenes with their dates), ``sensor``, ``temporal``, ``backend``,
        ``name``, ``grid`` and ``artifacts``, the paths of the quicklooks. A patch that is not ok
        is told, not raised, whatever ``check_raise`` says.

    Raises
    ------
    SpecError, ProviderError
        Where there is no patch to report on.
    """
    from rs_embed.pipeline.inspect import inspect_patch

    return unwrap_or_raise(
        inspect_patch(
            spatial, temporal, sensor, backend=backend, name=name, value_range=value_range,
            return_array=return_array,
        )
    )  # fmt: skip


def open_roi(
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    sensor_or_model: SensorSpec | str | ModelChoice,
    *,
    chunks: Any = None,
    backend: str = "gee",
) -> xarray.DataArray:
    """A region's pixels as a lazy, georeferenced array; nothing is fetched before it is computed.

    Parameters
    ----------
    spatial : BBox or PointBuffer
    temporal : TemporalSpec or None
        None for a collection without dates.
    sensor_or_model : SensorSpec, str or ModelChoice
        A sensor gives its bands, one composite of the window; a model gives the bands of its
        inputs under its own names, composites in its own cadence, at its own pixel size.
    chunks : int, tuple, dict or "auto", optional
        As for ``DataArray.chunk``; needs dask. None gives a lazy array without dask.
    backend : str

    Returns
    -------
    xarray.DataArray
        ``("band", "y", "x")``, or ``("time", "band", "y", "x")`` for a series; float32, NaN where
        a pixel is missing. ``time`` is the middle of each composite's window, ``source_band`` the
        collection's own name of a band, ``band_units`` its units. Slicing it fetches the slice.

    Raises
    ------
    SpecError, ProviderError, ModelError
        When planned; when computed, ProviderError where Earth Engine does not deliver.
    """
    from rs_embed.pipeline.open_roi import lazy_roi

    return unwrap_or_raise(
        lazy_roi(spatial, temporal, sensor_or_model, chunks=chunks, backend=backend)
    )


def models_for(
    array: xarray.DataArray | xarray.Dataset,
    *,
    temporal: TemporalSpec | None = None,
    bands: Any = None,
    units: Any = None,
    crs: Any = None,
) -> tuple[Any, ...]:
    """Which models fit an array, and what is in the way of the others.

    Parameters
    ----------
    array : DataArray or Dataset
        As for ``array.rsembed.embed``. No pixel is read and no weights are loaded.
    temporal, bands, units, crs : optional
        As for ``array.rsembed.embed``.

    Returns
    -------
    tuple of rs_embed.pipeline.fitting.ModelFit
        One for each model of the catalogue: ``model``, ``fits``, the ``modality`` that fits, and
        ``reasons``, empty where it fits.

    Raises
    ------
    ModelError
    """
    from rs_embed.pipeline.fitting import fitting_models

    return unwrap_or_raise(
        fitting_models(array, temporal=temporal, bands=bands, units=units, crs=crs)
    )


def register_provider(name: str, provider: Any) -> None:
    """Add a source of pixels under a backend name.

    Parameters
    ----------
    name : str
        A lower-case word that is not taken.
    provider : Provider or callable
        See `rs_embed.providers.base.Provider`; a callable is given ``source=`` and makes one.

    Raises
    ------
    ProviderError
    """
    from rs_embed.pipeline import register_source

    unwrap_or_raise(register_source(name, provider))


def register_model(spec: ModelSpec) -> None:
    """Add a model to the catalogue; it then works through every door.

    Raises
    ------
    ModelError
        Where the id or an alias is taken, or the spec contradicts itself.
    """
    from rs_embed.pipeline import add_model

    unwrap_or_raise(add_model(spec))


def load_model(model: str | ModelChoice, *, device: str = "auto") -> Any:
    """The bare network of a model and its prepare step, for those who fine-tune.

    Returns
    -------
    rs_embed.embedders.runtime.LoadedModel
        ``.network`` is the torch module (the filters, for mosaiks); ``.prepare(windows)`` maps
        `rs_embed.core.prepare.Windows` to the arrays it takes, ``.encode(arrays)`` gives tokens;
        ``.model`` tells bands, units and sizes; ``.device``.

    Raises
    ------
    ModelError
    """
    from rs_embed.pipeline import find_model, load

    return unwrap_or_raise(find_model(model).bind(lambda chosen: load(chosen, device)))


def open_embedding(path: str | Path) -> xarray.DataArray:
    """An embedding that was saved as ``.nc``, ``.zarr``, ``.tif`` or ``.npz``, in memory.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataArray
        float32 as it was saved: ``("feature", "y", "x")`` with CRS, transform and cell centres,
        ``("feature",)`` where pooled, ``"time"`` in front of a series;
        ``attrs["rs_embed_meta"]`` is the whole description as JSON.

    Raises
    ------
    SpecError
        For a file that holds no embedding of rs_embed.
    ProviderError
        Where there is no file, or it is damaged.

    Notes
    -----
    A file that is too large for memory is opened with ``xr.open_dataarray``, ``xr.open_zarr`` or
    ``rioxarray.open_rasterio``; the methods of ``.rsembed`` work on what they give.
    """
    from rs_embed.export.reopen import reopen

    return unwrap_or_raise(reopen(path))


def unload_models() -> None:
    """Let go of every network in memory; the next call that needs one loads it again."""
    from rs_embed import pipeline

    pipeline.unload_models()


def sample_scene() -> Any:
    """The bundled Sentinel-2 scene of Patagonia as a DataArray ``(band, y, x)``.

    uint16 reflectance x 10000, bands B2, B3, B4, B8, B11, B12, 200 x 300 pixels of 10 m,
    EPSG:32719, undated. Modified Copernicus Sentinel data; see ``rs_embed/data/NOTICE.md``.
    """
    from rs_embed import pipeline

    return pipeline.sample_scene()
