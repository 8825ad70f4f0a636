"""Every notebook of examples/ runs from top to bottom in a fresh kernel, and shows what it did."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
# These talk to a server of the tests, and run beside it.
ELSEWHERE = {"03"}
NOTEBOOKS = [p for p in sorted(EXAMPLES.glob("*.ipynb")) if p.name[:2] not in ELSEWHERE]

# A notebook draws inline, whatever backend the tests' own process was given.
NOTEBOOK_ENV = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
RUN = """
import sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], 4)
NotebookClient(book, timeout=240, resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(book, sys.argv[3])
"""


def texts(book):
    """What the cells print."""
    outputs = [out for cell in book.cells for out in cell.get("outputs", [])]
    return "".join(out["text"] for out in outputs if out.output_type == "stream")


def pictures(book):
    outputs = [out for cell in book.cells for out in cell.get("outputs", [])]
    return [out for out in outputs if "image/png" in out.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_prints_what_it_shows(path, tmp_path):
    out = tmp_path / "run.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path), str(tmp_path), str(out)],
        capture_output=True, text=True, timeout=300,
        env=NOTEBOOK_ENV,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    kept, fresh = nbformat.read(path, 4), nbformat.read(out, 4)
    assert texts(fresh) == texts(kept), "the outputs kept in the file are those of a run"
    assert len(pictures(fresh)) == len(pictures(kept)) > 0
    assert [p.name for p in tmp_path.iterdir()] == ["run.ipynb"]


def test_there_are_notebooks_of_modest_size():
    assert len(NOTEBOOKS) >= 2
    for path in NOTEBOOKS:
        assert path.stat().st_size < 800_000, path
