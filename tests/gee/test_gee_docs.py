"""The page and the notebook about Earth Engine run, against the local server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from rs_embed.providers.collections import COLLECTIONS
from tests.earth_engine import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "earth-engine.md").read_text()
NOTEBOOK = ROOT / "examples" / "03_place_to_embedding.ipynb"
CONNECT = """
import ee, ee.deprecation
from google.auth.credentials import AnonymousCredentials
ee.deprecation._FetchDataCatalogStac = dict
ee.Initialize(AnonymousCredentials(), url={url!r}, project="local-test")
"""
# What differs between a reader's machine and the local server is how one gets in.
INITIALISE = "import ee\n\nee.Initialize("
# A notebook draws inline, whatever backend the tests' own process was given.
NOTEBOOK_ENV = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
RUN = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], 4)
book.cells.insert(0, nbformat.v4.new_code_cell(sys.argv[4]))
NotebookClient(book, timeout=240, resources={"metadata": {"path": sys.argv[2]}}).execute()
del book.cells[0]
nbformat.write(book, sys.argv[3])
"""


def test_the_snippets_of_the_page_run(server: Server, tmp_path: Path) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert sum(text.startswith(INITIALISE) for text in snippets) == 1
    kept = [text for text in snippets if not text.startswith(INITIALISE)]
    script = tmp_path / "page.py"
    script.write_text(CONNECT.format(url=server.url) + "\n".join(kept))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(512,)" in done.stdout
    assert "True []" in done.stdout


def test_the_page_names_every_collection() -> None:
    for row in COLLECTIONS:
        assert row in PAGE or row.split("/", 1)[1] in PAGE or row.split("/")[1] in PAGE, row


def test_the_page_names_every_field_of_the_input(server: Server) -> None:
    from tests.gee.plans import fetch_window, plan

    assert not [name for name in fetch_window(plan()).meta if f"`{name}`" not in PAGE]


def test_the_notebook_runs_and_prints_what_it_shows(server: Server, tmp_path: Path) -> None:
    pytest.importorskip("nbclient")
    out = tmp_path / "run.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOK), str(tmp_path), str(out),
         CONNECT.format(url=server.url)],
        capture_output=True, text=True, timeout=300, check=False,
        env=NOTEBOOK_ENV,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    kept, fresh = nbformat.read(NOTEBOOK, 4), nbformat.read(out, 4)
    assert _texts(fresh) == _texts(kept), "the outputs kept in the file are those of a run"
    assert _pictures(fresh) == _pictures(kept) > 0
    assert NOTEBOOK.stat().st_size < 800_000


def _texts(book: nbformat.NotebookNode) -> str:
    outputs = [out for cell in book.cells for out in cell.get("outputs", [])]
    return "".join(out["text"] for out in outputs if out.output_type == "stream")


def _pictures(book: nbformat.NotebookNode) -> int:
    outputs = [out for cell in book.cells for out in cell.get("outputs", [])]
    return sum("image/png" in out.get("data", {}) for out in outputs)
