"""What an export is asked for, and what is wrong with it: told before any request is made."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from returns.result import Failure, Success

from rs_embed.core import specs
from rs_embed.core.choice import parse_choice
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.model import Model, ModelChoice
from rs_embed.core.result import Outcome, collect
from rs_embed.core.scalars import tidy_scalars
from rs_embed.core.specs import OutputSpec, SensorSpec, SpatialSpec, TemporalSpec
from rs_embed.embedders.catalog import find_model

FORMATS: Mapping[str, str] = {
    "npz": ".npz",
    "netcdf": ".nc",
    "zarr": ".zarr",
    "geoparquet": ".parquet",
    "cog": ".tif",
}
"""What an export is written as, and the suffix of its files."""
DTYPES = ("float32", "float16", "int8")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_LONGEST_NAME = 200  # bytes; a suffix and a scratch prefix still fit in the 255 of file systems


_FLAGS = (
    "save_inputs", "save_embeddings", "save_manifest", "fail_on_bad_input", "continue_on_error",
    "async_write", "resume", "show_progress",
)  # fmt: skip
_LEAST = {"chunk_size": 1, "num_workers": 1, "writer_workers": 1, "max_retries": 0}


@dataclass(frozen=True)
class ExportRequest:
    """Everything that `rs_embed.export_batch` was asked; its docstring says what each means.

    ``one_place`` is `rs_embed.export_npz`: one place, as its own file at ``out_path``.
    """

    spatials: Sequence[SpatialSpec]
    temporal: TemporalSpec | None
    models: Sequence[str | ModelChoice]
    out_dir: str | None = None
    out_path: str | None = None
    names: Sequence[str] | None = None
    backend: str = "gee"
    device: str = "auto"
    output: OutputSpec = field(default_factory=OutputSpec.pooled)
    sensor: SensorSpec | None = None
    per_model_sensors: Mapping[str, SensorSpec] | None = None
    format: str = "npz"
    save_inputs: bool = True
    save_embeddings: bool = True
    save_manifest: bool = True
    fail_on_bad_input: bool = False
    chunk_size: int = 16
    num_workers: int = 8
    continue_on_error: bool = False
    max_retries: int = 0
    retry_backoff_s: float = 0.0
    async_write: bool = True
    writer_workers: int = 2
    resume: bool = False
    show_progress: bool = True
    source: Any = None
    input_prep: str = "native"
    overlap: int = 0
    batch_size: int | None = None
    dtype: str = "float32"
    one_place: bool = False

    def __post_init__(self) -> None:
        tidy_scalars(self, *_FLAGS, *_LEAST, "retry_backoff_s", "overlap", "batch_size")


def check_export(request: ExportRequest) -> Outcome[ExportRequest]:
    """The request itself, or the first thing that is wrong with it; asks no source.

    Fails with SpecError for places, dates, names, paths, sizes and flags, with ModelError for
    models and formats.
    """
    return collect(
        check
        for part in (_check_places, _check_models, _check_paths, _check_names, _check_settings)
        for check in part(request)
    ).map(lambda _: request)


def _check_places(request: ExportRequest) -> Iterable[Outcome[Any]]:
    given = request.spatials
    if not isinstance(given, list | tuple) or not given:
        yield Failure(SpecError("spatials must be a non-empty list of BBox or PointBuffer"))
        return
    for i, spatial in enumerate(given):
        found = specs.check_spatial(spatial)
        yield found.alt(lambda error, i=i: SpecError(f"spatials[{i}] {given[i]}: {error}"))  # type: ignore[misc]
    yield Success(None) if request.temporal is None else specs.check_temporal(request.temporal)
    yield specs.check_output(request.output)


def _check_models(request: ExportRequest) -> Iterable[Outcome[Any]]:
    if not isinstance(request.models, list | tuple) or not request.models:
        yield Failure(
            ModelError(f"models must be a non-empty list of model ids, not {request.models!r}")
        )
        return
    yield labels(request.models)
    if request.sensor is not None:
        yield specs.check_sensor(request.sensor)
    given = request.per_model_sensors
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield Failure(SpecError(f"per_model_sensors must map models to sensors, not {given!r}"))
        return
    known = labels(request.models)
    for key, sensor in given.items():
        if isinstance(known, Success) and key not in known.unwrap():
            yield Failure(
                SpecError(
                    f"per_model_sensors names {key!r}, which is none of the models "
                    f"{', '.join(known.unwrap())}; use the same words in both"
                )
            )
        yield specs.check_sensor(sensor)


def labels(models: Sequence[str | ModelChoice]) -> Outcome[tuple[str, ...]]:
    """What each model is called in an export, in order: the string given.

    A ModelChoice is called ``id`` or ``id:variant``; one that would be called as another before
    it is, is ``id:variant#k``, k counting from 2.

    Fails with ModelError for an unknown model, with SpecError for one that is given twice.
    """
    return collect(find_model(one) for one in models).bind(lambda found: _labelled(models, found))


def _labelled(
    models: Sequence[str | ModelChoice], found: Sequence[Model]
) -> Outcome[tuple[str, ...]]:
    made: list[str] = []
    seen: dict[Any, str] = {}
    for given, model in zip(models, found, strict=True):
        identity = model_key(model)
        if identity in seen:
            return Failure(
                SpecError(
                    f"the model {_called(given)!r} is given twice (as {seen[identity]!r} too)"
                )
            )
        label, count = _called(given), 1
        while label in made:
            count += 1
            label = f"{model.id}:{model.variant.name}#{count}"
        seen[identity] = label
        made.append(label)
    return Success(tuple(made))


def _called(given: str | ModelChoice) -> str:
    if isinstance(given, str):
        return given
    return f"{given.id}:{given.variant}" if given.variant else given.id


def model_key(model: Model) -> tuple[Any, ...]:
    """What tells one model of a request from another."""
    options = tuple(sorted(model.options.items()))
    return model.id, model.variant.name, model.modality, options, model.weights, model.backend


def _check_paths(request: ExportRequest) -> Iterable[Outcome[Any]]:
    if (request.out_dir is None) == (request.out_path is None):
        what = "neither" if request.out_dir is None else "both"
        yield Failure(
            SpecError(
                f"{what} of out_dir and out_path is given; choose out_dir for a file a place or "
                "out_path for one file"
            )
        )
        return
    name = "out_dir" if request.out_path is None else "out_path"
    given = request.out_dir if request.out_path is None else request.out_path
    if not isinstance(given, str | PurePath) or not str(given).strip():
        yield Failure(SpecError(f"{name} must be a path, not {given!r}"))
        return
    if not isinstance(request.format, str) or request.format not in FORMATS:
        yield Failure(
            ModelError(
                f"there is no export format {request.format!r}; choose from {', '.join(FORMATS)}"
            )
        )
        return
    if request.out_path is not None:
        yield with_suffix(PurePath(request.out_path).name, request.format)
    yield from _check_format(request)


def _check_format(request: ExportRequest) -> Iterable[Outcome[Any]]:
    form, pooled = request.format, request.output.mode == "pooled"
    if form == "geoparquet" and not pooled:
        yield Failure(SpecError("geoparquet holds vectors; use output=OutputSpec.pooled()"))
    if form == "cog" and pooled:
        yield Failure(SpecError("cog holds grids; use output=OutputSpec.grid()"))
    if form == "cog" and request.out_path is not None:
        yield Failure(SpecError("a cog holds one grid; use out_dir, a file a place and model"))
    if form == "cog" and request.dtype != "float32":
        yield Failure(SpecError("cog holds float32; leave dtype out, or use format='zarr'"))
    if form == "geoparquet":
        from rs_embed.export.places.geoparquet import installed

        yield installed()
    if form in ("geoparquet", "cog") and request.save_inputs:
        yield Failure(
            SpecError(f"{form} holds embeddings alone; pass save_inputs=False, or use format='npz'")
        )


def _check_names(request: ExportRequest) -> Iterable[Outcome[Any]]:
    if request.one_place:
        yield file_names([PurePath(str(request.out_path)).name], 1, request.format)
    elif request.names is not None:
        yield file_names(request.names, len(request.spatials), request.format)


def _check_settings(request: ExportRequest) -> Iterable[Outcome[Any]]:
    for name in _FLAGS:
        value = getattr(request, name)
        if not isinstance(value, bool):
            yield Failure(SpecError(f"{name} must be True or False, not {value!r}"))
    if request.save_inputs is False and request.save_embeddings is False:
        yield Failure(
            SpecError("save_inputs and save_embeddings are both False: nothing would be saved")
        )
    for name, least in _LEAST.items():
        value = getattr(request, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield Failure(SpecError(f"{name} must be a whole number >= {least}, not {value!r}"))
    wait = request.retry_backoff_s
    if not isinstance(wait, int | float) or isinstance(wait, bool) or not 0 <= wait < 1e6:
        yield Failure(SpecError(f"retry_backoff_s must be seconds >= 0, not {wait!r}"))
    if request.dtype not in DTYPES:
        yield Failure(SpecError(f"dtype must be one of {', '.join(DTYPES)}, not {request.dtype!r}"))


def file_names(names: Sequence[str] | None, count: int, format: str) -> Outcome[tuple[str, ...]]:
    """The name of each of ``count`` places, without suffix: ``names``, or p00000, p00001, ...

    Fails with SpecError for a wrong count, and for a name that is no plain file name: with a
    separator, a leading dot, reserved by an operating system, too long, or given twice (letters
    of either case are one).
    """
    if names is None:
        return Success(tuple(f"p{i:05d}" for i in range(count)))
    if not isinstance(names, list | tuple):
        return Failure(SpecError(f"names must be a list of file names, not {names!r}"))
    if len(names) != count:
        return Failure(
            SpecError(f"names has {len(names)} entries for {count} places; give one each")
        )
    suffix = FORMATS[format]
    made: list[str] = []
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        problem = name_problem(name)
        if problem:
            return Failure(SpecError(f"names[{i}] {name!r} {problem}"))
        stem = name[: -len(suffix)] if name.lower().endswith(suffix) else name
        if not stem:
            return Failure(SpecError(f"names[{i}] {name!r} is a suffix alone; give it a name"))
        key = unicodedata.normalize("NFC", stem).casefold()
        if key in seen:
            return Failure(
                SpecError(f"names[{i}] {name!r} is the same file as names[{seen[key]}]; rename one")
            )
        seen[key] = i
        made.append(stem)
    return Success(tuple(made))


def name_problem(name: object) -> str | None:
    """Why a name cannot be that of a file, or None."""
    if not isinstance(name, str) or not name:
        return "is no text; names become file names"
    if _UNSAFE.search(name):
        return "has a separator or another character that file names cannot hold"
    if name.startswith("."):
        return "begins with a dot; such files are hidden or lie elsewhere"
    if name != name.strip() or name.endswith("."):
        return "begins or ends with a space or a dot"
    if _RESERVED.fullmatch(name):
        return "is reserved by an operating system"
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "is no valid text"
    if length > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    return None


def with_suffix(name: str, format: str) -> Outcome[str]:
    """A file's name with the format's suffix, which is added when missing.

    Fails with SpecError where the suffix is another format's.
    """
    suffix = FORMATS[format]
    if name.lower().endswith(suffix):
        return Success(name)
    others = {own: key for key, own in FORMATS.items() if key != format}
    found = next((own for own in others if name.lower().endswith(own)), None)
    if found is not None:
        return Failure(
            SpecError(
                f"{name!r} ends in {found}, but format={format!r} is written as {suffix}; pass "
                f"format={others[found]!r} or another name"
            )
        )
    return Success(f"{name}{suffix}")


def sensor_of(request: ExportRequest, label: str) -> SensorSpec | None:
    """The sensor of one model: its own, else the one of all."""
    own = (request.per_model_sensors or {}).get(label)
    return request.sensor if own is None else own


def backend_of(request: ExportRequest, choice: str | ModelChoice) -> Outcome[str]:
    """The backend of one model: its own, else the call's."""
    return parse_choice(choice).map(lambda parsed: parsed.backend or request.backend)
