"""Models and sources of others: registered for a session, or installed as packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from returns.result import Failure, Success

import rs_embed
from rs_embed import ModelError, PointBuffer, ProviderError, TemporalSpec
from rs_embed.core.errors import RsEmbedError
from rs_embed.core.model import InputSpec, Variant
from rs_embed.core.plan import SourceInfo
from rs_embed.embedders import catalog
from rs_embed.embedders import runtime as run
from rs_embed.plugins.notices import RsEmbedWarning, forget
from rs_embed.providers import base
from rs_embed.providers.memory import MemoryProvider
from tests import toys
from tests.counting import CountingProvider

ROOT = Path(__file__).parent.parent
PLUGIN = Path(__file__).parent / "plugin"
TOY = toys.toy("plugged")
PLACE = PointBuffer(10, 50, 160)


@pytest.fixture(autouse=True)
def fresh_tables(monkeypatch):
    """What a test registers or plugs in is gone after it."""
    monkeypatch.setattr(catalog, "_REGISTERED", dict(catalog._REGISTERED))
    monkeypatch.setattr(base, "_FACTORIES", dict(base._FACTORIES))
    monkeypatch.setattr(catalog, "_PLUGGED", True)
    monkeypatch.setattr(base, "_PLUGGED", True)
    yield
    run.unload_models()


def embedded(model="plugged", backend="memory", **keywords):
    return rs_embed.get_embedding(
        model, spatial=PLACE, temporal=TemporalSpec.year(2022), backend=backend, **keywords
    )


# A package, built and installed


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the plug-in built and installed in it, as pip does."""
    folder = tmp_path_factory.mktemp("plugin")
    # Building leaves files beside the sources.
    shutil.copytree(PLUGIN, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-index", "--no-build-isolation"]
    command += ["--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def python(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that has the plug-in, away from the checkout's working folder."""
    path = f"{site}:{ROOT}"
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", *words],
        env={**_environment(), "PYTHONPATH": path},
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_an_installed_package_works_through_every_door(site, tmp_path):
    done = python(site, str(PLUGIN / "use_it.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("every door")


def test_without_the_package_there_is_no_such_model_or_source():
    with pytest.raises(ModelError, match="no model 'plain'"):
        embedded("plain")
    with pytest.raises(ProviderError, match="no backend 'slope'"):
        embedded("mosaiks", "slope")


def test_the_page_on_plugins_shows_this_package_and_its_snippets_run(site, tmp_path):
    page = (ROOT / "docs" / "plugins.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    tables = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert snippets[0] == (PLUGIN / "rs_embed_plain.py").read_text()
    assert tables == [(PLUGIN / "pyproject.toml").read_text()]
    # A reader's module is the installed one.
    script = tmp_path / "page.py"
    script.write_text("\n".join(["from rs_embed_plain import MODEL, Slope\n", *snippets[1:]]))
    done = python(site, str(script))
    assert done.returncode == 0, done.stderr


def test_a_package_takes_about_forty_lines():
    lines = (PLUGIN / "rs_embed_plain.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 42


# Packages that are broken


def plugged_with(monkeypatch, tmp_path, name: str, models: str = "", sources: str = "") -> None:
    """An installed distribution with one module ``name`` that offers what is named."""
    (tmp_path / f"{name}.py").write_text(
        textwrap.dedent(
            """
            from dataclasses import replace
            from rs_embed.embedders.families.mosaiks import SPEC
            good, taken = replace(SPEC, id="spare", aliases=()), replace(SPEC, title="mine")
            not_a_model = not_a_source = 3
            """
        )
    )
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[rs_embed.models]\n{models}\n[rs_embed.providers]\n{sources}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(catalog, "_PLUGGED", False)
    monkeypatch.setattr(base, "_PLUGGED", False)
    forget()


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ("bad = no_such_module:MODEL", "cannot be loaded: No module named 'no_such_module'"),
        ("bad = brokenpack:missing", "cannot be loaded"),
        ("bad = brokenpack:not_a_model", "takes a ModelSpec, not int"),
        ("bad = brokenpack:taken", "'mosaiks' is taken"),
    ],
)
def test_a_broken_model_is_told_and_hides_no_other(monkeypatch, tmp_path, offers, said):
    plugged_with(monkeypatch, tmp_path, "brokenpack", models=f"a{offers}\ngood = brokenpack:good")
    with pytest.warns(RsEmbedWarning, match=re.escape(said)):
        names = list(catalog.MODEL_SPECS)
    assert "spare" in names
    assert list(catalog.MODEL_SPECS) == names  # said once


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ("bad = no_such_module:Source", "cannot be loaded: No module named 'no_such_module'"),
        ("memory = brokenpack:good", "'memory' is taken"),
        ("bad = brokenpack:not_a_source", "not int"),
    ],
)
def test_a_broken_source_is_told(monkeypatch, tmp_path, offers, said):
    plugged_with(monkeypatch, tmp_path, "brokensource", sources=offers.replace("pack", "source"))
    with (
        pytest.warns(RsEmbedWarning, match=re.escape(said)),
        pytest.raises(ProviderError, match="no backend 'elsewhere'"),
    ):
        embedded("mosaiks", "elsewhere")


# A model registered for a session


def test_a_registered_model_is_found_everywhere():
    rs_embed.register_model(TOY)
    assert catalog.MODEL_SPECS["plugged"] is TOY
    assert embedded().meta["model"] == "plugged"
    assert rs_embed.load_model("plugged").model.spec is TOY
    assert len(list(catalog.MODEL_SPECS)) == len(catalog.MODEL_SPECS)


def test_the_same_model_may_be_registered_twice():
    rs_embed.register_model(TOY)
    rs_embed.register_model(toys.toy("plugged"))
    assert list(catalog.MODEL_SPECS).count("plugged") == 1


@pytest.mark.parametrize(
    "spec",
    [
        replace(TOY, id="mosaiks"),
        replace(TOY, id="remoteclip"),
        replace(TOY, aliases=("mosaiks",)),
        replace(TOY, aliases=("fresh", "remoteclip")),
    ],
    ids=["id", "id is an alias", "alias is an id", "alias"],
)
def test_a_name_that_is_taken_is_refused(spec):
    with pytest.raises(ModelError, match="is taken"):
        rs_embed.register_model(spec)
    assert catalog.MODEL_SPECS["mosaiks"].title != "Toy"


def test_another_model_under_a_registered_id_is_refused():
    rs_embed.register_model(TOY)
    with pytest.raises(ModelError, match="'plugged' is taken"):
        rs_embed.register_model(replace(TOY, title="Other"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "Upper"}, "lower case"),
        ({"id": "a:b"}, "lower case"),
        ({"id": " space"}, "lower case"),
        ({"id": ""}, "lower case"),
        ({"aliases": ("Upper",)}, "lower case"),
        ({"default_variant": "none"}, "default_variant"),
        ({"variants": ()}, "default_variant"),
        ({"variants": (Variant("ten", 0),)}, "dim"),
        ({"modalities": {}}, "modalities"),
        ({"modalities": {"s2": ()}}, "modalities"),
        ({"window_px": 30}, "no multiple"),
        ({"token_px": 0}, "no multiple"),
        ({"prepare": "somewhere"}, "package.module:function"),
        ({"encode": "a.b:c d"}, "package.module:function"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(change, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        rs_embed.register_model(replace(TOY, **change))
    assert "plugged" not in catalog.MODEL_SPECS


@pytest.mark.parametrize("thing", [None, "plugged", {}, toys.toy])
def test_what_is_no_spec_is_refused(thing):
    with pytest.raises(ModelError, match="takes a ModelSpec"):
        rs_embed.register_model(thing)


@pytest.mark.parametrize("field", ["prepare", "encode", "build"])
@pytest.mark.parametrize("name", ["no_such_module:go", "tests.toys:no_such_function"])
def test_a_function_that_is_not_there_is_named_before_anything_is_fetched(field, name):
    rs_embed.register_model(replace(TOY, **{field: name}))
    source = CountingProvider()
    rs_embed.register_provider("counting", source)
    with pytest.raises(ModelError, match=re.escape(repr(name))):
        embedded(backend="counting")
    assert source.fetch_window == []


# A source registered for a session


class Made:
    """A source that a class makes, from what the caller passed as ``source=``."""

    name, workers = "made", 1

    def __init__(self, source):
        self.inner = MemoryProvider(seed=source or 0)
        self.describe, self.fetch = self.inner.describe, self.inner.fetch


class Whole:
    """A class with every name of a source; its objects are sources, it is none."""

    name, workers = "whole", 1

    def __init__(self, source):
        self.seed = source

    def describe(self, item, sensor):
        return MemoryProvider(self.seed or 0).describe(item, sensor)

    def fetch(self, plan):
        return MemoryProvider(self.seed or 0).fetch(plan)


@pytest.mark.parametrize("kind", [Made, Whole, lambda source: Whole(source)])
def test_a_class_or_function_makes_a_source_from_the_argument(kind):
    rs_embed.register_provider("made", kind)
    for seed in (0, 7):
        rs_embed.register_provider(f"seeded{seed}", MemoryProvider(seed=seed))
        ours = embedded("mosaiks", "made", source=seed)
        np.testing.assert_array_equal(ours.data, embedded("mosaiks", f"seeded{seed}").data)
        assert ours.meta["backend"] == "made"


@pytest.mark.parametrize("name", ["gee", "local", "sample", "memory", "stac", "auto", "mine"])
def test_a_backend_name_that_is_taken_is_refused(name):
    rs_embed.register_provider("mine", MemoryProvider())
    with pytest.raises(ProviderError, match="is taken"):
        rs_embed.register_provider(name, MemoryProvider())


@pytest.mark.parametrize("name", ["", "My", "two words", "a-b", "1st", None, 3])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ProviderError, match="lower-case word"):
        rs_embed.register_provider(name, MemoryProvider())


@pytest.mark.parametrize("thing", [None, 3, "memory", object()])
def test_what_is_no_source_is_refused(thing):
    with pytest.raises(ProviderError, match="name, workers, describe and fetch"):
        rs_embed.register_provider("bad", thing)


@pytest.mark.parametrize("made", [None, 3, Made, object()])
def test_a_function_that_makes_no_source_is_refused(made):
    rs_embed.register_provider("bad", lambda source: made)
    with pytest.raises(ProviderError, match="'bad' made a"):
        embedded("mosaiks", "bad")


class Wrong(MemoryProvider):
    """A memory source whose answers a test replaces."""

    answers: dict = {}  # noqa: RUF012

    def describe(self, item, sensor):
        answer = self.answers.get("describe", MemoryProvider.describe)
        return answer(self, item, sensor)

    def fetch(self, plan):
        return self.answers.get("fetch", MemoryProvider.fetch)(self, plan)


@pytest.fixture
def wrong(monkeypatch):
    """``wrong(describe=…, fetch=…)``: what a source that answers so comes to."""

    def ask(**answers) -> RsEmbedError:
        monkeypatch.setattr(Wrong, "answers", answers)
        rs_embed.register_provider("wrong", Wrong())
        with pytest.raises(RsEmbedError) as error:
            embedded("mosaiks", "wrong")
        return error.value

    return ask


def patched(change):
    """A fetch whose patch ``change`` has altered."""
    return lambda self, plan: MemoryProvider.fetch(self, plan).map(change)


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: replace(patch, data=patch.data[..., :-1]),
        lambda patch: replace(patch, data=patch.data[0]),
        lambda patch: replace(patch, data=patch.data.astype("float64")),
        lambda patch: replace(patch, bands=patch.bands[::-1]),
        lambda patch: replace(patch, grid=patch.grid.window(1, 0, *patch.grid.shape)),
    ],
    ids=["narrow", "no time", "float64", "bands turned", "another place"],
)
def test_a_patch_that_is_not_what_was_planned_is_refused(wrong, change):
    error = wrong(fetch=patched(change))
    assert isinstance(error, ProviderError)
    assert "the plan asks for float32" in str(error)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"fetch": lambda self, plan: None}, "fetch of backend 'wrong' gave NoneType"),
        ({"fetch": lambda self, plan: MemoryProvider.fetch(self, plan).unwrap()}, "gave Patch"),
        ({"fetch": lambda self, plan: Success(3)}, "must give Success(Patch)"),
        ({"fetch": lambda self, plan: Failure("no")}, "must give Success(Patch)"),
        ({"describe": lambda self, item, sensor: {}}, "describe of backend 'wrong' gave dict"),
        (
            {
                "describe": lambda self, item, sensor: Success(
                    SourceInfo("X", ("B2",), ("reflectance",))
                )
            },
            "describes 1 bands and 1 units for the 6",
        ),
    ],
)
def test_an_answer_of_another_kind_is_refused(wrong, answers, said):
    error = wrong(**answers)
    assert isinstance(error, ProviderError)
    assert said in str(error)


