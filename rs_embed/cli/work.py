"""What the commands do, as plain functions: parse, call, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_embed.cli import console
from rs_embed.core.embedding import Embedding
from rs_embed.core.errors import ModelError, SpecError
from rs_embed.core.model import ModelChoice, Option, Scalar
from rs_embed.core.result import unwrap_or_raise
from rs_embed.core.specs import OutputSpec, PointBuffer, TemporalSpec
from rs_embed.embedders.catalog import find_model, find_spec


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of ``rs-embed embed``."""

    target: str
    model: str
    out: Path
    pooled: bool
    buffer_m: float
    start: str | None
    end: str | None
    backend: str
    source: str | None
    bands: tuple[str, ...]
    units: str | None
    options: tuple[str, ...]
    weights: str | None
    overlap: int
    device: str


def embed_to_file(request: Request) -> Iterator[str]:
    """Embed a raster or a place and write it; a line on what was written."""
    from rs_embed.georef import check_suffix

    unwrap_or_raise(check_suffix(request.out, pooled=request.pooled))
    choice = _choice(request.model, request.options, request.weights)
    place = _lonlat(request.target)
    with console.progress(request.model) as report:
        if place is None:
            embedding = _raster(request, choice, report)
        else:
            embedding = _place(request, choice, place, report)
    path = embedding.save(request.out)
    meta = embedding.meta
    yield f"{path}  {meta['model']}:{meta['variant']} {tuple(embedding.data.shape)} float32"


def check_raster(raster: Path, model: str, bands: tuple[str, ...], units: str | None) -> Any:
    """The report of what embedding a raster would do."""
    from rs_embed.arrays import check_array
    from rs_embed.providers.local import open_path

    with unwrap_or_raise(open_path(raster)) as opened:
        return unwrap_or_raise(
            check_array(opened, model, bands=_stand_ins(bands) or None, units=units)
        )


def verify_model(model: str, fixtures: Path | None) -> bool:
    """Run every fixture of a model and print a line each; whether all agree."""
    from rs_embed.parity import DATA, compare, fixtures_of

    spec = unwrap_or_raise(find_spec(model.partition(":")[0]))
    found = fixtures_of(spec.id, fixtures or DATA)
    if not found:
        raise ModelError(
            f"{fixtures or 'the package'} holds no fixture of {spec.id}; "
            "name a folder with --fixtures"
        )
    good = True
    for path in found:
        compared = compare(path)
        worst = max(one.difference for one in compared)
        passed = all(one.passed for one in compared)
        good &= passed
        console.say(f"{'ok  ' if passed else 'FAIL'} {path.stem}: largest difference {worst:.2e}")
    return good


def fetch_weights(model: str, yes: bool) -> Iterator[str]:
    """Download the weights of a model; a line with the file's place and hash."""
    from rs_embed.embedders import store

    chosen = unwrap_or_raise(find_model(model))
    record = chosen.variant.weights
    name = f"{chosen.id}:{chosen.variant.name}"
    if record is None:
        yield f"{name} needs no weights"
        return
    consent = (lambda _, __: True) if yes else store.ask
    path = unwrap_or_raise(store.locate(record, consent=consent, model=name))
    known = store.provenance(record, path)
    yield f"{path}  {known['size']} bytes, SHA-256 {known['sha256']}"
    if record.restricted:
        console.note(f"licence: {record.licence}")


