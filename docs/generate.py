"""Write what the project knows of itself into the documentation.

    python docs/generate.py             model pages, their index, README table, the command's page,
                                        weights, pictures
    python docs/generate.py --measure   run the parity fixtures first and record the differences

A test compares the files with what this writes.
"""

from __future__ import annotations

import json
import sys
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer.main

from rs_embed.api import sample_scene
from rs_embed.cli.app import app
from rs_embed.cli.demo import CLASSES, MODEL, draw_classes, draw_components
from rs_embed.cli.pages import (
    band_count,
    bands_text,
    default_variant,
    is_product,
    pinned_by,
    size_text,
    time_text,
)
from rs_embed.core.model import InputSpec, ModelSpec
from rs_embed.embedders.catalog import MODEL_SPECS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
FIDELITY = DOCS / "models" / "fidelity.json"
INSTALL = DOCS / "install.json"
PICTURES = ("components.png", "components-narrow.png", "classes.png", "classes-narrow.png")


def pages() -> dict[Path, str]:
    """Every generated text file and its text."""
    built = [
        spec
        for spec in MODEL_SPECS.values()
        if (spec.module or spec.prepare).startswith("rs_embed.")
    ]
    out = {DOCS / "models" / f"{spec.id}.md": model_page(spec) for spec in built}
    out[DOCS / "models" / "index.md"] = index_page(built)
    out[DOCS / "cli.md"] = cli_page()
    readme, install = ROOT / "README.md", DOCS / "install.md"
    out[readme] = _between(readme.read_text(), "models", models_table(built, "docs/models/"))
    out[install] = _between(install.read_text(), "weights", install_table())
    return out


def pictures(folder: Path) -> None:
    """The demo's pictures, and the same for a narrow screen, written to a folder."""
    scene = sample_scene()
    grid = scene.rsembed.embed(MODEL)
    components, labels = grid.rsembed.pca(3), grid.rsembed.kmeans(CLASSES)
    for stacked, ending in ((False, ""), (True, "-narrow")):
        draw_components(scene, components, folder / f"components{ending}.png", stacked=stacked)
        draw_classes(scene, labels, folder / f"classes{ending}.png", stacked=stacked)


def measure() -> None:
    """Run every fixture there is and record the largest difference of each."""
    from rs_embed.parity import compare, fixtures_of

    folders = [ROOT / "tests" / "parity" / "data", ROOT.parent / "shared" / "parity"]
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in MODEL_SPECS:
        paths = {p.stem: p for f in folders if f.is_dir() for p in fixtures_of(name, f)}
        for stem, path in sorted(paths.items()):
            compared = compare(path)
            found.setdefault(name, {})[stem] = {
                "difference": float(f"{max(one.difference for one in compared):.1e}"),
                "share": float(f"{max(one.share for one in compared):.1e}"),
            }
            print(stem, found[name][stem], flush=True)
    FIDELITY.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def index_page(specs: list[ModelSpec]) -> str:
    """All models side by side."""
    return (
        "# Models\n\nThe default variant is bold. A cell is what one token covers on the ground at "
        "the model's own pixel size.\n\n" + models_table(specs, "") + "\n\n"
        "[Choosing a model](../choosing.md) says which to try first.\n"
    )