@pytest.mark.parametrize("how", ["raised", "returned"])
@pytest.mark.parametrize("where", ["describe", "fetch"])
def test_errors_raised_and_returned_are_the_same(wrong, how, where):
    problem = ProviderError("closed on Sundays", transient=True)

    def answer(self, *asked):
        if how == "raised":
            raise problem
        return Failure(problem)

    error = wrong(**{where: answer})
    assert "closed on Sundays" in str(error)
    assert error.transient


def test_a_raised_error_fails_its_own_region_alone():
    """The error names the region, as a returned one does."""

    class Partly(MemoryProvider):
        def fetch(self, plan):
            if plan.grid.height > 90:
                raise ProviderError("too far")
            return MemoryProvider.fetch(self, plan)

    rs_embed.register_provider("partly", Partly())
    rs_embed.register_model(TOY)
    spots = [PointBuffer(10, 50, 160), PointBuffer(11, 50, 480)]
    with pytest.raises(ProviderError, match=r"^spatials\[1\] .*too far"):
        rs_embed.get_embeddings_batch(
            "plugged", spatials=spots, temporal=TemporalSpec.year(2022), backend="partly"
        )


def test_an_input_that_a_source_lacks_is_its_own_word():
    class NoRed(MemoryProvider):
        def describe(self, item: InputSpec, sensor):
            return Failure(ModelError(f"nothing here for {item.name}"))

    rs_embed.register_provider("nored", NoRed())
    with pytest.raises(ModelError, match="nothing here for s2"):
        embedded("mosaiks", "nored")
