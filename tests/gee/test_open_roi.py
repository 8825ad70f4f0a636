"""Lazy regions: nothing before compute, the slice and no more, the same pixels as a fetch."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio

from rs_embed import (
    BBox,
    ModelChoice,
    ModelError,
    OutputSpec,
    PointBuffer,
    ProviderError,
    SensorSpec,
    SpecError,
    TemporalSpec,
    get_embedding,
    open_roi,
)
from rs_embed.core.grid import Grid
from rs_embed.providers.gee import GeeProvider
from tests.earth_engine import Server
from tests.gee.plans import JUNE, S2, fetch_window, plan, requests_of

PLACE = PointBuffer(3.6, 41.0, 320)
# Where the random pixels of January 2023 lie.
RANDOM = PointBuffer(3.597910, 41.006943, 300)
SUMMER = TemporalSpec.range(*JUNE)
JANUARY = TemporalSpec.range("2023-01-05", "2023-01-06")
RGB = SensorSpec(S2, ("B4", "B3", "B2"))


def sizes(server: Server) -> list[tuple[int, int]]:
    """Height and width of every request."""
    grids = [body["grid"]["dimensions"] for body in requests_of(server)]
    return [(grid["height"], grid["width"]) for grid in grids]


def test_nothing_is_fetched_before_compute(server: Server) -> None:
    array = open_roi(PLACE, SUMMER, RGB)
    assert array.dims == ("band", "y", "x")
    assert array.shape == (3, 64, 64)
    assert array.dtype == np.float32
    repr(array)
    array._repr_html_()
    assert array.isel(x=slice(0, 4)).shape == (3, 64, 4)
    assert server.counters == {}
    assert array.compute().values.tolist()[0][0][0] == 2030
    assert sizes(server) == [(64, 64)]


def test_it_is_georeferenced(server: Server) -> None:
    array = open_roi(PLACE, SUMMER, RGB)
    assert array.rio.crs.to_epsg() == 32631
    assert array.rio.transform() == array.rio.transform(recalc=True)
    assert array.rio.resolution() == (10, -10)
    assert str(array.time.values)[:10] == "2022-06-16"
    assert array.band.values.tolist() == ["B4", "B3", "B2"]
    assert array.band_units.values.tolist() == ["reflectance_x10000"] * 3
    assert array.attrs["collection"] == S2
    assert server.counters == {}


def test_a_slice_fetches_the_slice(server: Server) -> None:
    whole = open_roi(RANDOM, JANUARY, RGB).compute()
    assert np.isfinite(whole).all()
    server.reset()
    lazy = open_roi(RANDOM, JANUARY, RGB)
    part = lazy.isel(y=slice(10, 17), x=slice(20, 50)).sel(band="B3")
    assert np.array_equal(part, whole.isel(band=1, y=slice(10, 17), x=slice(20, 50)))
    assert sizes(server) == [(7, 30)]
    assert str(requests_of(server)).count("'B3'") > 0
    assert "'B4'" not in str(requests_of(server))


@pytest.mark.parametrize(
    "key",
    [
        {"y": 3}, {"y": -1, "x": 0, "band": 2}, {"y": slice(None, None, -1)},
        {"x": slice(50, 10, -7)}, {"band": [2, 0]}, {"y": [40, 3, 9]}, {"x": slice(5, 5)},
        {"y": slice(0, 60, 13), "x": slice(1, None, 29)},
    ],
    ids=str,
)  # fmt: skip
def test_any_indexing_is_that_of_numpy(server: Server, key) -> None:
    whole = open_roi(RANDOM, JANUARY, RGB).compute()
    lazy = open_roi(RANDOM, JANUARY, RGB).isel(key)
    assert lazy.shape == whole.isel(key).shape
    assert np.array_equal(lazy.values, whole.isel(key).values, equal_nan=True)


def test_the_pixels_are_those_of_a_fetch(server: Server) -> None:
    array = open_roi(PLACE, SUMMER, RGB)
    grid = Grid("EPSG:32631", array.rio.transform(), (64, 64))
    patch = fetch_window(plan(("B4", "B3", "B2"), grid=grid))
    assert np.array_equal(array, patch.data[0])


def test_chunks_are_fetched_one_by_one(server: Server) -> None:
    pytest.importorskip("dask")
    whole = open_roi(RANDOM, JANUARY, RGB).compute()
    server.reset()
    array = open_roi(RANDOM, JANUARY, RGB, chunks={"x": 20, "y": 30})
    assert array.chunks == ((3,), (30, 30), (20, 20, 20))
    assert server.counters == {}
    assert np.array_equal(array.isel(x=slice(20, 40)), whole.isel(x=slice(20, 40)), equal_nan=True)
    assert sizes(server) == [(30, 20)] * 2
    assert np.array_equal(array, whole, equal_nan=True)


def test_without_dask(server: Server) -> None:
    """In a process where dask cannot be imported; chunks= then says what to install."""
    code = (
        "import sys\n"
        "sys.modules['dask'] = None\n"
        "import ee.deprecation\n"
        "ee.deprecation._FetchDataCatalogStac = dict\n"
        "from google.auth.credentials import AnonymousCredentials\n"
        f"ee.Initialize(AnonymousCredentials(), url='{server.url}', project='p')\n"
        "from rs_embed import *\n"
        f"sensor = SensorSpec('{S2}', ('B4',))\n"
        "when = TemporalSpec.range('2022-06-01', '2022-07-01')\n"
        "array = open_roi(PointBuffer(3.6, 41.0, 320), when, sensor)\n"
        "print(float(array[0, :2, :2].compute().mean()))\n"
        "try:\n"
        "    open_roi(PointBuffer(3.6, 41.0, 320), when, sensor, chunks=10)\n"
        "except ProviderError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    needed = 'chunks= needs dask: pip install "dask[array]" (extra `dask`)'
    assert ran.stdout.splitlines() == ["2030.0", needed]


def test_chunks_that_do_not_fit(server: Server) -> None:
    with pytest.raises(SpecError, match="chunks="):
        open_roi(PLACE, SUMMER, RGB, chunks={"feature": 3})


def test_a_model_gives_its_bands_and_its_pixel_size(server: Server) -> None:
    array = open_roi(PLACE, SUMMER, "mosaiks")
    assert array.band.values.tolist() == ["B2", "B3", "B4", "B8", "B11", "B12"]
    assert array.rio.resolution() == (10, -10)


def test_embedding_it_fetches_what_the_model_needs(server: Server) -> None:
    spatial = PointBuffer(3.6, 41.0, 320)  # one window of 64 pixels: no surroundings are seen
    ours = get_embedding("mosaiks", spatial=spatial, temporal=SUMMER, output=OutputSpec.grid())
    server.reset()
    lazy = open_roi(spatial, SUMMER, RGB).rsembed
    with pytest.raises(SpecError, match="B8"):
        lazy.embed("mosaiks")
    assert server.counters == {}
    theirs = open_roi(spatial, SUMMER, "mosaiks").rsembed.embed("mosaiks")
    assert sizes(server) == [(64, 64)]
    assert np.allclose(ours.data, theirs, rtol=1e-5)
    assert np.array_equal(ours.data.x, theirs.x)
    assert np.array_equal(ours.data.y, theirs.y)


def test_embedding_many_windows_takes_no_request_for_each(server: Server) -> None:
    array = open_roi(PointBuffer(3.6, 41.0, 1280), SUMMER, "mosaiks")
    array.rsembed.embed("mosaiks")
    assert sizes(server) == [(256, 256)]
    server.reset()
    array.isel(x=slice(0, 128), y=slice(128, None)).rsembed.embed("mosaiks")
    assert sizes(server) == [(128, 128)]


def test_a_band_keeps_its_meaning_under_another_name(server: Server) -> None:
    l30 = SensorSpec("NASA/HLS/HLSL30/v002", ("B5", "B4"), scale_m=30)
    array = open_roi(PLACE, SUMMER, l30)
    assert array.band.values.tolist() == ["nir08", "red"]
    assert array.source_band.values.tolist() == ["B5", "B4"]


def test_several_inputs_side_by_side(server: Server) -> None:
    """Mixed units stand beside each band, and the accessor reads them there."""
    choice = ModelChoice("galileo", variant="nano", modality="s2s1")
    when = TemporalSpec.range("2022-06-01", "2022-08-01")
    array = open_roi(PLACE, when, choice)
    assert array.dims == ("time", "band", "y", "x")
    assert set(array.band_units.values) == {"db", "reflectance_x10000"}
    assert len(array.time) == 2
    first = array.isel(time=0).sel(band=["VV", "B2"]).isel(x=slice(0, 2), y=slice(0, 2)).compute()
    assert np.allclose(first.sel(band="VV"), -10, atol=1e-5)
    assert np.allclose(first.sel(band="B2"), 2110)
    assert array.rsembed.check(choice).ok
    one = array.isel(time=0, drop=True).sel(band="VV")
    assert one.rsembed.to_patch().units == ("db",)


def test_a_part_without_scenes_is_missing_pixels(server: Server) -> None:
    # The tile of 19S ends within this region: its outer part has no scene, the inner one has.
    edge = BBox(-67.82, -33.91, -67.79, -33.90)
    array = open_roi(edge, SUMMER, SensorSpec(S2, ("B2",)))
    assert np.isnan(array[0, :4, -4:]).all()
    assert np.isfinite(array[0, :4, :4]).all()


def test_a_region_without_scenes_is_an_error_when_computed(server: Server) -> None:
    array = open_roi(PLACE, TemporalSpec.year(2010), RGB)
    with pytest.raises(ProviderError, match="filter: dates"):
        array[:, :2, :2].compute()


def test_it_can_be_pickled(server: Server) -> None:
    array = pickle.loads(pickle.dumps(open_roi(PLACE, SUMMER, RGB)))
    assert float(array[0, 0, 0]) == 2030
    assert pickle.loads(pickle.dumps(GeeProvider(workers=3))) == GeeProvider(workers=3)


def test_other_backends_are_lazy_too() -> None:
    array = open_roi(PLACE, SUMMER, "mosaiks", backend="memory")
    assert np.array_equal(array[1, 5:9, 7:9], array.compute()[1, 5:9, 7:9])


def test_plans_that_cannot_be_are_refused_at_once(server: Server) -> None:
    with pytest.raises(SpecError, match="temporal"):
        open_roi(PLACE, None, RGB)
    with pytest.raises(ModelError, match="there is no model"):
        open_roi(PLACE, SUMMER, "nonesuch")
    assert server.counters == {}
