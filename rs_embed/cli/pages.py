"""Facts of the catalogue as tables and pages; the documentation shows the same ones."""

from __future__ import annotations

from returns.result import Failure
from rich.table import Table

from rs_embed.core.model import InputSpec, ModelSpec, Variant, WeightRecord
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import MODEL_SPECS, find_model


def models_table() -> Table:
    """Every model of the catalogue, one row each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "what", "variants", "bands", "pixel", "window", "token", "width"):
        table.add_column(title, overflow="fold")
    for spec in MODEL_SPECS.values():
        default = next(v for v in spec.variants if v.name == spec.default_variant)
        bands = next(iter(spec.modalities.values()))
        table.add_row(
            spec.id,
            spec.title,
            ", ".join(v.name + ("*" if v is default else "") for v in spec.variants),
            str(sum(len(item.bands) for item in bands)),
            f"{spec.scale_m:g} m",
            f"{default.window_px or spec.window_px} px",
            f"{default.token_px or spec.token_px} px",
            str(default.dim),
        )
    return table


def info_page(choice: str) -> list[str]:
    """What a person asks of one model, line by line."""
    model = unwrap_or_raise(find_model(choice))
    spec = model.spec
    lines = [
        f"{spec.id}: {spec.title}",
        spec.summary,
        "",
        f"variant     {model.variant.name} (of {', '.join(v.name for v in spec.variants)})",
        f"output      {model.dim} features a cell of {model.token_px * spec.scale_m:g} m",
        f"pooling     mean, max{', model: ' + spec.image_vector if spec.image_vector else ''}",
        f"window      {model.window_px} px of {spec.scale_m:g} m, tokens of {model.token_px} px",
        f"time        {_time(spec)}",
    ]
    for name, items in spec.modalities.items():
        mark = " (default)" if name == model.modality else ""
        lines.append(f"modality    {name}{mark}")
        lines += [f"            {_input(item)}" for item in items]
    for o in spec.options:
        allowed = f" of {', '.join(map(str, o.choices))}" if o.choices else ""
        lines.append(f"option      {o.name}={o.default} ({o.kind.__name__}{allowed}): {o.meaning}")
    lines.append(f"weights     {weights_state(model.variant)}")
    lines.append(f"licence     {spec.licence}")
    lines.append(f"citation    {spec.citation}")
    lines += [f"link        {link}" for link in spec.links]
    return lines


def weights_table() -> Table:
    """Every variant with its weights, one row each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("model", "where", "file", "size", "pinned", "here"):
        table.add_column(title, overflow="fold")
    for spec in MODEL_SPECS.values():
        for variant in spec.variants:
            record = variant.weights
            name = f"{spec.id}:{variant.name}"
            if record is None:
                table.add_row(name, "needs none", "", "", "", "")
                continue
            table.add_row(
                name, record.repo or record.url or "", record.filename, size_text(record),
                "yes" if record.sha256 else "revision" if record.revision else "no",
                "yes" if _here(record) else "no",
            )  # fmt: skip
    return table


def weights_state(variant: Variant) -> str:
    """One line on the weights of a variant."""
    record = variant.weights
    if record is None:
        return "none needed"
    where = f"{record.repo or record.url}/{record.filename}"
    pin = "SHA-256 known" if record.sha256 else "revision known" if record.revision else "unpinned"
    return f"{where}, {size_text(record)}, {pin}, {'here' if _here(record) else 'not here yet'}"


def size_text(record: WeightRecord) -> str:
    """The size of a file for people; "about" where it is rounded."""
    size = record.size or record.approx_size
    if size is None:
        return "size unknown"
    text = f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
    return text if record.size else f"about {text}"


def _time(spec: ModelSpec) -> str:
    return {
        "single": "one composite of the window",
        "months": f"calendar months, at most {spec.cadence.frames}",
        "equal": f"{spec.cadence.frames} bin{'s' * (spec.cadence.frames > 1)} of equal length",
        "none": "none",
    }[spec.cadence.kind]


def _input(item: InputSpec) -> str:
    where = f" from {item.collection}" if item.collection else ""
    return f"{item.name}: {', '.join(item.bands)} in {item.units}{where}"


def _here(record: WeightRecord) -> bool:
    from rs_embed.embedders.store import installed
    from rs_embed.embedders.transfer import hub_cached

    if isinstance(installed("huggingface_hub"), Failure) or record.repo is None:
        return False
    return hub_cached(record) is not None
