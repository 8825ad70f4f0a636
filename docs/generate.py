"""Write what the catalogue knows into the documentation: model pages, their index, the README table.

    python docs/generate.py             write the pages from specs, notes and recorded differences
    python docs/generate.py --measure   run the parity fixtures first and record the differences

A test compares the files with what this writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rs_embed.cli.pages import size_text
from rs_embed.core.model import InputSpec, ModelSpec, Variant
from rs_embed.embedders.catalog import MODEL_SPECS

DOCS = Path(__file__).parent
FIDELITY = DOCS / "models" / "fidelity.json"


def pages() -> dict[Path, str]:
    """Every generated file and its text."""
    built = [MODEL_SPECS[name] for name in MODEL_SPECS if _built_in(MODEL_SPECS[name])]
    out = {DOCS / "models" / f"{spec.id}.md": model_page(spec) for spec in built}
    out[DOCS / "models" / "index.md"] = "# Models\n\n" + models_table(built, "") + "\n"
    readme = DOCS.parent / "README.md"
    before, _, rest = readme.read_text().partition("<!-- models -->\n")
    _, end, after = rest.partition("<!-- /models -->")
    table = models_table(built, "docs/models/")
    out[readme] = f"{before}<!-- models -->\n{table}\n{end}{after}"
    return out


def models_table(specs: list[ModelSpec], folder: str) -> str:
    """One row a model."""
    rows = [
        "| model | what | variants | bands | pixel | window | features | licence of the weights |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for spec in specs:
        default = _default(spec)
        bands = sum(len(item.bands) for item in next(iter(spec.modalities.values())))
        names = ", ".join(f"**{v.name}**" if v is default else v.name for v in spec.variants)
        rows.append(
            f"| [{spec.id}]({folder}{spec.id}.md) | {spec.title} | {names} | {bands} "
            f"| {spec.scale_m:g} m | {default.window_px or spec.window_px} px | {default.dim} "
            f"| {default.weights.licence if default.weights else 'none needed'} |"
        )
    return "\n".join(rows)


def model_page(spec: ModelSpec) -> str:
    """The page of a model: facts from its spec, then notes, then fidelity."""
    default = _default(spec)
    token = default.token_px or spec.token_px
    parts = [
        f"# {spec.id}",
        f"**{spec.title}.** {spec.summary}",
        f'On an array: `da.rsembed.embed("{spec.id}")`. At a place: '
        f'`get_embedding("{spec.id}", spatial=…, temporal=…)`.',
        "## Input",
        _inputs(spec),
        f"Pixels of {spec.scale_m:g} m in windows of {default.window_px or spec.window_px} px; a "
        f"token covers {token} px, {token * spec.scale_m:g} m. Time: {_time(spec)}.",
        "## Variants",
        _variants(spec),
        "## Options",
        _options(spec),
        "## Output",
        f"A grid `(feature, y, x)` of {default.dim} features, a cell of {token * spec.scale_m:g} m; "
        "pooled is the mean (or maximum) over the valid cells. "
        + (
            f"`pooling=\"model\"`: {spec.image_vector}."
            if spec.image_vector
            else "The authors define no image-level vector, so `pooling=\"model\"` is an error."
        ),
    ]
    notes = DOCS / "models" / f"{spec.id}.notes.md"
    if notes.exists():
        parts.append(notes.read_text().strip())
    parts += ["## Fidelity", _fidelity(spec), "## Licence and citation"]
    parts.append(f"{spec.licence}\n\n{spec.citation}\n\n" + "\n".join(f"- <{x}>" for x in spec.links))
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def measure() -> None:
    """Run every fixture there is and record the largest difference of each."""
    from rs_embed.parity import compare, fixtures_of

    folders = [DOCS.parent / "tests" / "parity" / "data", DOCS.parent.parent / "shared" / "parity"]
    found: dict[str, dict[str, float]] = {}
    for name in MODEL_SPECS:
        for folder in folders:
            for path in fixtures_of(name, folder) if folder.is_dir() else ():
                compared = compare(path)
                found.setdefault(name, {})[path.stem] = float(
                    f"{max(one.difference for one in compared):.1e}"
                )
    FIDELITY.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def _built_in(spec: ModelSpec) -> bool:
    return spec.prepare.startswith("rs_embed.")


def _default(spec: ModelSpec) -> Variant:
    return next(v for v in spec.variants if v.name == spec.default_variant)


def _inputs(spec: ModelSpec) -> str:
    rows = ["| modality | input | bands | units | collection |", "| --- | --- | --- | --- | --- |"]
    for i, (name, items) in enumerate(spec.modalities.items()):
        for item in items:
            rows.append(_input_row(f"**{name}**" if i == 0 else name, item))
    return "\n".join(rows)


def _input_row(name: str, item: InputSpec) -> str:
    bands = ", ".join(item.bands)
    kind = " (optional)" if item.optional else ""
    where = f"`{item.collection}`" if item.collection else "—"
    return f"| {name} | {item.name}{kind} | {bands} | {item.units} | {where} |"


def _variants(spec: ModelSpec) -> str:
    rows = ["| variant | features | file | size | pinned by |", "| --- | --- | --- | --- | --- |"]
    for v in spec.variants:
        name = f"**{v.name}**" if v.name == spec.default_variant else v.name
        if v.weights is None:
            rows.append(f"| {name} | {v.dim} | none needed | | |")
            continue
        pins = [n for n, x in (("revision", v.weights.revision), ("SHA-256", v.weights.sha256)) if x]
        rows.append(
            f"| {name} | {v.dim} | `{v.weights.repo or v.weights.url}` `{v.weights.filename}` "
            f"| {size_text(v.weights)} | {', '.join(pins) or 'nothing yet'} |"
        )
    return "\n".join(rows)


def _options(spec: ModelSpec) -> str:
    if not spec.options:
        return "None."
    rows = ["| option | default | meaning |", "| --- | --- | --- |"]
    for o in spec.options:
        allowed = f" One of {', '.join(map(str, o.choices))}." if o.choices else ""
        rows.append(f"| `{o.name}` | {o.default} | {o.meaning}.{allowed} |")
    return "\n".join(rows)


def _time(spec: ModelSpec) -> str:
    return {
        "single": "one composite of the window",
        "months": f"calendar months, at most {spec.cadence.frames}",
        "equal": f"{spec.cadence.frames} bin(s) of equal length",
        "none": "none",
    }[spec.cadence.kind]


def _fidelity(spec: ModelSpec) -> str:
    recorded = json.loads(FIDELITY.read_text()).get(spec.id) if FIDELITY.exists() else None
    if not recorded:
        return "No authors' weights exist to compare with; the tests hold stored values."
    rows = ["Largest difference from what the authors' code gives, over all outputs of a case:", ""]
    rows += ["| case | largest difference |", "| --- | --- |"]
    rows += [f"| {name} | {value:.1e} |" for name, value in sorted(recorded.items())]
    return "\n".join(rows)


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(DOCS.parent))
