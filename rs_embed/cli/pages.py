"""Facts of the catalogue as rows and named lines; the documentation shows the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from returns.result import Failure

from rs_embed.core.model import InputSpec, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import MODEL_SPECS, find_model

if TYPE_CHECKING:
    from rs_embed.pipeline.fitting import ModelFit

MODELS_HEAD = ("model", "variants", "bands", "pixel", "window", "cell", "features", "runs on")
FITS_HEAD = ("model", "fits", "why not")
WEIGHTS_HEAD = ("weights", "size", "pinned by", "here")


def models_rows() -> list[tuple[str, ...]]:
    """Every model of the catalogue, one row each; the default variant has a star."""
    return [_models_row(spec) for spec in MODEL_SPECS.values()]


def fits_rows(fits: Sequence[ModelFit]) -> list[tuple[str, ...]]:
    """Every model with whether it fits an array, those that do first."""
    ordered = sorted(fits, key=lambda fit: not fit.fits)
    return [(fit.model, "yes" if fit.fits else "no", "; ".join(fit.reasons)) for fit in ordered]


def weights_rows() -> list[tuple[str, ...]]:
    """Every variant with its weights, one row each."""
    rows: list[tuple[str, ...]] = []
    for spec in MODEL_SPECS.values():
        for variant in spec.variants:
            name, record = f"{spec.id}:{variant.name}", variant.weights
            if record is None:
                rows.append((name, "needs none", "", ""))
                continue
            here = "yes" if is_here(record) else "no"
            rows.append((name, size_text(record), pinned_by(record), here))
    return rows


def info_facts(choice: str) -> list[tuple[str, str]]:
    """What a person asks of one model, name by name."""
    model = unwrap_or_raise(find_model(choice))
    spec, variant = model.spec, model.variant
    others = ", ".join(v.name for v in spec.variants if v is not variant)
    facts = [
        ("model", f"{spec.id}: {spec.title}"),
        ("", spec.summary),
        ("variant", variant.name + (f" (others: {others})" if others else "")),
        ("output", f"{model.dim} features a cell of {model.token_px * model.scale_m:g} m"),
        ("pooling", f"mean, max{'; model: ' + spec.image_vector if spec.image_vector else ''}"),
        ("window", f"{model.window_px} px of {model.scale_m:g} m; a token is {model.token_px} px"),
        ("time", time_text(spec)),
    ]
    for name, items in spec.modalities.items():
        mark = " (default)" if name == model.modality else ""
        facts.append(("modality", f"{name}{mark}"))
        facts += [("", input_text(item)) for item in items]
    facts += [("option", option_text(option)) for option in spec.options]
    facts += [("own rule", rule) for rule in spec.assumptions]
    if spec.aliases:
        facts.append(("also called", ", ".join(spec.aliases)))
    facts += [("weights", line) for line in weights_lines(variant)]
    facts += [("licence", spec.licence), ("citation", spec.citation)]
    facts += [("link", link) for link in spec.links]
    return facts


def weights_lines(variant: Variant) -> list[str]:
    """Where the weights of a variant lie, how they are known, and whether they are here."""
    record = variant.weights
    if record is None:
        return ["none needed"]
    here = "here" if is_here(record) else "not here yet: rs-embed weights fetch"
    return [place(record), f"{size_text(record)}; pinned by {pinned_by(record)}; {here}"]


def place(record: WeightRecord) -> str:
    """Repository and file, or the address of the file."""
    return record.url or f"{record.repo}/{record.filename}"


def pinned_by(record: WeightRecord) -> str:
    """What fixes the bytes."""
    pins = [
        name
        for name, value in (
            ("revision", record.revision),
            ("SHA-256", record.sha256),
            ("MD5", record.md5),
        )
        if value is not None
    ]
    return ", ".join(pins) or "nothing yet"


def size_text(record: WeightRecord) -> str:
    """The size of a file for people; "about" where it is rounded."""
    size = record.size or record.approx_size
    if size is None:
        return "size unknown"
    text = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    return text if record.size else f"about {text}"


def time_text(spec: ModelSpec) -> str:
    """How a model sees time."""
    frames = spec.cadence.frames
    return {
        "single": "one composite of the window",
        "months": f"one composite a calendar month, at most {frames}",
        "equal": f"{frames} bin{'s' * (frames > 1)} of equal length",
        "none": "none",
    }[spec.cadence.kind]


def input_text(item: InputSpec) -> str:
    """One kind of imagery in a line."""
    where = f", from {item.collection}" if item.collection else ""
    units = "" if item.units == "1" else f" in {item.units}"
    own = f", {item.scale_m:g} m a pixel" if item.scale_m else ""
    return f"{item.name}: {bands_text(item.bands)}{units}{own}{where}"


def bands_text(bands: tuple[str, ...]) -> str:
    """The names of bands; of many, the first and the last."""
    if len(bands) > 20:
        return f"{bands[0]} to {bands[-1]} ({len(bands)})"
    return ", ".join(bands)


def is_product(spec: ModelSpec) -> bool:
    """Whether published vectors are read and nothing is computed."""
    from rs_embed.embedders.runtime import function

    return function(spec, "build") is None


def option_text(option: Option) -> str:
    """One option in a line."""
    allowed = f" of {', '.join(map(str, option.choices))}" if option.choices else ""
    return f"{option.name}={option.default} ({option.kind.__name__}{allowed}): {option.meaning}"


def default_variant(spec: ModelSpec) -> Variant:
    """The variant that an id alone means."""
    return next(v for v in spec.variants if v.name == spec.default_variant)


def band_count(spec: ModelSpec) -> int:
    """Bands of the default modality."""
    return sum(len(item.bands) for item in next(iter(spec.modalities.values())))


def is_here(record: WeightRecord) -> bool:
    """Whether the file lies in the cache; asks no server."""
    from rs_embed.embedders.store import find_kept, installed

    if isinstance(installed("huggingface_hub"), Failure):
        return False
    return find_kept(record) is not None


def _models_row(spec: ModelSpec) -> tuple[str, ...]:
    default = default_variant(spec)
    token = default.token_px or spec.token_px
    return (
        spec.id,
        ", ".join(v.name + "*" * (v is default) for v in spec.variants),
        str(band_count(spec)),
        f"{spec.scale_m:g} m",
        f"{default.window_px or spec.window_px} px",
        f"{token * spec.scale_m:g} m",
        str(default.dim),
        "a product" if is_product(spec) else "torch" if spec.device else "numpy",
    )
