"""Arrays, files, services and lazy cubes run one path: the same pixels give the same numbers."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
import tracemalloc

import numpy as np
import pytest
import rasterio
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from affine import Affine
from returns.result import Failure, Success

import rs_embed
from rs_embed import (
    BBox,
    ModelChoice,
    OutputSpec,
    PointBuffer,
    ProviderError,
    SensorSpec,
    SpecError,
    TemporalSpec,
    get_embedding,
    get_embeddings_batch,
    open_roi,
    register_provider,
)
from rs_embed.core.fetch import FetchPlan
from rs_embed.core.grid import Grid
from rs_embed.core.model import Cadence, InputSpec
from rs_embed.core.patch import Patch, PatchReader
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.runtime import load
from rs_embed.pipeline import encode_input, open_input, plan
from rs_embed.pipeline.inspect import CheckedProvider
from rs_embed.providers import base
from rs_embed.providers.array import ArrayProvider
from rs_embed.providers.base import Provider
from rs_embed.providers.local import local_provider
from rs_embed.providers.memory import MemoryProvider
from rs_embed.providers.validated import ValidatedProvider
from rs_embed.raster import read_xarray
from rs_embed.raster.raster import Raster
from tests.places import PROVIDER, SUMMER, TOY, at, model_of, registered, roi_of
from tests.toys import BANDS, toy

MONTHLY = toy("toy_monthly", cadence=Cadence("months", 12))
COARSE = toy("toy_30m", scale_m=30)
GRID = OutputSpec.grid()


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    monkeypatch.setattr(base, "_FACTORIES", dict(base._FACTORIES))
    with registered(TOY, MONTHLY, COARSE):
        yield


def pixels_of(place, *, step=10.0, months=(), holes=False):
    """What the memory source has of a place, as an array."""
    roi = roi_of(place)
    fine = roi if step == 10 else roi.refine(round(10 / step))
    fetch = FetchPlan("TOY/S2", BANDS, ("reflectance",) * 3, fine, tuple(months), SENSOR)
    patch = PROVIDER.fetch(fetch).unwrap()
    data = patch.data.copy()
    if holes:
        data[..., : fine.height // 3, : fine.width // 2] = np.nan
    array = xr.DataArray(
        data,
        dims=("time", "band", "y", "x"),
        coords={"band": list(BANDS), "y": fine.y(), "x": fine.x()},
        attrs={"units": "reflectance"},
    ).rio.write_crs(fine.crs)
    if not months:
        return array.isel(time=0)
    days = [np.datetime64(start, "ns") + np.timedelta64(14, "D") for start, _ in months]
    return array.assign_coords(time=days)


SENSOR = SensorSpec("TOY/S2", BANDS)
JUNE_TO_AUGUST = [
    ("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-08-01"), ("2022-08-01", "2022-09-01"),
]  # fmt: skip


def both(array, place, model="toy", temporal=None, **keywords):
    """The array by its accessor, and as the source of the place that it covers."""
    by_array = array.rsembed.embed(model, temporal=temporal, **keywords)
    by_source = get_embedding(
        model, spatial=place, temporal=temporal, backend="local", source=array,
        **{"output": GRID, **keywords},
    )  # fmt: skip
    return by_array, by_source


def same(by_array, by_source):
    found = by_source.to_xarray()
    np.testing.assert_array_equal(by_array.values, found.values)  # 0.0, NaN where NaN
    if "y" in found.dims:
        assert by_array.rio.transform() == found.rio.transform()


# --- one path ------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 32, 100])
@pytest.mark.parametrize(
    "keywords",
    [{}, {"overlap": 2}, {"input_prep": "resize"}, {"output": OutputSpec.pooled()}],
    ids=["grid", "overlap", "resize", "pooled"],
)
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
def test_an_array_and_a_source_of_the_same_pixels(side, keywords, holes):
    place = at(side_px=side)
    same(*both(pixels_of(place, holes=holes), place, **keywords))


@pytest.mark.parametrize("step", [10.0, 5.0, 2.0])
def test_finer_pixels_are_averaged_alike(step):
    place = at(side_px=64)
    same(*both(pixels_of(place, step=step, holes=True), place))


def test_a_series_and_a_lazy_one():
    place = at(side_px=70)
    array = pixels_of(place, months=JUNE_TO_AUGUST, holes=True)
    for one in (array, array.chunk(time=1, y=33, x=20)):
        same(*both(one, place, "toy_monthly", SUMMER))


def test_a_lazy_region_is_a_source_and_an_array():
    place = at(side_px=64)
    direct = get_embedding(
        "toy", spatial=place, temporal=SUMMER, backend="memory", output=GRID
    )  # fmt: skip
    lazy = open_roi(place, SUMMER, "toy", backend="memory")
    found = lazy.rsembed.embed("toy", temporal=SUMMER)
    np.testing.assert_array_equal(found.values, direct.data.values)


def test_a_lazy_region_is_not_bounded_and_what_is_held_is():
    wide = open_roi(BBox(3, 51, 5, 52.5), SUMMER, "toy", backend="memory")
    assert wide.sizes["y"] * wide.sizes["x"] > 1e8
    part = wide[:, 8000:8032, 9000:9032]
    alone = open_roi(BBox(3, 51, 5, 52.5), SUMMER, "toy", backend="memory", chunks={"y": 1024})
    np.testing.assert_array_equal(part.values, alone[:, 8000:8032, 9000:9032].values)
    with pytest.raises(SpecError, match=r"more than the 1e\+08 that are held at once; .*isel"):
        wide.load()
    with pytest.raises(SpecError, match=r"allowed at once; stream it: open_roi"):
        get_embedding("toy", spatial=BBox(3, 51, 5, 52.5), temporal=SUMMER, backend="memory")


@pytest.mark.parametrize("overlap", [0, 2])
def test_an_array_is_a_source_to_the_steps(overlap):
    """Planned as a place is, an array's own source gives what the accessor gives."""
    place = at(side_px=100)
    array = pixels_of(place)
    source = ArrayProvider(read_xarray(array).unwrap(), ((0,),))
    planned = plan(model_of(), place, None, source, overlap=overlap).unwrap()
    loaded = load(planned.model).unwrap()
    cells = open_input(planned, source).bind(lambda tiled: encode_input(loaded, tiled)).unwrap()
    wanted = array.rsembed.embed("toy", overlap=overlap)
    np.testing.assert_array_equal(cells.cells.transpose(2, 0, 1), wanted.values)


