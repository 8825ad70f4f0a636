"""What a model gives is looked at; missing input is told from numbers that are none."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

import rs_embed
from rs_embed import ModelChoice, ModelError, OutputSpec, PointBuffer, SensorSpec, TemporalSpec
from rs_embed.core.tokens import Tokens
from rs_embed.embedders import catalog
from rs_embed.embedders import runtime as run
from rs_embed.plugins.notices import RsEmbedWarning, forget, warn_once
from tests import toys

PLACE = PointBuffer(10, 50, 160)
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")


@pytest.fixture(autouse=True)
def fresh_tables(monkeypatch):
    monkeypatch.setattr(catalog, "_REGISTERED", dict(catalog._REGISTERED))
    yield
    run.unload_models()


def odd(kind: str):
    """A toy whose tokens are wrong in one way, or whose functions raise."""

    def encode(network, arrays, model):
        tokens = toys.encode(network, arrays, model)
        if kind == "shape":
            return Tokens(tokens.grid[:, :1])
        if kind == "dim":
            return Tokens(tokens.grid[..., :4])
        if kind == "dtype":
            return Tokens(tokens.grid.astype(np.float64))
        if kind == "no tokens":
            return tokens.grid
        if kind == "image":
            return Tokens(tokens.grid, np.zeros((99, 3), np.float32))
        if kind == "raises":
            raise LookupError("the moon is not in range")
        if kind == "nan":
            tokens.grid[..., 1, 1, 3] = np.nan
        return tokens

    encode.__module__ = __name__
    globals()["odd_encode"] = encode
    rs_embed.register_model(replace(toys.toy("odd"), encode=f"{__name__}:odd_encode"))
    return "odd"


def embedded(model, **keywords):
    return rs_embed.get_embedding(
        model, spatial=PLACE, temporal=SUMMER, backend="memory", **keywords
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shape", "must give float32"),
        ("dim", "(1, 4, 4, 10)"),
        ("dtype", "float64"),
        ("no tokens", "must give Tokens"),
        ("image", "image vector"),
        ("raises", "raised LookupError: the moon is not in range"),
        ("nan", "whose pixels are all valid"),
    ],
)
def test_tokens_that_are_none_are_refused(kind, words):
    with pytest.raises(ModelError) as caught:
        embedded(odd(kind))
    assert "odd" in str(caught.value)
    assert words in str(caught.value)


def test_every_feature_decides_whether_a_cell_is_valid():
    from rs_embed.core.token_grid import TokenGrid, pool

    cells = np.ones((2, 2, 5), np.float32)
    cells[0, 0, 4] = np.nan
    grid = TokenGrid(cells)
    assert grid.valid.tolist() == [[False, True], [True, True]]
    assert np.isfinite(pool(grid, "mean")).all()


def holed(band: int):
    scene = rs_embed.sample_scene().isel(y=slice(0, 64), x=slice(0, 64)).astype("float32")
    scene = scene.assign_attrs(units="reflectance_x10000")
    scene[band] = np.nan
    return scene


def test_a_band_that_is_missing_everywhere_is_refused():
    with pytest.raises(ModelError) as caught:
        holed(4).rsembed.embed("mosaiks")
    for word in ("B11", "mosaiks", "stand-in"):
        assert word in str(caught.value)
    half = holed(4)
    half[4, :32] = 1000
    assert np.isfinite(half.rsembed.embed("mosaiks").values[:, :4]).all()


def test_convolutions_run_in_full_precision_and_the_switch_goes_back():
    cudnn = pytest.importorskip("torch.backends.cudnn")
    from rs_embed.embedders.precision import full_precision

    seen = []

    class Watching(toys.linear_build(None).__class__):
        def forward(self, x):
            seen.append(cudnn.allow_tf32)
            return super().forward(x)

    globals()["watching_build"] = lambda model: Watching(3, 2, bias=False)
    spec = toys.linear("watched")
    bare = replace(spec.variants[0], weights=None)
    rs_embed.register_model(replace(spec, variants=(bare,), build=f"{__name__}:watching_build"))
    before = cudnn.allow_tf32
    embedded("watched", device="cpu")
    assert seen
    assert not any(seen)
    assert cudnn.allow_tf32 == before
    with full_precision():
        with full_precision():
            assert not cudnn.allow_tf32
        assert not cudnn.allow_tf32, "another network still runs"
    assert cudnn.allow_tf32 == before


# Warnings


def test_a_warning_points_at_the_callers_line():
    scene = rs_embed.sample_scene().isel(y=slice(0, 64), x=slice(0, 64))
    scene = scene.drop_attrs()
    for call in (
        lambda: scene.rsembed.embed("mosaiks"),
        lambda: embedded("mosaiks", sensor=SensorSpec("TOY/S2", ("B2",) * 0 or toys.BANDS, 20)),
    ):
        forget()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                call()
            except (ModelError, rs_embed.SpecError):
                continue
        ours = [one for one in said if issubclass(one.category, RsEmbedWarning)]
        assert ours
        assert {one.filename for one in ours} == {__file__}


def test_a_warning_that_is_an_error_is_raised_each_time():
    forget()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            with pytest.raises(RsEmbedWarning):
                warn_once("again", "said")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn_once("again", "said")
        warn_once("again", "said")
    assert len(said) == 1


# Doors


def test_auto_and_a_models_own_backend_hold_in_every_door(monkeypatch):
    from rs_embed.providers import base

    memory = base.open_provider("memory").unwrap()
    monkeypatch.setitem(base._BUILT_IN, "gee", lambda source: memory)
    sensor = SensorSpec("TOY/S2", toys.BANDS, units="reflectance")
    auto = rs_embed.inspect_gee_patch(spatial=PLACE, temporal=SUMMER, sensor=sensor, backend="auto")
    assert auto["backend"] == "memory"
    array = rs_embed.open_roi(PLACE, SUMMER, sensor, backend="auto")
    assert array.attrs["source"] == "memory"

    def refuses(source):
        raise AssertionError("the model names another backend")

    monkeypatch.setitem(base._BUILT_IN, "gee", refuses)
    choice = ModelChoice("mosaiks", backend="memory")
    assert rs_embed.open_roi(PLACE, SUMMER, choice).attrs["source"] == "memory"
    found = rs_embed.get_embedding(
        choice, spatial=PLACE, temporal=SUMMER, output=OutputSpec.pooled()
    )
    assert found.meta["backend"] == "memory"


@pytest.mark.parametrize("absent", ["timm", "torch", "safetensors"])
def test_a_missing_package_is_named_with_its_extra_before_any_download(absent):
    code = (
        "import sys\n"
        f"sys.modules[{absent!r}] = None\n"
        "from rs_embed import load_model, ModelError\n"
        "try:\n"
        "    load_model('prithvi_eo_v2_s2_6b:tiny_tl')\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needed = "pip install torch timm huggingface_hub safetensors (extra `torch`)"
    assert ran.stdout.strip() == f"prithvi_eo_v2_s2_6b needs {absent}: {needed}"
