"""Requests that no one means: a SpecError or ModelError that says what would do, never a crash."""

from __future__ import annotations

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr

from rs_embed import (
    ModelChoice,
    ModelError,
    OutputSpec,
    PointBuffer,
    ProviderError,
    SpecError,
    get_embedding,
    get_embeddings_batch,
    register_provider,
)
from rs_embed.pipeline import embed
from rs_embed.providers import base
from tests.counting import CountingProvider
from tests.places import SUMMER, TOY, at, registered
from tests.toys import BANDS

COUNTING = "counting"


@pytest.fixture(autouse=True)
def source():
    made = CountingProvider()
    register_provider(COUNTING, made)
    with registered(TOY):
        yield made
    base._FACTORIES.pop(COUNTING)


@pytest.fixture
def array():
    return xr.DataArray(
        np.full((3, 32, 32), 0.1, dtype=np.float32),
        dims=("band", "y", "x"),
        coords={"band": list(BANDS), "y": -10.0 * np.arange(32), "x": 10.0 * np.arange(32)},
    ).rio.write_crs("EPSG:32631")


@pytest.mark.parametrize("scale_m", [1e-300, 1e-9, 0.01])
def test_more_cells_than_are_allowed_are_refused_before_any_fetch(source, array, scale_m) -> None:
    fine = OutputSpec.grid(scale_m=scale_m)
    words = "cells of the region, more than the 1e[+]08 allowed"
    with pytest.raises(SpecError, match=words):
        get_embedding("toy", spatial=at(), temporal=SUMMER, output=fine, backend=COUNTING)
    with pytest.raises(SpecError, match=r"^spatials\[0\] .* cells of the region"):
        get_embeddings_batch(
            "toy", spatials=[at(), at(300)], temporal=SUMMER, output=fine, backend=COUNTING
        )
    assert words[:20] in str(embed("toy", at(), SUMMER, source, output=fine).failure())
    with pytest.raises(SpecError, match=words):
        array.rsembed.embed("toy", units="reflectance", output=fine)
    report = array.rsembed.check("toy", units="reflectance", output=fine)
    assert not report.ok
    assert words[:20] in " ".join(report.problems)
    assert source.fetch_window == []


def test_many_cells_that_are_allowed_are_made(array) -> None:
    found = array.rsembed.embed("toy", units="reflectance", output=OutputSpec.grid(scale_m=1))
    assert found.sizes == {"feature": 10, "y": 320, "x": 320}


@pytest.mark.parametrize("backend", ["memory", "sample", COUNTING])
def test_a_source_that_nobody_reads_is_refused(backend) -> None:
    with pytest.raises(SpecError, match=f"backend '{backend}' takes no source=; use backend='lo"):
        get_embedding("toy", spatial=at(), temporal=SUMMER, backend=backend, source="x.tif")


@pytest.mark.parametrize("progress", ["bar", True, 3])
def test_progress_that_cannot_be_called(array, source, progress) -> None:
    with pytest.raises(SpecError, match="progress must be called as"):
        get_embedding("toy", spatial=at(), temporal=SUMMER, backend=COUNTING, progress=progress)
    with pytest.raises(SpecError, match="progress must be called as"):
        array.rsembed.embed("toy", units="reflectance", progress=progress)
    assert source.fetch_window == []


@pytest.mark.parametrize("options", [None, "seed", 5, ["seed"]])
def test_options_that_are_no_mapping(options) -> None:
    with pytest.raises(ModelError, match="options is a mapping, such as"):
        ModelChoice("toy", options=options)


# A list is one unit a date, and the array has one.
@pytest.mark.parametrize("units", [3, ["reflectance", "reflectance"], ["reflectance", 3], 1.0])
def test_units_that_are_no_name(array, units) -> None:
    for call in (
        lambda: array.rsembed.embed("toy", units=units),
        lambda: array.rsembed.to_patch(units=units),
    ):
        with pytest.raises(SpecError, match="units takes the units of all bands"):
            call()
    assert "units takes" in " ".join(array.rsembed.check("toy", units=units).problems)


def test_a_region_without_a_pixel_names_the_source_though_its_window_has_some() -> None:
    """A region just beyond the sample scene's corner, in a window that reaches back into it."""
    margins = PointBuffer(lon=-67.62285, lat=-47.86345, buffer_m=50)
    with pytest.raises(ProviderError, match=r"^sample holds no valid pixel; widen the temporal"):
        get_embedding("mosaiks", spatial=margins, backend="sample")