def test_rows_are_read_once_however_windows_overlap(monkeypatch):
    place = at(side_px=96)
    source = ArrayProvider(read_xarray(pixels_of(place)).unwrap(), ((0,),))
    planned = plan(model_of(), place, None, source, overlap=4).unwrap()
    read = []
    monkeypatch.setattr(
        Raster, "read",
        lambda self, grid, of=Raster.read: read.append(grid.shape) or of(self, grid),
    )  # fmt: skip
    loaded = load(planned.model).unwrap()
    kept = open_input(planned, source).bind(lambda tiled: encode_input(loaded, tiled)).unwrap()
    assert sum(height * width for height, width in read) == 96 * 96
    monkeypatch.setattr("rs_embed.providers.array._ROW_VALUES", 0)
    plain = open_input(planned, source).bind(lambda tiled: encode_input(loaded, tiled)).unwrap()
    assert sum(height * width for height, width in read) > 3 * 96 * 96
    np.testing.assert_array_equal(kept.cells, plain.cells)


class Windowed(MemoryProvider):
    """The memory source, which fetches each window by itself and never a whole plan."""

    def open(self, plan):
        def read(row, col, height, width):
            part = dataclasses.replace(plan, grid=plan.grid.window(row, col, height, width))
            return MemoryProvider.fetch(self, part).unwrap().data

        return Success(PatchReader(lambda: read, plan.bands, plan.units, plan.grid, plan.intervals))

    def fetch(self, plan):
        return Failure(ProviderError("this source is read by windows"))


