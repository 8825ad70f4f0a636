"""The annual satellite embedding: published vectors, unchanged, in their place."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio

from rs_embed import (
    ModelChoice,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    SpecError,
    TemporalSpec,
    get_embedding,
    open_roi,
)
from tests.earth_engine import Server
from tests.gee.plans import requests_of

PLACE = PointBuffer(3.6, 40.5, 95)
# Two zones hold this place in 2020, one along A00, the other along A01.
BORDER = PointBuffer(5.98961, 40.98592, 100)


def test_cells_are_the_published_pixels(server: Server) -> None:
    grid = get_embedding(
        "gse_annual", spatial=PLACE, temporal=TemporalSpec.year(2022), output=OutputSpec.grid()
    )
    data = grid.data
    assert data.shape == (64, 19, 19)
    assert data.rio.resolution() == (10, -10)
    assert set(np.unique(data)) == {-0.125, 0.125}
    assert np.allclose(np.linalg.norm(data, axis=0), 1)
    # A00 is a checkerboard of single pixels, A01 of two: neighbours differ as they should.
    assert (data[0, :, 1:].values == -data[0, :, :-1].values).all()
    assert (data[1, :, 2:].values == -data[1, :, :-2].values).all()
    assert grid.meta["input"]["composite"] == "mosaic"
    assert grid.meta["input_time"] == "2022-07-02"
    assert grid.meta["cell_m"] == 10


def test_pooled_is_the_plain_mean(server: Server) -> None:
    when = TemporalSpec.year(2022)
    grid = get_embedding("gse", spatial=PLACE, temporal=when, output=OutputSpec.grid()).data
    pooled = get_embedding("alphaearth", spatial=PLACE, temporal=when).data
    assert np.allclose(pooled, grid.mean(("y", "x")), atol=1e-6)
    assert np.linalg.norm(pooled) < 0.9


def test_means_are_scaled_back_on_request(server: Server) -> None:
    when = TemporalSpec.year(2022)
    choice = ModelChoice("gse_annual", options={"renormalise": True})
    plain = get_embedding("gse_annual", spatial=PLACE, temporal=when).data
    scaled = get_embedding(choice, spatial=PLACE, temporal=when).data
    assert np.linalg.norm(scaled) == pytest.approx(1, abs=1e-6)
    assert np.allclose(scaled * np.linalg.norm(plain), plain, atol=1e-6)
    output = OutputSpec.grid(30)
    coarse = get_embedding(choice, spatial=PLACE, temporal=when, output=output).data
    assert np.allclose(np.linalg.norm(coarse, axis=0), 1, atol=1e-6)


def test_years_differ_and_are_asked_for_by_the_year(server: Server) -> None:
    first, second = (
        get_embedding(
            "gse_annual", spatial=PLACE, temporal=TemporalSpec.year(y), output=OutputSpec.grid()
        )
        for y in (2022, 2023)
    )
    assert np.array_equal(first.data, -second.data)
    assert "2023-01-01" in str(requests_of(server)[0])


@pytest.mark.parametrize(
    ("temporal", "words"),
    [
        (TemporalSpec.range("2022-06-01", "2022-09-01"), "TemporalSpec.year\\(2022\\)"),
        (TemporalSpec.range("2021-01-01", "2023-01-01"), "TemporalSpec.year\\(2021\\)"),
        (TemporalSpec.year(2016), "2017 to 2025, not 2016"),
        (TemporalSpec.year(2026), "2017 to 2025, not 2026"),
        (None, "needs a temporal"),
    ],
)
def test_years_are_validated_without_asking_for_pixels(server: Server, temporal, words) -> None:
    with pytest.raises(SpecError, match=words):
        get_embedding("gse_annual", spatial=PLACE, temporal=temporal)
    assert server.counters == {}


def test_a_whole_year_as_a_range_is_a_year(server: Server) -> None:
    when = TemporalSpec.range("2022-01-01", "2023-01-01")
    ours = get_embedding("gse_annual", spatial=PLACE, temporal=when)
    theirs = get_embedding("gse_annual", spatial=PLACE, temporal=TemporalSpec.year(2022))
    assert np.array_equal(ours.data, theirs.data)


def test_the_zone_of_the_centre_is_on_top(server: Server) -> None:
    pooled = get_embedding("gse_annual", spatial=BORDER, temporal=TemporalSpec.year(2020)).data
    assert pooled[:3].tolist() == [1, 0, 0]


def test_masked_pixels_are_nan_and_out_of_the_pool(server: Server) -> None:
    # The tile of 31N ends at 655360 E; east of it there is nothing in 2022.
    edge = PointBuffer(4.8350, 40.5, 200)
    when = TemporalSpec.year(2022)
    grid = get_embedding("gse_annual", spatial=edge, temporal=when, output=OutputSpec.grid())
    there = np.isfinite(grid.data).all("feature")
    assert 0 < float(there.mean()) < 1
    assert np.isnan(grid.data.where(~there)).all()
    assert grid.meta["valid_fraction"] == pytest.approx(float(there.mean()))
    pooled = get_embedding("gse_annual", spatial=edge, temporal=when).data
    assert np.isfinite(pooled).all()
    assert np.allclose(pooled, grid.data.mean(("y", "x"), skipna=True), atol=1e-6)


def test_nearest_only(server: Server) -> None:
    bands = tuple(f"A{i:02d}" for i in range(64))
    sensor = SensorSpec("GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", bands, resampling="bilinear")
    with pytest.raises(SpecError, match="cannot be interpolated"):
        get_embedding("gse", spatial=PLACE, temporal=TemporalSpec.year(2022), sensor=sensor)


def test_the_same_from_an_array(server: Server) -> None:
    when = TemporalSpec.year(2022)
    array = open_roi(PLACE, when, "gse_annual")
    ours = get_embedding("gse_annual", spatial=PLACE, temporal=when, output=OutputSpec.grid())
    assert np.array_equal(array.rsembed.embed("gse_annual"), ours.data)
    assert np.array_equal(array, ours.data)
