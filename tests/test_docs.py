"""Every snippet of the documentation runs, and every generated page is what the catalogue says."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# These pages need a server or a project to talk to; tests beside those run them.
ELSEWHERE = {"earth-engine.md", "plugins.md"}


def snippets(page):
    return SNIPPET.findall(page.read_text())


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if snippets(p) and p.name not in ELSEWHERE],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_snippets_run(page, tmp_path):
    """A page's snippets run in order in a fresh interpreter, warnings as errors."""
    script = tmp_path / "page.py"
    header = "import matplotlib\nmatplotlib.use('Agg')\n"
    script.write_text(header + "\n".join(snippets(page)))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_generated_pages_are_fresh():
    """`python docs/generate.py` would change nothing."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [str(p) for p, text in generate.pages().items() if p.read_text() != text]
    assert not stale, f"run python docs/generate.py: {stale}"


def test_every_kept_fixture_stands_on_its_models_page():
    """`python docs/generate.py --measure` records them."""
    from rs_embed.parity import DATA

    recorded = json.loads((ROOT / "docs" / "models" / "fidelity.json").read_text())
    missing = []
    for path in sorted(DATA.glob("*.json")):
        model = json.loads(path.read_text())["model"]
        if path.stem not in recorded.get(model, {}):
            missing.append(path.stem)
    assert not missing


def test_every_meta_field_is_documented():
    """The table of docs/concepts.md names each field that an embedding has."""
    from rs_embed import PointBuffer, get_embedding

    meta = get_embedding(
        "mosaiks", spatial=PointBuffer(-67.645, -47.852, 640), backend="sample"
    ).meta
    text = (ROOT / "docs" / "concepts.md").read_text()
    assert not [name for name in meta if f"`{name}`" not in text]


def test_links_between_pages_exist():
    """No relative link points at a file that is not there."""
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if not target.startswith("http") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_page_is_in_the_menu():
    """mkdocs builds a page that no menu names without a word."""
    menu = (ROOT / "mkdocs.yml").read_text()
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")]
    assert not [p for p in pages if not p.endswith(".notes.md") and f"{p}\n" not in menu + "\n"]


def test_the_reference_names_the_whole_face():
    """Every public name of rs_embed has its entry in docs/api.md."""
    import rs_embed

    text = (ROOT / "docs" / "api.md").read_text()
    errors = {"RsEmbedError", "SpecError", "ProviderError", "ModelError"}  # one entry, a module
    named = set(re.findall(r"^::: \S*\.(\w+)$", text, re.MULTILINE))
    assert set(rs_embed.__all__) - errors <= named
    assert "::: rs_embed.core.errors" in text


def commands():
    """Every rs-embed command that a page, a help text or a message of ours shows."""
    texts = [p.read_text() for p in PAGES]
    texts += [p.read_text() for p in (ROOT / "rs_embed").rglob("*.py")]
    shown = re.findall(r"^(?:\S*bin/)?rs-embed (\S.*)$", "\n".join(texts), re.MULTILINE)
    shown += re.findall(r"[`(]rs-embed ([^`{}\n]+)`", "\n".join(texts))
    return sorted({line.partition(" #")[0].partition(" |")[0].strip() for line in shown})


@pytest.mark.parametrize("line", commands())
def test_shown_commands_parse(line):
    """The command exists and takes the words that are shown; nothing is run."""
    import typer.main

    from rs_embed.cli.app import app

    words = [" " + word if re.match(r"-[\d.]+,", word) else word for word in shlex.split(line)]
    found = typer.main.get_command(app)
    context = None
    while words and hasattr(found, "resolve_command"):
        context = found.make_context("rs-embed", [], parent=context, resilient_parsing=True)
        if words[0].startswith("-"):
            assert any(words[0] in option.opts for option in found.params), words[0]
            return
        name, found, words = found.resolve_command(context, words)
        assert found is not None, name
    if words:
        found.make_context(name, words, parent=context)


def test_the_map_names_every_module():
    """docs/architecture.md tells where a line belongs, so every module has its place there."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = set(
        re.findall(r"\w+", text[text.index("| floor |") : text.index("Imports run downward")])
    )
    package = ROOT / "rs_embed"
    modules = {
        p.stem
        for folder in (package, package / "core", package / "pipeline")
        for p in folder.glob("*.py")
    }
    packages = {p.parent.name for p in package.glob("*/__init__.py")} - {"data"}
    assert modules | packages <= drawn | {"__init__", "__main__"}
