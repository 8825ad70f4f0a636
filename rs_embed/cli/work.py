"""What the commands do, as plain functions: read the words, call, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_embed.cli import console
from rs_embed.cli.usage import WrongUsageError
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelChoice, Option, Scalar, WeightRecord
from rs_embed.core.result import Outcome, unwrap_or_raise
from rs_embed.core.specs import OutputSpec, PointBuffer, TemporalSpec
from rs_embed.embedders.catalog import find_model, find_spec

if TYPE_CHECKING:
    from rs_embed.pipeline.array_report import ArrayReport
    from rs_embed.pipeline.fitting import ModelFit
    from rs_embed.pipeline.options import ArrayOptions, EmbedOptions, Progress


@dataclass(frozen=True, slots=True)
class CliArgs:
    """The words of ``embed`` and ``check`` that decide the numbers."""

    model: str
    modality: str | None = None
    options: tuple[str, ...] = ()
    weights: str | None = None
    start: str | None = None
    end: str | None = None
    bands: tuple[str, ...] = ()
    units: str | None = None
    crs: str | None = None
    time: str = "each"
    pooled: bool = False
    pooling: str | None = None
    input_prep: str = "native"
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """The words that belong to LON,LAT and not to a raster."""

    buffer_m: float | None = None
    backend: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Where the result goes, and whether a file of another origin may be replaced by it."""

    path: Path
    overwrite: bool = False


def embed_to_file(
    target: str, out: Output, request: CliArgs, place: Place, device: str, batch_size: int | None
) -> str:
    """Embed a raster or a place and write it; one line on what was written.

    The place of the result is tried before anything is read.
    """
    choice, lonlat = _choice(request), _lonlat(target)
    read = [target if lonlat is None else place.source, request.weights]
    unwrap_or_raise(_tried(out, request, [name for name in read if name]))
    with console.progress(request.model) as report:
        if lonlat is None:
            _only("LON,LAT", buffer_m=place.buffer_m, backend=place.backend, source=place.source)
            shape = _raster(Path(target), out, request, choice, device, batch_size, report)
        else:
            time = request.time if request.time != "each" else None
            _only("a raster", bands=request.bands, units=request.units, crs=request.crs, time=time)
            found = _place(lonlat, request, place, choice, device, batch_size, report)
            found.save(out.path, overwrite=out.overwrite)
            shape = found.data.shape
    size = " x ".join(map(str, shape))
    return f"{out.path}  {choice.id}:{choice.variant}, {size} float32"


def check_raster(raster: Path, request: CliArgs) -> ArrayReport:
    """What embedding a raster would do."""
    from rs_embed.pipeline.arrays import check_array
    from rs_embed.providers.files import open_path

    with unwrap_or_raise(open_path(raster)) as opened:
        return unwrap_or_raise(check_array(opened, _choice(request), *_options(request)))


def fits_of(
    raster: Path, bands: tuple[str, ...], units: str | None, crs: str | None
) -> tuple[ModelFit, ...]:
    """Which models fit a raster."""
    from rs_embed.pipeline.fitting import fitting_models
    from rs_embed.providers.files import open_path

    with unwrap_or_raise(open_path(raster)) as opened:
        return unwrap_or_raise(
            fitting_models(opened, bands=_bands(bands), units=units, crs=_crs(crs))
        )


def verify_model(model: str, fixtures: Path | None) -> bool:
    """Run every fixture of a model and print a line each; whether all agree."""
    from rs_embed.embedders.runtime import function
    from rs_embed.embedders.store import installed

    spec = unwrap_or_raise(find_spec(model.partition(":")[0]))
    if function(spec, "build") is None or not spec.device:
        raise ModelError(
            f"{spec.id} has no authors' code to be compared with; the project's tests hold its "
            "stored values"
        )
    unwrap_or_raise(installed("torch", "timm"))
    from rs_embed.parity import DATA, compare, fixtures_of

    found = fixtures_of(spec.id, fixtures or DATA)
    if not found:
        where = fixtures or "the package"
        raise ModelError(f"{where} holds no fixture of {spec.id}; name a folder with --fixtures")
    good = True
    for path in found:
        with console.busy(path.stem):
            compared = compare(path)
        passed = all(one.passed for one in compared)
        good &= passed
        worst = max(one.difference for one in compared)
        share = max(one.share for one in compared)
        console.say(
            f"{'ok  ' if passed else 'FAIL'}  {path.stem}  largest difference {worst:.1e}, "
            f"{share:.0%} of the allowed"
        )
    return good


