"""What is shipped: the packages, the data, one version, no stray ``accessors``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

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


def requirements(*extras: str) -> list[Requirement]:
    """What the core and some extras name, without the package itself."""
    lines = list(PROJECT["project"]["dependencies"])
    for extra in extras:
        lines += PROJECT["project"]["optional-dependencies"][extra]
    return [need for need in map(Requirement, lines) if need.name != "rs-embed"]


def versions(path: Path) -> dict[str, list[Requirement]]:
    """The lines of a file of exact versions, by name."""
    chosen: dict[str, list[Requirement]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            need = Requirement(line.strip())
            chosen.setdefault(canonicalize_name(need.name), []).append(need)
    return chosen


def exact(need: Requirement) -> str:
    """The one version that a line allows."""
    (only,) = need.specifier
    assert only.operator == "==", need
    return only.version


def test_every_requirement_has_its_exact_version():
    """`python .ci/constraints.py` chooses them; an upper limit of ours holds there too."""
    chosen = versions(ROOT / "constraints.txt")
    for need in requirements(*PROJECT["project"]["optional-dependencies"]):
        rows = chosen[canonicalize_name(need.name)]
        assert all(need.specifier.contains(exact(row)) for row in rows), need
        for python in ("3.11", "3.12", "3.13"):
            place = {"python_version": python, "python_full_version": f"{python}.1"}
            fitting = [row for row in rows if not row.marker or row.marker.evaluate(place)]
            assert len(fitting) == 1, (need.name, python, fitting)


def test_the_lowest_versions_are_the_floors():
    """.ci/run tests with what pyproject.toml names, not with something newer."""
    chosen = versions(ROOT / ".ci" / "lowest.txt")
    light = PROJECT["project"]["optional-dependencies"]["all"][0]
    extras = {*light.partition("[")[2].strip("]").split(",")} - {"torch", "models"}
    for need in requirements(*extras):
        (row,) = chosen[canonicalize_name(need.name)]
        (floor,) = [one.version for one in need.specifier if one.operator == ">="]
        assert Version(exact(row)) == Version(floor), need
    assert not {"torch", "timm"} & set(chosen)


@pytest.mark.parametrize("name", ["constraints.txt", ".ci/lowest.txt"])
def test_no_file_of_versions_names_a_registry(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text


def test_ci_names_tests_that_are_there():
    """A file of tests that moves would else be missed only when .ci/run is run."""
    named = re.findall(r"tests/[\w/.]+", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert named
    assert not [path for path in named if not (ROOT / path).exists()]
