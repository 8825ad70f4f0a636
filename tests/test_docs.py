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
SHOWING = {"README.md", "index.md", "quickstart.md", "accessor.md"}


def module_at(path):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def snippets(page):
    return SNIPPET.findall(page.read_text())


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if snippets(p) and p.name not in ELSEWHERE],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_snippets_run(page, tmp_path):
    """A page's snippets run in order in a fresh interpreter, warnings as errors.

    A page that shows what they print (`# ->`) shows all of it.
    """
    script = tmp_path / "page.py"
    header = "import matplotlib\nmatplotlib.use('Agg')\n"
    script.write_text(header + "\n".join(snippets(page)))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"^# -> ?(.*)$", "\n".join(snippets(page)), re.MULTILINE)
    assert shown or page.name not in SHOWING
    assert not shown or done.stdout.splitlines() == shown, f"run python docs/show.py {page}"


def test_generated_pages_are_fresh():
    """`python docs/generate.py` would change nothing."""
    generate = module_at(ROOT / "docs" / "generate.py")
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
    pages += [f"notebooks/{p.stem}.md" for p in (ROOT / "examples").glob("*.ipynb")]
    assert not [p for p in pages if not p.endswith(".notes.md") and f"{p}\n" not in menu + "\n"]


def test_the_reference_names_the_whole_face():
    """Every public name of rs_embed has its entry in docs/api/."""
    import rs_embed

    text = "\n".join(p.read_text() for p in sorted((ROOT / "docs" / "api").glob("*.md")))
    errors = {"RsEmbedError", "SpecError", "ProviderError", "ModelError"}  # one entry, a module
    named = set(re.findall(r"^::: \S*\.(\w+)$", text, re.MULTILINE))
    assert set(rs_embed.__all__) - errors <= named
    assert "::: rs_embed.core.errors" in text


def test_every_entry_of_the_reference_is_there():
    """What mkdocs would find missing is found without building the site."""
    missing = []
    for page in sorted((ROOT / "docs" / "api").glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
            module, _, name = path.rpartition(".")
            found = importlib.util.find_spec(module) and importlib.import_module(module)
            if not hasattr(found, name) and importlib.util.find_spec(path) is None:
                missing.append(path)
    assert not missing


def test_no_page_installs_another_project():
    """The name on the index belongs to another project: what we show installs this checkout."""
    texts = {p: p.read_text() for p in [*PAGES, *(ROOT / "examples").glob("*.ipynb")]}
    found = {p.name for p, text in texts.items() if re.search(r"install [^&\n]*rs-embed", text)}
    assert not found


def test_a_notebook_becomes_a_page():
    """Its prose, code, prints and pictures, in their order."""
    hooks = module_at(ROOT / "docs" / "hooks.py")
    made = hooks.notebook(ROOT / "examples" / "01_array_to_embedding.ipynb")
    page = made.pop("notebooks/01_array_to_embedding.md")
    assert page.startswith("# From an array to an embedding")
    assert page.index("sample_scene()") < page.index("```text\nrs_embed: 200 x 300 px")
    assert made
    for name, picture in made.items():
        assert f"({name.removeprefix('notebooks/')})" in page
        assert picture.startswith(b"\x89PNG")


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