def verify_weights(model: str, file: Path | None) -> Iterator[str]:
    """Check weights that are here; lines on what was checked."""
    from rs_embed.embedders import store
    from rs_embed.embedders.run import load
    from rs_embed.embedders.transfer import hub_cached

    chosen = unwrap_or_raise(find_model(model))
    record, name = chosen.variant.weights, f"{chosen.id}:{chosen.variant.name}"
    if record is None:
        yield f"{name} needs no weights"
        return
    if file is None and hub_cached(record) is None:
        raise ModelError(f"the weights of {name} are not here; rs-embed weights fetch {name}")
    local = None if file is None else str(file)
    path = unwrap_or_raise(store.locate(record, local=local, model=name))
    known = store.provenance(record, path)
    yield f"{path}  {known['size']} bytes, SHA-256 {known['sha256']}"
    if known["published"] is False:
        raise ModelError(f"these are not the published bytes of {name}: {record.sha256} is")
    yield "the published bytes" if known["published"] else "no hash is recorded to compare with"
    choice = ModelChoice(chosen.id, chosen.variant.name, weights=local)
    unwrap_or_raise(find_model(choice).bind(lambda one: load(one, "cpu")))
    yield "every key fits the model"


def _raster(request: Request, choice: ModelChoice, report: Any) -> Embedding:
    from rs_embed.arrays import embed_array
    from rs_embed.georef import embedding_of
    from rs_embed.providers.local import open_path

    temporal = _temporal(request)
    with unwrap_or_raise(open_path(Path(request.target))) as opened:
        array = unwrap_or_raise(
            embed_array(
                opened, choice, output=_output(request), temporal=temporal,
                bands=_stand_ins(request.bands) or None, units=request.units,
                device=request.device, overlap=request.overlap, progress=report,
            )
        )  # fmt: skip
    return embedding_of(array)


def _place(
    request: Request, choice: ModelChoice, place: tuple[float, float], report: Any
) -> Embedding:
    from rs_embed.api import get_embedding

    return get_embedding(
        choice,
        spatial=PointBuffer(*place, request.buffer_m),
        temporal=_temporal(request),
        output=_output(request),
        backend=request.backend,
        source=request.source,
        device=request.device,
        overlap=request.overlap,
        progress=report,
    )


def _output(request: Request) -> OutputSpec:
    return OutputSpec.pooled() if request.pooled else OutputSpec.grid()


def _temporal(request: Request) -> TemporalSpec | None:
    if request.start is None and request.end is None:
        return None
    if request.start is None or request.end is None:
        raise SpecError("--start and --end go together; --end is the date after the last")
    return TemporalSpec.range(request.start, request.end)


def _lonlat(text: str) -> tuple[float, float] | None:
    """The two numbers of ``lon,lat``; None where the text is a path."""
    parts = text.split(",")
    if len(parts) != 2 or Path(text).exists():
        return None
    try:
        return float(parts[0]), float(parts[1])
    except ValueError:
        return None


def _stand_ins(pairs: tuple[str, ...]) -> dict[str, str]:
    named = {}
    for pair in pairs:
        wanted, equals, found = pair.partition("=")
        if not (wanted and equals and found):
            raise SpecError(f"--bands takes MODEL=FILE such as B8A=B8, not {pair!r}")
        named[wanted] = found
    return named


def _choice(model: str, options: tuple[str, ...], weights: str | None) -> ModelChoice:
    chosen = unwrap_or_raise(find_model(model))
    known = {option.name: option for option in chosen.spec.options}
    values: dict[str, Scalar] = {}
    for pair in options:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise SpecError(f"--option takes NAME=VALUE such as overlap=2, not {pair!r}")
        values[name] = _value(known[name], text) if name in known else text
    return ModelChoice(chosen.id, chosen.variant.name, options=values, weights=weights)


def _value(option: Option, text: str) -> Scalar:
    read: Callable[[str], Scalar] = {"bool": _truth, "int": int, "float": float}.get(
        option.kind.__name__, str
    )
    try:
        return read(text)
    except ValueError:
        raise ModelError(
            f"option {option.name} takes {option.kind.__name__}, not {text!r}: {option.meaning}"
        ) from None


def _truth(text: str) -> bool:
    if text.lower() in ("true", "yes", "1", "false", "no", "0"):
        return text.lower() in ("true", "yes", "1")
    raise ValueError(text)
