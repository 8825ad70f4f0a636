"""The boundary of exports: arguments in, files and their manifests out, or an error."""

from __future__ import annotations

from typing import Any

from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec


def export_batch(
    *,
    spatials: list[SpatialSpec],
    temporal: TemporalSpec | None,
    models: list[str],
    out_dir: str | None = None,
    out_path: str | None = None,
    names: list[str] | None = None,
    backend: str = "gee",
    device: str = "auto",
    output: OutputSpec = OutputSpec.pooled(),  # noqa: B008  # frozen
    sensor: SensorSpec | None = None,
    per_model_sensors: dict[str, SensorSpec] | None = None,
    format: str = "npz",
    save_inputs: bool = True,
    save_embeddings: bool = True,
    save_manifest: bool = True,
    fail_on_bad_input: bool = False,
    chunk_size: int = 16,
    num_workers: int = 8,
    continue_on_error: bool = False,
    max_retries: int = 0,
    retry_backoff_s: float = 0.0,
    async_write: bool = True,
    writer_workers: int = 2,
    resume: bool = False,
    show_progress: bool = True,
    source: Any = None,
    input_prep: str = "native",
    overlap: int = 0,
    batch_size: int | None = None,
    dtype: str = "float32",
    buffer_m: float | str | None = None,
    dry_run: bool = False,
) -> Any:
    """Inputs, embeddings and manifests of many places and several models, as files.

    `docs/export.md` lists what is in them. Nothing finished is lost: files are whole or absent,
    and the same call with ``resume=True`` goes on where it ended.

    Parameters
    ----------
    spatials : list of BBox or PointBuffer, list of shapes, or GeoDataFrame
        At least one. A place given twice is fetched and computed once. Shapes are points and boxes
        with ``__geo_interface__`` in degrees; a GeoDataFrame is brought to degrees from its CRS.
    temporal : TemporalSpec or None
        For the models that have time.
    models : list of str or ModelChoice
    out_dir, out_path : str
        A folder with one file a place, or one file for all; one of the two.
    names : list of str, optional
        Names of the places, and of their files in ``out_dir``; else p00000, p00001, ...
    backend, device, output, source, input_prep, overlap, batch_size
        As of `get_embedding`; a ModelChoice may name a backend of its own.
    sensor : SensorSpec, optional
        For every model that has none in ``per_model_sensors``.
    per_model_sensors : dict of str to SensorSpec, optional
        By the strings of ``models``.
    format : {"npz", "netcdf", "zarr", "geoparquet", "cog"}
    save_inputs, save_embeddings, save_manifest : bool
        What is written: the pixels of each place, what the models gave, a ``.json`` beside each
        file. At least one of the first two.
    fail_on_bad_input : bool
        Check every patch as `inspect_gee_patch` does, and end with the first that is unfit, even
        with ``continue_on_error``.
    chunk_size : int
        Places after which every batch is run and all is put on the disk.
    num_workers : int
        Fetches at once from a source, where it allows as many.
    continue_on_error : bool
        Note what failed in the manifest and go on, rather than end with the first error.
    max_retries, retry_backoff_s : int, float
        How often a fetch or a write that failed for now is tried again, seconds apart.
    async_write, writer_workers : bool, int
        Write the files of ``out_dir`` in so many threads, while models run.
    resume : bool
        Keep what is there already, whole and of the same request; compute the rest.
    show_progress : bool
        Bars on a terminal or in a notebook; nothing in a pipe.
    dtype : {"float32", "float16", "int8"}
        Of the embeddings; int8 has one scale a vector. The manifest tells the error.
    dry_run : bool
        Plan everything, fetch and write nothing, and return what it would take: places, those that
        cannot be planned, requests and bytes to fetch, windows by model, bytes on the disk.
    buffer_m : float or str, optional
        Half of the side around points that are shapes, metres; or a column of the GeoDataFrame.

    Returns
    -------
    list of dict, or dict
        The manifest of each place for ``out_dir``, one of all for ``out_path``.

    Raises
    ------
    SpecError, ProviderError, ModelError
        The message names the place and the model; what was finished before is on the disk.
    """
    from rs_embed.pipeline.export import export
    from rs_embed.pipeline.export_estimate import estimate
    from rs_embed.pipeline.export_request import ExportRequest
    from rs_embed.pipeline.places import as_places

    places = unwrap_or_raise(as_places(spatials, buffer_m))
    return unwrap_or_raise(
        (estimate if dry_run else export)(
            ExportRequest(
                places, temporal, models, out_dir, out_path, names, backend, device, output,
                sensor, per_model_sensors, format, save_inputs, save_embeddings, save_manifest,
                fail_on_bad_input, chunk_size, num_workers, continue_on_error, max_retries,
                retry_backoff_s, async_write, writer_workers, resume, show_progress, source,
                input_prep, overlap, batch_size, dtype,
            )
        )
    )  # fmt: skip


def export_npz(
    *,
    spatial: SpatialSpec,
    temporal: TemporalSpec | None,
    models: list[str],
    out_path: str,
    backend: str = "gee",
    device: str = "auto",
    output: OutputSpec = OutputSpec.pooled(),  # noqa: B008  # frozen
    sensor: SensorSpec | None = None,
    per_model_sensors: dict[str, SensorSpec] | None = None,
    save_inputs: bool = True,
    save_embeddings: bool = True,
    save_manifest: bool = True,
    fail_on_bad_input: bool = False,
    source: Any = None,
    input_prep: str = "native",
    overlap: int = 0,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Inputs and embeddings of one place, with one or more models, as one ``.npz``.

    Parameters
    ----------
    spatial : BBox or PointBuffer
    out_path : str
        The file; the suffix is added when missing. The manifest stands beside it as ``.json``.
        The other parameters are those of `export_batch`.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    SpecError, ProviderError, ModelError
    """
    from rs_embed.pipeline.export import export
    from rs_embed.pipeline.export_request import ExportRequest

    return unwrap_or_raise(
        export(
            ExportRequest(
                [spatial], temporal, models, out_path=out_path, backend=backend, device=device,
                output=output, sensor=sensor, per_model_sensors=per_model_sensors,
                save_inputs=save_inputs, save_embeddings=save_embeddings,
                save_manifest=save_manifest, fail_on_bad_input=fail_on_bad_input, source=source,
                input_prep=input_prep, overlap=overlap, batch_size=batch_size,
                show_progress=False, one_place=True,
            )
        )
    )  # fmt: skip


def load_export(path: str) -> Any:
    """An export read back, whatever its format.

    Parameters
    ----------
    path : str
        The ``out_dir`` or ``out_path`` of an export.

    Returns
    -------
    Dataset, or list of dict
        Vectors: an xarray Dataset with a variable ``(place, feature)`` float32 a model, named as
        the model was, NaN where it failed; ``place`` are the names, ``lon`` and ``lat`` degrees,
        ``status`` "ok" or "failed" by place and model. Where models differ in length, the dim is
        ``feature_<length>``. Grids: a list, one entry a place, of DataArrays by model, None where
        it failed. Places are in the order of the request, failed ones too.

    Raises
    ------
    SpecError
        Where there is no export, or it is broken.
    """
    from rs_embed.export.reading import load_export as load

    return unwrap_or_raise(load(path))