@pytest.mark.parametrize("side", [3, 48, 130])
@pytest.mark.parametrize("keywords", [{}, {"overlap": 4}, {"input_prep": "resize"}])
@pytest.mark.parametrize("model", ["toy", "toy_monthly"])
def test_whole_patches_and_windows_give_the_same(side, keywords, model):
    register_provider("windowed", Windowed())
    found = [
        get_embedding(
            model, spatial=at(side_px=side), temporal=SUMMER, output=GRID, backend=backend,
            **keywords,
        )
        for backend in ("memory", "windowed")
    ]  # fmt: skip
    np.testing.assert_array_equal(found[0].data.values, found[1].data.values)
    assert found[0].meta["plan"] == found[1].meta["plan"]


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "file"])
def test_a_fine_source_is_read_in_strips(kind, tmp_path):
    """A file of 1 m, of which a hundred pixels make one of the model's, is never held whole."""
    side = 4000
    step = np.arange(side, dtype=np.uint16)
    data = np.stack([step[:, None] % 251 + step % (97 + i) for i in range(3)]).astype(np.uint8)
    fine = Grid("EPSG:32631", Affine(1, 0, 600_000, 0, -1, 5_800_000), (side, side))
    if kind == "file":
        source = tmp_path / "fine.tif"
        with rasterio.open(
            source, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8",
            crs=fine.crs, transform=fine.transform, tiled=True,
        ) as file:  # fmt: skip
            file.write(data)
            for i, band in enumerate(BANDS):
                file.set_band_description(i + 1, band)
    else:
        source = xr.DataArray(
            data, dims=("band", "y", "x"),
            coords={"band": list(BANDS), "y": fine.y(), "x": fine.x()},
            attrs={"crs": fine.crs},
        )  # fmt: skip
    provider = local_provider(source)
    sensor = SensorSpec("any", BANDS, units="uint8")
    info = provider.describe(InputSpec("s2", BANDS, "uint8"), sensor).unwrap()
    coarse = Grid(fine.crs, Affine(10, 0, 600_000, 0, -10, 5_800_000), (side // 10, side // 10))
    asked = FetchPlan("local", info.bands, info.units, coarse, (), sensor, info.content_hash)
    tracemalloc.start()
    patch = provider.fetch(asked).unwrap()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    strip = 4 * 4_000_000
    blocks = 64 * 2**20 if kind == "file" else 0  # decoded blocks of a file that are kept
    assert peak < 1.3 * patch.data.nbytes + 2 * strip + blocks
    assert 4 * 3 * side**2 > 1.3 * patch.data.nbytes + 2 * strip + blocks  # so it would not fit
    wanted = data.reshape(3, side // 10, 10, side // 10, 10).mean(axis=(2, 4))
    np.testing.assert_allclose(patch.data[0], wanted, rtol=1e-6)


@pytest.mark.parametrize("step", [1, 10])
def test_a_long_series_is_read_in_strips(step):
    """72 dates of 600 x 600 pixels, 311 MB as float32, become one composite."""
    side, dates = 600, 72
    rows = np.arange(side)
    one = (rows[:, None] % 251 + rows % 97).astype(np.uint8)[None] // np.array([1, 2, 3])[
        :, None, None
    ].astype(np.uint8)
    fine = Grid("EPSG:32631", Affine(1, 0, 600_000, 0, -1, 5_800_000), (side, side))
    days = np.datetime64("2022-01-01", "ns") + np.arange(dates) * np.timedelta64(5, "D")
    source = xr.DataArray(
        np.repeat(one[None], dates, axis=0), dims=("time", "band", "y", "x"),
        coords={"time": days, "band": list(BANDS), "y": fine.y(), "x": fine.x()},
        attrs={"crs": fine.crs},
    )  # fmt: skip
    provider = local_provider(source)
    sensor = SensorSpec("any", BANDS, units="uint8")
    info = provider.describe(InputSpec("s2", BANDS, "uint8"), sensor).unwrap()
    coarse = Grid(
        fine.crs, Affine(step, 0, 600_000, 0, -step, 5_800_000), (side // step, side // step)
    )
    year = (("2022-01-01", "2023-01-01"),)
    asked = FetchPlan("local", info.bands, info.units, coarse, year, sensor, info.content_hash)
    tracemalloc.start()
    patch = provider.fetch(asked).unwrap()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * patch.data.nbytes + 2 * 4 * 4_000_000
    wanted = one.reshape(3, side // step, step, side // step, step).mean(axis=(2, 4))
    np.testing.assert_allclose(patch.data[0], wanted, rtol=1e-6)


# --- what wraps a source loses nothing -----------------------------------------------------------


class Recording(MemoryProvider):
    """A source that has every method, and notes which were called."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "called", [])


def _noting(name):
    def method(self, *words):
        self.called.append(name)
        return getattr(MemoryProvider, name)(self, *words)

    return method


METHODS = {
    name for name, _ in inspect.getmembers(Provider, inspect.isfunction) if not name.startswith("_")
}
for _name in METHODS:
    setattr(Recording, _name, _noting(_name))


def asked_of(name):
    """What a method of a source is called with."""
    item = InputSpec("s2", BANDS, "reflectance", "TOY/S2")
    sensor = dataclasses.replace(SENSOR, units="reflectance")
    (fetch,) = plan(model_of(), at(side_px=32), SUMMER, PROVIDER).unwrap().fetch_plans
    return {
        "describe": (item, None), "describe_sensor": (sensor,), "check_available": (),
        "scenes": ([fetch],),
    }.get(name, (fetch,))  # fmt: skip


def test_the_methods_of_a_source():
    assert {
        "describe", "fetch", "open", "check_available", "scenes", "describe_sensor", "read",
        "explain_empty",
    } == METHODS  # fmt: skip


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("wrap", [ValidatedProvider, CheckedProvider])
def test_a_wrapper_forwards_every_method(wrap, name):
    inner = Recording()
    outcome = getattr(wrap(inner, "wrapped", 1), name)(*asked_of(name))
    assert isinstance(outcome, Success)
    # A check judges whole patches, so it opens what it has fetched.
    assert ("fetch" if (wrap, name) == (CheckedProvider, "open") else name) in inner.called


def test_a_source_with_the_four_names_alone_has_the_rest(monkeypatch):
    class Bare:
        name, workers = "bare", 1
        describe = staticmethod(MemoryProvider().describe)
        fetch = staticmethod(MemoryProvider().fetch)

    wrapped = ValidatedProvider(Bare(), "bare", 1)
    for name in METHODS:
        assert isinstance(getattr(wrapped, name)(*asked_of(name)), Success), name
    register_provider("bare", Bare())
    embedding = get_embedding("toy", spatial=at(), temporal=SUMMER, backend="bare", output=GRID)
    ours = get_embedding("toy", spatial=at(), temporal=SUMMER, backend="memory", output=GRID)
    np.testing.assert_array_equal(embedding.data.values, ours.data.values)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_another_source_raises_names_it_and_the_cause(name):
    def broken(self, *words):
        raise ZeroDivisionError("no light today")

    inner = type("Broken", (MemoryProvider,), {name: broken})()
    outcome = getattr(ValidatedProvider(inner, "broken", 1), name)(*asked_of(name))
    error = outcome.failure()
    assert type(error) is ProviderError
    assert f"{name} of backend 'broken' failed" in str(error)
    assert "ZeroDivisionError: no light today" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)
    if name in ("fetch", "open", "read", "explain_empty"):
        assert re.search(r"for \d\.\d{4}\.\.\d\.\d{4} E, 52\.", str(error))


class Torn(Windowed):
    """Pixels north of a line can be read."""

    def open(self, plan):
        def read(row, col, height, width):
            if plan.grid.height > 64 and row >= 32:
                raise OSError("the tape is torn")
            return plain(row, col, height, width)

        plain = super().open(plan).unwrap().open()
        return Success(PatchReader(lambda: read, plan.bands, plan.units, plan.grid, plan.intervals))


def test_a_window_that_cannot_be_read_fails_its_own_region_alone():
    register_provider("torn", Torn())
    spots = [at(side_px=64), at(side_px=96), at(40, 40, side_px=32)]
    told = []
    with pytest.raises(ProviderError, match=r"^spatials\[1\] .*'torn' failed for .*torn"):
        get_embeddings_batch("toy", spatials=spots, temporal=SUMMER, backend="torn")
    good, bad, also_good = get_embeddings_batch(
        "toy", spatials=spots, temporal=SUMMER, backend="torn", on_error="return",
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1] == (14, 14)  # the windows that will not come are counted too
    assert isinstance(bad, ProviderError)
    ours = get_embeddings_batch("toy", spatials=spots, temporal=SUMMER, backend="memory")
    for found, wanted in ((good, ours[0]), (also_good, ours[2])):
        np.testing.assert_array_equal(found.data, wanted.data)


def test_a_window_of_another_shape_is_refused():
    class Short(Windowed):
        def open(self, plan):
            def read(row, col, height, width):
                return np.zeros((1, 3, height - 1, width), dtype=np.float32)

            return Success(
                PatchReader(lambda: read, plan.bands, plan.units, plan.grid, plan.intervals)
            )

    register_provider("short", Short())
    with pytest.raises(ProviderError, match=r"gave float32 \(1, 3, 31, 32\)"):
        get_embedding("toy", spatial=at(side_px=32), temporal=SUMMER, backend="short")


# --- results are the caller's own ----------------------------------------------------------------


def buffers(embedding):
    data = embedding.data
    return [np.asarray(data)] + [c.values for c in getattr(data, "coords", {}).values()]


@pytest.mark.parametrize("output", [GRID, OutputSpec.pooled(), OutputSpec.pooled("model")])
def test_the_same_region_twice_is_two_embeddings(output):
    place = at(side_px=40)
    one, two = get_embeddings_batch(
        "toy", spatials=[place, place], temporal=SUMMER, backend="memory", output=output
    )
    assert one is not two
    assert one.meta == two.meta
    assert one.meta is not two.meta
    assert one.meta["weights"] is not two.meta["weights"]
    for a in buffers(one):
        assert not any(np.shares_memory(a, b) for b in buffers(two))
    kept = np.array(two.data)
    np.asarray(one.data)[:] = -1
    one.meta["input"]["seed"] = "mine"
    np.testing.assert_array_equal(two.data, kept)
    again = get_embedding("toy", spatial=place, temporal=SUMMER, backend="memory", output=output)
    np.testing.assert_array_equal(again.data, kept)
    assert again.meta["input"]["seed"] == 0


def values():
    """What a caller may hand to another process, or keep."""
    place = at(side_px=40)
    planned = plan(model_of(), place, SUMMER, PROVIDER).unwrap()
    common = {"spatial": place, "temporal": SUMMER, "backend": "memory"}
    return {
        "box": BBox(1, 2, 3, 4), "point": PointBuffer(1, 2, 3), "year": TemporalSpec.year(2022),
        "range": SUMMER, "sensor": SENSOR, "output": GRID,
        "choice": ModelChoice("mosaiks", options={"seed": 3}),
        "model": find_model("mosaiks").unwrap(), "plan": planned, "fetch": planned.fetch_plans[0],
        "grid": get_embedding("toy", **common, output=GRID),
        "pooled": get_embedding("toy", **common),
    }  # fmt: skip


@pytest.mark.parametrize("twin", [lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy])
def test_values_are_pickled_and_copied(twin):
    for name, value in values().items():
        other = twin(value)
        assert type(other) is type(value), name
        if isinstance(value, rs_embed.core.embedding.Embedding):
            np.testing.assert_array_equal(other.data, value.data)
            assert other.meta == value.meta
            assert not np.shares_memory(np.asarray(other.data), np.asarray(value.data))
        else:
            assert other == value, name


@pytest.mark.parametrize("twin", [lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy])
def test_a_lazy_region_is_pickled_and_copied_unread(twin, monkeypatch):
    fetched = []
    fetch = MemoryProvider.fetch
    monkeypatch.setattr(
        MemoryProvider, "fetch", lambda self, plan: fetched.append(1) or fetch(self, plan)
    )
    lazy = open_roi(at(side_px=40), SUMMER, "toy", backend="memory")
    other = twin(lazy)
    assert fetched == []
    xr.testing.assert_identical(other, lazy)


def test_a_patch_is_what_its_reader_reads():
    data = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype("f4")
    grid = Grid("EPSG:32631", Affine(10, 0, 600_000, 0, -10, 5_800_000), (5, 6))
    patch = Patch(data, BANDS, ("reflectance",) * 3, grid, meta={"a": 1})
    reader = patch.reader()
    np.testing.assert_array_equal(reader.open()(1, 2, 3, 4), data[..., 1:4, 2:6])
    np.testing.assert_array_equal(reader.patch().data, data)
    assert reader.patch().meta == {"a": 1}
