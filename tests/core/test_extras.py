"""What is said of packages that are not installed: one text, true to the project's own file."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from rs_embed.core.extras import EXTRAS, import_problem, missing_text

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Only the shell's line for a checkout may name an extra in brackets.
BY_NAME = re.compile(r"rs[-_]embed\[")
OWN = re.compile(r"pip install (?:-\S+ )*[\"']?rs[-_]embed\b")


def packages(extra: str) -> set[str]:
    """The names that an extra asks for, extras inside extras opened."""
    found = set()
    for item in DECLARED[extra]:
        inner = re.fullmatch(r"rs-embed\[(.*)\]", item)
        if inner:
            found |= {name for one in inner.group(1).split(",") for name in packages(one)}
        else:
            found.add(re.split(r"[<>=!~; ]", item)[0])
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_packages_named_are_those_of_the_extra(extra):
    assert {name.strip('"') for name in EXTRAS[extra]} == packages(extra)


def test_the_text_names_packages_and_extra():
    text = missing_text("galileo", "torch", "timm")
    assert text == (
        "galileo needs timm: pip install torch timm huggingface_hub safetensors (extra `torch`)"
    )


def test_an_import_is_explained_where_an_extra_brings_it():
    def missing(name: str) -> ModuleNotFoundError:
        return ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert "extra `torch`" in str(import_problem("x", missing("timm.layers")))
    assert "extra `gee`" in str(import_problem("x", missing("ee")))
    assert import_problem("x", missing("somebody_elses")) is None
    assert import_problem("x", ImportError("cannot import name 'Y'", name="timm")) is None


def shown_texts():
    """(where, text) of every string in the package, every page, and every cell of a notebook."""
    for folder in ("rs_embed", "accessors"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            yield str(path.relative_to(ROOT)), "".join(cell["source"])


def test_nothing_tells_to_install_another_projects_package():
    texts = list(shown_texts())
    assert len(texts) > 1000
    wrong = [where for where, text in texts if BY_NAME.search(text) or OWN.search(text)]
    assert wrong == []


def test_packages_are_named_by_the_one_function_alone():
    told = [
        where
        for where, text in shown_texts()
        if "pip install" in text and where.startswith(("rs_embed", "accessors"))
    ]
    assert {where.partition(":")[0] for where in told} == {"rs_embed/core/extras.py"}
