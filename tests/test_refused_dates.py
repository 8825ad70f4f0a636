"""What a family refuses of options and dates: the same ModelError through every door, unfetched."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from returns.result import Failure

from rs_embed import (
    ModelChoice,
    ModelError,
    OutputSpec,
    SpecError,
    get_embedding,
    get_embeddings_batch,
    register_provider,
)
from rs_embed.embedders.catalog import MODEL_SPECS
from rs_embed.embedders.runtime import function
from rs_embed.pipeline import embed
from rs_embed.providers import base
from tests.counting import CountingProvider
from tests.doors import resolved
from tests.places import SUMMER, TOY, at, registered
from tests.toys import BANDS, toy


class Undated(CountingProvider):
    """A source that counts its fetches and knows no dates."""

    def describe(self, item, sensor):
        return (
            super()
            .describe(item, sensor)
            .map(lambda source: dataclasses.replace(source, dated=False))
        )


@pytest.fixture
def source(request):
    """A source with or without dates, under its name."""
    made = CountingProvider() if request.param else Undated()
    register_provider(made.name, made)
    yield made
    base._FACTORIES.pop(made.name)


GALILEO, PRITHVI = "galileo", "prithvi_eo_v2_s2_6b"
REFUSED = [
    pytest.param(False, ModelChoice(GALILEO), "needs the month", id="no month"),
    pytest.param(True, ModelChoice(GALILEO, options={"month": 7}), "leave month out", id="both"),
    pytest.param(
        True, ModelChoice(GALILEO, modality="s1", options={"ndvi": True}), "ndvi comes from",
        id="ndvi without its bands",
    ),
    pytest.param(
        False, ModelChoice(PRITHVI, "300m_tl", options={"coords": "time"}), "needs dates",
        id="time of the undated",
    ),
    pytest.param(
        True, ModelChoice(PRITHVI, "300m", options={"coords": "both"}), "without time and location",
        id="coords of a variant without",
    ),
]  # fmt: skip


def array_for(choice, dated):
    """Pixels with the model's bands, dated or not, and their units."""
    model = resolved(choice)
    shape = (1, len(model.bands), model.window_px, model.window_px)
    rows = np.arange(model.window_px) * model.scale_m
    array = xr.DataArray(
        np.full(shape, 0.1, dtype=np.float32),
        dims=("time", "band", "y", "x"),
        coords={"band": list(model.bands), "y": 5_000_000 - rows, "x": 600_000 + rows},
    ).rio.write_crs("EPSG:32631")
    units = dict(zip(model.bands, model.units, strict=True))
    if not dated:
        return array.isel(time=0), units
    return array.assign_coords(time=[np.datetime64("2022-07-15", "ns")]), units


@pytest.mark.parametrize(("source", "choice", "words"), REFUSED, indirect=["source"])
def test_functions_refuse_before_any_fetch(source, choice, words) -> None:
    dated = type(source) is CountingProvider
    temporal = SUMMER if dated else None
    asked = {"temporal": temporal, "backend": source.name, "device": "cpu"}
    with pytest.raises(ModelError, match=words) as one:
        get_embedding(choice, spatial=at(), **asked)
    with pytest.raises(ModelError, match=words) as many:
        get_embeddings_batch(choice, spatials=[at(), at(300)], **asked)
    assert str(many.value).startswith("spatials[0] ")
    assert str(many.value).endswith(str(one.value))
    outcome = embed(choice, at(), temporal, source, device="cpu")
    assert isinstance(outcome, Failure)
    assert (type(outcome.failure()), str(outcome.failure())) == (ModelError, str(one.value))
    assert source.fetch_window == []


@pytest.mark.parametrize(("dated", "choice", "words"), REFUSED)
def test_arrays_are_refused_before_a_pixel_is_read(dated, choice, words) -> None:
    array, units = array_for(choice, dated)
    # An array that a series model could date is mended by the caller: that is a SpecError.
    mended = choice == ModelChoice(GALILEO) and not dated
    kind, words = (SpecError, "say when it was taken") if mended else (ModelError, words)
    with pytest.raises(kind, match=words) as refused:
        array.rsembed.embed(choice, units=units, device="cpu")
    report = array.rsembed.check(choice, units=units)
    assert not report.ok
    assert str(refused.value) in report.problems


def test_a_family_that_refuses_on_the_way_is_one_error_too() -> None:
    """What only the pixels tell: raised by ``prepare``, it travels like every other error."""
    late = toy("toy_late", prepare="tests.test_refused_dates:refuse")
    with registered(late):
        outcome = embed("toy_late", at(), SUMMER, CountingProvider())
        assert isinstance(outcome.failure(), ModelError)
        with pytest.raises(ModelError, match="these pixels are too blue"):
            get_embedding("toy_late", spatial=at(), temporal=SUMMER, backend="memory")
        with pytest.raises(ModelError, match=r"^spatials\[0\] .* these pixels are too blue"):
            get_embeddings_batch(
                "toy_late", spatials=[at(), at(300)], temporal=SUMMER, backend="memory"
            )
        array = xr.DataArray(
            np.full((3, 32, 32), 0.1, dtype=np.float32),
            dims=("band", "y", "x"),
            coords={"band": list(BANDS), "y": -10.0 * np.arange(32), "x": 10.0 * np.arange(32)},
        ).rio.write_crs("EPSG:32631")
        with pytest.raises(ModelError, match=r"^these pixels are too blue"):
            array.rsembed.embed("toy_late", units="reflectance")


def refuse(windows, model):
    """A prepare that takes nothing."""
    raise ModelError("these pixels are too blue")


def test_the_whole_river_says_what_get_embedding_says() -> None:
    with registered(TOY):
        for output in (OutputSpec.pooled(), OutputSpec.grid(), OutputSpec.grid(scale_m=40)):
            one = get_embedding(
                "toy", spatial=at(), temporal=SUMMER, output=output, backend="memory"
            )
            provider = base.open_provider("memory").unwrap()
            whole = embed("toy", at(), SUMMER, provider, output=output).unwrap()
            np.testing.assert_array_equal(whole.data, one.data)
            assert json.dumps(whole.meta) == json.dumps(one.meta)
            assert {"backend", "input", "weights", "empty_intervals"} <= set(whole.meta)
        outcome = embed(
            "mosaiks", at(), SUMMER, CountingProvider(), output=OutputSpec.pooled(pooling="model")
        )
        assert "no image-level vector" in str(outcome.failure())


def test_every_check_of_the_catalogue_is_there() -> None:
    found = {name for name, spec in dict(MODEL_SPECS).items() if function(spec, "check")}
    assert found >= {GALILEO, PRITHVI}
