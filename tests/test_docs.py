"""Every snippet of the documentation runs, and every generated page is what the catalogue says."""

import importlib.util
import re
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