def fetch_weights(model: str, yes: bool) -> str:
    """Download the weights of a model; one line with the file's place, size and hash."""
    from rs_embed.embedders import store

    _, name, record = _weights_of(model)
    if record is None:
        return f"{name} needs no weights"
    consent = (lambda _, __: True) if yes else store.ask
    path = unwrap_or_raise(store.locate(record, consent=consent, model=name))
    if record.restricted:
        console.note(f"licence: {record.licence}")
    return _told(path, store.provenance(record, path))


def verify_weights(model: str, file: Path | None) -> Iterator[str]:
    """Check weights that are here; lines on what was checked."""
    from rs_embed.embedders import store
    from rs_embed.embedders.runtime import load

    chosen, name, record = _weights_of(model)
    if record is None:
        yield f"{name} needs no weights"
        return
    unwrap_or_raise(store.installed("huggingface_hub"))
    if file is None and store.find_kept(record) is None:
        raise ModelError(f"the weights of {name} are not here; run rs-embed weights fetch {name}")
    local = None if file is None else str(file)
    path = unwrap_or_raise(store.locate(record, local=local, model=name))
    known = store.provenance(record, path)
    yield _told(path, known)
    if known["published"] is False:
        raise ModelError(f"these are not the published bytes of {name}, SHA-256 {record.sha256}")
    yield "these are the published bytes" if known["published"] else "no hash is published"
    choice = ModelChoice(chosen.id, chosen.variant.name, weights=local)
    unwrap_or_raise(find_model(choice).bind(lambda one: load(one, "cpu")))
    yield "every key fits the model"


def _weights_of(model: str) -> tuple[Model, str, WeightRecord | None]:
    chosen = unwrap_or_raise(find_model(model))
    return chosen, f"{chosen.id}:{chosen.variant.name}", chosen.variant.weights


def _told(path: Path, known: dict[str, Any]) -> str:
    return f"{path}  {known['size']} bytes, SHA-256 {known['sha256']}"


def _raster(
    path: Path,
    out: Output,
    request: CliArgs,
    choice: ModelChoice,
    device: str,
    batch_size: int | None,
    report: Progress | None,
) -> tuple[int, ...]:
    from rs_embed.export.files import save
    from rs_embed.pipeline.arrays import check_array, embed_array
    from rs_embed.providers.files import open_path

    with unwrap_or_raise(open_path(path)) as opened:
        tiles = unwrap_or_raise(check_array(opened, choice, *_options(request))).tiles
        if tiles is not None:
            unwrap_or_raise(
                _tried(out, request, [path], values=tiles.output_bytes, dims=tiles.dims)
            )
        array = unwrap_or_raise(
            embed_array(opened, choice, *_options(request, device, batch_size, report))
        )
    unwrap_or_raise(save(array, out.path, overwrite=out.overwrite, sources=[path]))
    return tuple(array.shape)


def _tried(
    out: Output,
    request: CliArgs,
    read: Sequence[str | Path],
    *,
    values: int = 0,
    dims: Sequence[str] = (),
) -> Outcome[Path]:
    """Whether the result can be written without a loss to what is read or to anyone else."""
    from rs_embed.export.targets import check_target

    return check_target(
        out.path, pooled=request.pooled, dims=dims, sources=read, overwrite=out.overwrite,
        values=values,
    )  # fmt: skip