def models_table(specs: list[ModelSpec], folder: str) -> str:
    """One row a model."""
    rows = [
        "| model | variants | bands | pixel | window | cell | features | licence of weights |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for spec in specs:
        default = default_variant(spec)
        names = ", ".join(f"**{v.name}**" if v is default else v.name for v in spec.variants)
        token = default.token_px or spec.token_px
        rows.append(
            f"| [{spec.id}]({folder}{spec.id}.md) | {names} | {band_count(spec)} "
            f"| {spec.scale_m:g}&nbsp;m | {default.window_px or spec.window_px}&nbsp;px "
            f"| {token * spec.scale_m:g}&nbsp;m | {default.dim} "
            f"| {_licence(spec)} |"
        )
    return "\n".join(rows)


def model_page(spec: ModelSpec) -> str:
    """The page of a model: facts from its spec, then notes, then fidelity."""
    parts = [f"# {spec.id}", f"**{spec.title}.** {spec.summary}", _doors(spec)]
    parts += ["## Input", _inputs(spec), _pixels(spec)]
    if not is_product(spec):
        parts += ["## Variants", _variants(spec)]
    parts += ["## Options", _options(spec), "## Output", _output(spec)]
    if spec.assumptions:
        rules = "\n".join(f"- {rule}" for rule in spec.assumptions)
        parts += ["## Where the authors are silent", f"Told in `meta['assumptions']`:\n\n{rules}"]
    notes = DOCS / "models" / f"{spec.id}.notes.md"
    if notes.exists():
        parts.append(notes.read_text().strip())
    parts += ["## Fidelity", _fidelity(spec), "## Licence and citation"]
    links = "\n".join(f"- <{link}>" for link in spec.links)
    parts.append(f"Licence: {spec.licence.rstrip('.')}.\n\n{spec.citation}\n\n{links}")
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def cli_page() -> str:
    """The command, its subcommands, and what each takes."""
    root = typer.main.get_command(app)
    parts = ["# The command", _help(root)]
    parts += [text for name in _subcommands(root) for text in _command(root, name, "rs-embed")]
    return "\n\n".join(parts) + "\n"


def _subcommands(group: Any) -> list[str]:
    return list(group.list_commands(typer.Context(group)))


def _help(command: Any) -> str:
    """Its help and what stands below it, one paragraph a line."""
    texts = (command.help or "", getattr(command, "epilog", None) or "")
    return "\n\n".join(cleandoc(text) for text in texts if text)


def _command(group: Any, name: str, before: str) -> list[str]:
    """A heading, the help, and a table of what the command takes; groups are opened."""
    command = group.get_command(typer.Context(group), name)
    if hasattr(command, "list_commands"):
        inside = [_command(command, one, f"{before} {name}") for one in _subcommands(command)]
        return [f"## {before} {name}", _help(command), *(text for part in inside for text in part)]
    rows = ["| word | default | meaning |", "| --- | --- | --- |"]
    for one in command.params:
        words = ", ".join(f"`{word}`" for word in (*one.opts, *one.secondary_opts))
        if one.param_type_name == "argument":
            words = f"`{one.metavar or one.name.upper()}`".replace("|", "` or `")
        silent = one.default is None or one.default is False or callable(one.default)
        shown = "" if silent or one.default == [] else f"`{one.default}`"
        told = (one.help or "").replace("\n", " ").replace("|", "\\|")
        rows.append(f"| {words} | {'required' if one.required else shown} | {told} |")
    return [f"## {before} {name}", _help(command), *(["\n".join(rows)] if command.params else [])]


def install_table() -> str:
    """Packages and megabytes of the core, and what each extra adds."""
    record = json.loads(INSTALL.read_text())
    core = record["core"]
    rows = ["| | packages | MB |", "| --- | --- | --- |"]
    rows.append(f"| core | {core['packages']} | {core['mb']} |")
    for name in ("plot", "dask", "gee", "torch"):
        more, mb = (record[name][key] - core[key] for key in ("packages", "mb"))
        label = f"`[{name}]` adds" + (", CUDA libraries included" if record[name]["cuda"] else "")
        rows.append(f"| {label} | {more} | {mb} |")
    return "\n".join(rows)


def _between(text: str, mark: str, inside: str) -> str:
    """The text with what stands between two marks replaced."""
    before, start, rest = text.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not (start and end):
        raise ValueError(f"no <!-- {mark} --> and <!-- /{mark} --> in the text")
    return f"{before}{start}{inside}\n{end}{after}"


def _licence(spec: ModelSpec) -> str:
    weights = default_variant(spec).weights
    if is_product(spec):
        return spec.licence.partition(";")[0]
    return weights.licence if weights else "none needed"


def _doors(spec: ModelSpec) -> str:
    also = ", ".join(f"`{alias}`" for alias in spec.aliases)
    place = f'`get_embedding("{spec.id}", spatial=…, temporal=…)`'
    text = (
        f"At a place: {place}."
        if is_product(spec)
        else f'On an array: `da.rsembed.embed("{spec.id}")`. At a place: {place}. '
        f"In a shell: `rs-embed embed scene.tif -m {spec.id}`."
    )
    return text + (f" Also called {also}." if also else "")


def _pixels(spec: ModelSpec) -> str:
    default = default_variant(spec)
    token = default.token_px or spec.token_px
    if is_product(spec):
        return f"A cell is one of its pixels of {spec.scale_m:g} m, taken as it is."
    return (
        f"Pixels of {spec.scale_m:g} m in windows of {default.window_px or spec.window_px} px; a "
        f"token covers {token} px, {token * spec.scale_m:g} m. Time: {time_text(spec)}."
    )


def _output(spec: ModelSpec) -> str:
    default = default_variant(spec)
    token = default.token_px or spec.token_px
    vector = (
        f'`pooling="model"` is the authors\' own image-level vector: {spec.image_vector}.'
        if spec.image_vector
        else 'There is no image-level vector of the authors, so `pooling="model"` is an error.'
    )
    return (
        f"A grid `(feature, y, x)` of {default.dim} features, a cell of {token * spec.scale_m:g} "
        f"m; pooled is the mean (or maximum) over the valid cells. {vector}"
    )


def _inputs(spec: ModelSpec) -> str:
    rows = ["| modality | input | bands | units | collection |", "| --- | --- | --- | --- | --- |"]
    for i, (name, items) in enumerate(spec.modalities.items()):
        rows += [_input_row(f"**{name}**" if i == 0 else name, item) for item in items]
    return "\n".join(rows)


def _input_row(name: str, item: InputSpec) -> str:
    kind = " (optional)" if item.optional else ""
    where = f"`{item.collection}`" if item.collection else "—"
    own = f", {item.scale_m:g} m a pixel" if item.scale_m else ""
    units = f"{item.units}{own}"
    return f"| {name} | {item.name}{kind} | {bands_text(item.bands)} | {units} | {where} |"


def _variants(spec: ModelSpec) -> str:
    rows = ["| variant | features | file | size | pinned by |", "| --- | --- | --- | --- | --- |"]
    default = default_variant(spec)
    for v in spec.variants:
        name = f"**{v.name}**" if v is default else v.name
        if v.weights is None:
            rows.append(f"| {name} | {v.dim} | none needed | | |")
            continue
        where = f"`{v.weights.repo or v.weights.url}`<br>`{v.weights.filename}`"
        rows.append(
            f"| {name} | {v.dim} | {where} | {size_text(v.weights)} | {pinned_by(v.weights)} |"
        )
    return "\n".join(rows)


def _options(spec: ModelSpec) -> str:
    if not spec.options:
        return "None."
    rows = ["| option | default | meaning |", "| --- | --- | --- |"]
    for o in spec.options:
        allowed = f"; one of {', '.join(map(str, o.choices))}" if o.choices else ""
        rows.append(f"| `{o.name}` | {o.default} | {o.meaning}{allowed} |")
    return "\n".join(rows)


def _fidelity(spec: ModelSpec) -> str:
    recorded = json.loads(FIDELITY.read_text()).get(spec.id) if FIDELITY.exists() else None
    if is_product(spec):
        return "Nothing is computed: the product's own numbers are handed on as they are."
    if not recorded:
        return (
            "The authors published no weights to compare with; the tests hold the model to its "
            "definition, written a second time, and to stored values."
        )
    rows = [
        "What this implementation gives against what the authors' code gave on the same weights "
        "and inputs: the largest difference over all outputs of a case, and the share of the "
        "allowed difference that it takes (relative 2e-5 plus absolute 4e-5, unless the case says "
        "otherwise). Stored values have seven digits: what is left at 5e-07 is their rounding.",
        "",
        "| case | largest difference | of the allowed |",
        "| --- | --- | --- |",
    ]
    rows += [
        f"| {name} | {one['difference']:.1e} | {one['share']:.1%} |"
        for name, one in sorted(recorded.items())
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    for path, text in pages().items():
        path.write_text(text)
        print(path.relative_to(ROOT))
    pictures(DOCS / "assets")
    print(*(f"docs/assets/{name}" for name in PICTURES), sep="\n")
