"""What is shipped: the packages, the data, one version, no stray ``accessors``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import rs_embed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages():
    """Every folder with an ``__init__.py``, by the name under which it is installed."""
    for path in (ROOT / "rs_embed").rglob("__init__.py"):
        if "accessors" not in path.relative_to(ROOT / "rs_embed").parts:
            yield ".".join(path.parent.relative_to(ROOT).parts)
    for path in (ROOT / "accessors").rglob("__init__.py"):
        yield ".".join(("rs_embed", *path.parent.relative_to(ROOT).parts))
    yield "rs_embed.parity.data"  # fixtures alone; `rs-embed verify` reads them


def test_the_list_of_packages_is_the_tree():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages())
    assert len(set(listed)) == len(listed)


def test_the_accessors_are_mapped_and_linked():
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {
        "rs_embed.accessors": "accessors",
        "rs_embed.parity.data": "tests/parity/data",
    }
    link = ROOT / "rs_embed" / "accessors"
    assert link.resolve() == (ROOT / "accessors").resolve()
    assert rs_embed.accessors.__name__ == "rs_embed.accessors"


def test_there_is_one_version():
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert metadata.version("rs-embed") == rs_embed.__version__


def test_extras_are_those_of_the_documentation():
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"gee", "torch", "models", "dev", "plot", "dask", "all"} <= set(extras)
    assert any(item.startswith("rs-embed[") and "all" in item for item in extras["dev"])
    core = " ".join(PROJECT["project"]["dependencies"])
    for heavy in ("torch", "timm", "earthengine", "dask", "matplotlib"):
        assert heavy not in core
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["project"]["name"] == "rs-embed"


def test_the_command_is_there():
    assert PROJECT["project"]["scripts"] == {"rs-embed": "rs_embed.cli:main"}
    from rs_embed.cli import main

    assert callable(main)


def _setuptools() -> int:
    try:
        return int(metadata.version("setuptools").split(".")[0])
    except metadata.PackageNotFoundError:
        return 0


@pytest.mark.skipif(
    _setuptools() < 77, reason="building takes setuptools >= 77; .ci/run builds and installs"
)
def test_the_wheel_carries_everything_and_nothing_else(tmp_path):
    # From a copy: a build leaves folders behind.
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__")
    for folder in ("rs_embed", "accessors", "tests/parity/data"):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))",
            str(tmp_path),
        ],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"rs_embed", "rs_embed-0.1.0.dist-info"}
    shipped = {name for name in names if name.startswith("rs_embed/")}
    tree = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rs_embed").rglob("*.py")
        if "accessors" not in path.relative_to(ROOT / "rs_embed").parts
    }
    tree |= {f"rs_embed/{path.relative_to(ROOT)}" for path in (ROOT / "accessors").rglob("*.py")}
    assert {name for name in shipped if name.endswith(".py")} == tree
    assert "rs_embed/py.typed" in shipped
    assert "rs_embed/accessors/__init__.py" in shipped
    assert "rs_embed/data/patagonia_s2_6band.tif" in shipped
    assert "rs_embed/data/NOTICE.md" in shipped
    fixtures = {path.name for path in (ROOT / "tests" / "parity" / "data").iterdir()}
    assert {f"rs_embed/parity/data/{name}" for name in fixtures} <= shipped