def _place(
    lonlat: tuple[float, float],
    request: CliArgs,
    place: Place,
    choice: ModelChoice,
    device: str,
    batch_size: int | None,
    report: Progress | None,
) -> Embedding:
    from rs_embed.api import get_embedding

    return get_embedding(
        choice,
        spatial=PointBuffer(*lonlat, 1280 if place.buffer_m is None else place.buffer_m),
        temporal=_temporal(request),
        output=_output(request),
        backend=place.backend or "gee",
        source=place.source,
        device=device,
        input_prep=request.input_prep,
        overlap=request.overlap,
        batch_size=batch_size,
        progress=report,
    )


def _options(
    request: CliArgs,
    device: str = "auto",
    batch_size: int | None = None,
    report: Progress | None = None,
) -> tuple[EmbedOptions, ArrayOptions]:
    """The request as ``embed_array`` and ``check_array`` take it."""
    from rs_embed.pipeline.options import ArrayOptions, EmbedOptions

    options = EmbedOptions(
        _output(request), _temporal(request), device=device, input_prep=request.input_prep,
        overlap=request.overlap, batch_size=batch_size, progress=report,
    )  # fmt: skip
    bands = _bands(request.bands)
    return options, ArrayOptions(bands, request.units, request.time, _crs(request.crs))


def _crs(text: str | None) -> str | tuple[str, str] | None:
    """``EPSG:32719``, or ``override=EPSG:32719``, as the functions take it."""
    word, told, name = (text or "").partition("=")
    return ("override", name) if told and word == "override" else text


def _output(request: CliArgs) -> OutputSpec:
    if request.pooled:
        pooling: Any = request.pooling or "mean"
        return OutputSpec.pooled(pooling)
    if request.pooling is not None:
        raise WrongUsageError("--pooling goes with --pooled; a grid is not pooled")
    return OutputSpec.grid()


def _temporal(request: CliArgs) -> TemporalSpec | None:
    if request.start is None and request.end is None:
        return None
    if request.start is None or request.end is None:
        raise WrongUsageError("--start and --end go together; --end is the date after the last")
    return TemporalSpec.range(request.start, request.end)


def _only(what: str, **given: object) -> None:
    """SpecError for words that this kind of target does not take, rather than silence."""
    words = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if words:
        raise WrongUsageError(f"{', '.join(words)} only goes with {what}")


def _lonlat(text: str) -> tuple[float, float] | None:
    """The two numbers of ``lon,lat``; None where the text is a path."""
    parts = text.split(",")
    if len(parts) != 2 or Path(text).exists():
        return None
    try:
        return float(parts[0]), float(parts[1])
    except ValueError:
        return None


def _bands(words: tuple[str, ...]) -> dict[str, str] | tuple[str, ...] | None:
    """Stand-ins ``WANTED=HAVE``, or the names of all bands in order, separated by commas."""
    if not words:
        return None
    if len(words) == 1 and "=" not in words[0]:
        return tuple(name.strip() for name in words[0].split(","))
    named = {}
    for pair in words:
        wanted, equals, have = pair.partition("=")
        if not (wanted and equals and have):
            raise WrongUsageError(f"--bands takes WANTED=HAVE such as B8A=B8, not {pair!r}")
        named[wanted] = have
    return named


def _choice(request: CliArgs) -> ModelChoice:
    chosen = unwrap_or_raise(find_model(request.model))
    known = {option.name: option for option in chosen.spec.options}
    values: dict[str, Scalar] = {}
    for pair in request.options:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise WrongUsageError(f"--option takes NAME=VALUE such as window_px=64, not {pair!r}")
        values[name] = _value(known[name], text) if name in known else text
    choice = ModelChoice(
        chosen.id, chosen.variant.name, request.modality, values, weights=request.weights
    )
    unwrap_or_raise(find_model(choice))
    return choice


def _value(option: Option, text: str) -> Scalar:
    kinds: dict[type, Callable[[str], Scalar]] = {bool: _truth, int: int, float: float}
    try:
        return kinds.get(option.kind, str)(text)
    except ValueError:
        raise ModelError(
            f"option {option.name} takes {option.kind.__name__}, not {text!r}: {option.meaning}"
        ) from None


def _truth(text: str) -> bool:
    if text.lower() in ("true", "yes", "1", "false", "no", "0"):
        return text.lower() in ("true", "yes", "1")
    raise ValueError(text)
