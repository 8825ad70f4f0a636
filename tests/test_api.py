"""The documented surface: names, signatures, import paths."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Mapping

import pytest

import rs_embed
from rs_embed import (
    BBox,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    TemporalSpec,
    export_batch,
    export_npz,
    get_embedding,
    get_embeddings_batch,
    inspect_gee_patch,
)
from rs_embed.core.embedding import Embedding

MISSING = inspect.Parameter.empty
POINT = PointBuffer(5.0, 52.0, 640.0)
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")

# name -> [(parameter, default), ...] as documented; "*" marks where keyword-only begins.
FUNCTIONS = {
    get_embedding: [
        ("model", MISSING), "*", ("spatial", MISSING), ("temporal", None), ("sensor", None),
        ("output", OutputSpec.pooled()), ("backend", "gee"), ("device", "auto"),
    ],
    get_embeddings_batch: [
        ("model", MISSING), "*", ("spatials", MISSING), ("temporal", None), ("sensor", None),
        ("output", OutputSpec.pooled()), ("backend", "gee"), ("device", "auto"),
    ],
    export_batch: [
        "*", ("spatials", MISSING), ("temporal", MISSING), ("models", MISSING), ("out_dir", None),
        ("out_path", None), ("names", None), ("backend", "gee"), ("device", "auto"),
        ("output", OutputSpec.pooled()), ("sensor", None), ("per_model_sensors", None),
        ("format", "npz"), ("save_inputs", True), ("save_embeddings", True),
        ("save_manifest", True), ("fail_on_bad_input", False), ("chunk_size", 16),
        ("num_workers", 8), ("continue_on_error", False), ("max_retries", 0),
        ("retry_backoff_s", 0.0), ("async_write", True), ("writer_workers", 2),
        ("resume", False), ("show_progress", True),
    ],
    export_npz: [
        "*", ("spatial", MISSING), ("temporal", MISSING), ("models", MISSING),
        ("out_path", MISSING), ("backend", "gee"), ("device", "auto"),
        ("output", OutputSpec.pooled()), ("sensor", None), ("per_model_sensors", None),
        ("save_inputs", True), ("save_embeddings", True), ("save_manifest", True),
        ("fail_on_bad_input", False),
    ],
    inspect_gee_patch: [
        "*", ("spatial", MISSING), ("temporal", None), ("sensor", MISSING), ("backend", "gee"),
        ("name", "gee_patch"), ("value_range", None), ("return_array", False),
    ],
}  # fmt: skip
SPECS = {
    BBox: [
        ("minlon", MISSING), ("minlat", MISSING), ("maxlon", MISSING), ("maxlat", MISSING),
        ("crs", "EPSG:4326"),
    ],
    PointBuffer: [
        ("lon", MISSING), ("lat", MISSING), ("buffer_m", MISSING), ("crs", "EPSG:4326"),
    ],
    TemporalSpec: [("mode", MISSING), ("year", MISSING), ("start", MISSING), ("end", MISSING)],
    SensorSpec: [
        ("collection", MISSING), ("bands", MISSING), ("scale_m", 10), ("cloudy_pct", 30),
        ("fill_value", 0.0), ("composite", "median"), ("check_input", False),
        ("check_raise", True), ("check_save_dir", None),
    ],
    OutputSpec: [
        ("mode", MISSING), ("scale_m", 10), ("pooling", "mean"), ("grid_orientation", "north_up"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_signature_of_a_documented_function(function):
    found = list(inspect.signature(function).parameters.values())
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    wanted = []
    for item in FUNCTIONS[function]:
        if item == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            wanted.append((item[0], kind, item[1]))
    assert [(p.name, p.kind, p.default) for p in found[: len(wanted)]] == wanted
    more = found[len(wanted) :]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in more)
    assert all(p.default is not MISSING for p in more)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.__name__)
def test_signature_of_a_documented_spec(spec):
    found = list(inspect.signature(spec).parameters.values())
    documented = found[: len(SPECS[spec])]
    assert [(p.name, p.default) for p in documented] == SPECS[spec]
    assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in found)
    assert all(p.default is not MISSING for p in found[len(documented) :])
    assert [f.name for f in dataclasses.fields(spec)] == [p.name for p in found]
    assert spec.__dataclass_params__.frozen


def test_recommended_constructors():
    signature = inspect.signature
    assert list(signature(TemporalSpec.year).parameters) == ["year"]
    assert list(signature(TemporalSpec.range).parameters) == ["start", "end"]
    pooled = signature(OutputSpec.pooled).parameters
    assert {name: p.default for name, p in pooled.items()} == {"pooling": "mean"}
    grid = signature(OutputSpec.grid).parameters
    assert {name: p.default for name, p in grid.items()} == {
        "scale_m": 10,
        "grid_orientation": "north_up",
        "resample_m": None,
    }
    assert OutputSpec.pooled() == OutputSpec("pooled")
    assert OutputSpec.grid() == OutputSpec("grid", 10, "mean", "north_up")


def test_embedding_takes_data_and_meta():
    assert list(inspect.signature(Embedding).parameters) == ["data", "meta"]
    assert rs_embed.Embedding is Embedding


def test_everything_in_all_is_there():
    assert sorted(set(rs_embed.__all__)) == sorted(rs_embed.__all__)
    for name in rs_embed.__all__:
        assert getattr(rs_embed, name).__doc__, name


def test_errors_have_one_root():
    from rs_embed.core import errors

    for kind in (errors.SpecError, errors.ProviderError, errors.ModelError):
        assert issubclass(kind, errors.RsEmbedError)
        assert getattr(rs_embed, kind.__name__) is kind
    assert issubclass(errors.SpecError, ValueError)


def test_model_specs_is_a_read_only_mapping():
    from rs_embed.embedders.catalog import MODEL_SPECS

    assert isinstance(MODEL_SPECS, Mapping)
    assert "mosaiks" in sorted(MODEL_SPECS.keys())
    assert MODEL_SPECS["mosaiks"].id == "mosaiks"
    with pytest.raises(TypeError):
        MODEL_SPECS["mosaiks"] = None
    with pytest.raises(TypeError):
        del MODEL_SPECS["mosaiks"]
    with pytest.raises(KeyError):
        MODEL_SPECS["no such model"]


def test_list_models_is_empty_at_first_and_then_what_was_loaded():
    code = """
from rs_embed import PointBuffer, TemporalSpec, get_embedding, load_model
from rs_embed.core.registry import list_models
assert list_models() == [], list_models()
from rs_embed.embedders.catalog import MODEL_SPECS
sorted(MODEL_SPECS)
assert list_models() == [], list_models()
get_embedding("mosaiks", spatial=PointBuffer(5, 52, 100), temporal=TemporalSpec.year(2022),
              backend="memory")
assert list_models() == ["mosaiks"], list_models()
load_model("mosaiks:1024")
assert list_models() == ["mosaiks"], list_models()
from rs_embed.embedders.runtime import unload_models
unload_models()
assert list_models() == [], list_models()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_what_is_not_built_says_so():
    from rs_embed import ProviderError

    with pytest.raises(ProviderError, match="'stac' is planned"):
        get_embedding("mosaiks", spatial=POINT, temporal=SUMMER, backend="stac")


def test_documented_calls_take_their_arguments_positionally():
    BBox(5, 52, 5.1, 52.1).validate()
    PointBuffer(121.5, 31.2, 2048).validate()
    SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B3", "B2"), 10, 30, 0.0, "median").validate()
