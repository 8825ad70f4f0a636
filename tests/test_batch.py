"""Many regions in one call: fetched once, run in batches that cross them, told apart."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio

import rs_embed
from rs_embed import BBox, ModelError, OutputSpec, PointBuffer, ProviderError, SpecError
from rs_embed.core.registry import list_models
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders import catalog
from rs_embed.embedders import runtime as run
from rs_embed.providers import base
from tests import counting, toys
from tests.counting import CountingProvider

YEAR = rs_embed.TemporalSpec.year(2022)
TOY = toys.toy("counted", encode="tests.counting:encode", build="tests.counting:build")
# 16, 32, 64 and 96 pixels a side: one window, one, four, nine.
SPOTS = [PointBuffer(10 + 0.1 * i, 50, metres) for i, metres in enumerate((80, 160, 320, 480))]
WINDOWS = [1, 1, 4, 9]


@pytest.fixture
def source(monkeypatch) -> CountingProvider:
    """A counting source and the counting model, known to this test alone."""
    provider = CountingProvider()
    monkeypatch.setattr(catalog, "_REGISTERED", {TOY.id: TOY})
    monkeypatch.setattr(base, "_FACTORIES", {"counting": lambda source: provider})
    counting.forget()
    run.unload_models()
    yield provider
    run.unload_models()


def batch(spatials, **keywords):
    return rs_embed.get_embeddings_batch(
        "counted", spatials=spatials, temporal=YEAR, backend="counting", **keywords
    )


def single(spatial, **keywords):
    return rs_embed.get_embedding(
        "counted", spatial=spatial, temporal=YEAR, backend="counting", **keywords
    )


# Fetching


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("group", [1, 64_000_000])
def test_each_distinct_plan_is_fetched_once_and_handed_on(source, monkeypatch, workers, group):
    """Whatever the number of workers, and however few pixels may be held at once."""
    source.workers = workers
    monkeypatch.setattr("rs_embed.pipeline.stream.AHEAD_BYTES", group)
    asked = [*SPOTS, SPOTS[1], SPOTS[0], *SPOTS]
    results = batch(asked, output=OutputSpec.grid())
    assert len(source.fetch_window) == len(set(source.fetch_window)) == len(SPOTS)
    assert len(results) == len(asked)
    np.testing.assert_array_equal(results[1].data, results[4].data)


@pytest.mark.parametrize("workers", [1, 4])
def test_regions_that_see_the_same_pixels_share_a_fetch(source, monkeypatch, workers):
    """One and two cells from one corner lie in the same window; others are asked for between."""
    source.workers = workers
    monkeypatch.setattr("rs_embed.pipeline.stream.AHEAD_BYTES", 1)
    from rs_embed.core.crs import project

    def box(east: int, cells: int) -> BBox:
        x = np.array([east + 1, east + 80 * cells - 1])
        lon, lat = project(x, np.array([5_500_001.0, 5_500_079.0]), "EPSG:32632", "EPSG:4326")
        return BBox(lon[0], lat[0], lon[1], lat[1])

    asked = [box(500_000, 1), box(600_000, 1), box(500_000, 2)]
    results = batch(asked, output=OutputSpec.grid())
    assert [one.meta["cells"] for one in results] == [[1, 1], [1, 1], [1, 2]]
    assert len(source.fetch_window) == 2
    for spatial, one in zip(asked, results, strict=True):
        np.testing.assert_array_equal(one.data, single(spatial, output=OutputSpec.grid()).data)


def test_one_region_is_one_fetch(source):
    single(SPOTS[3])
    assert len(source.fetch_window) == 1


def test_a_batch_that_cannot_be_planned_fetches_and_builds_nothing(source):
    with pytest.raises(SpecError, match="temporal"):
        rs_embed.get_embeddings_batch("counted", spatials=SPOTS, backend="counting")
    assert source.fetch_window == counting.BUILT == counting.BATCHES == []


# Order and batches


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("group", [1, 20_000, 64_000_000])
def test_order_is_kept_and_each_is_what_it_is_alone(source, monkeypatch, workers, group):
    source.workers = workers
    monkeypatch.setattr("rs_embed.pipeline.stream.AHEAD_BYTES", group)
    asked = [SPOTS[i] for i in (3, 0, 2, 1)]
    together = batch(asked, output=OutputSpec.grid())
    for spatial, one in zip(asked, together, strict=True):
        alone = single(spatial, output=OutputSpec.grid())
        np.testing.assert_array_equal(one.data, alone.data)
        assert one.meta["plan"] == alone.meta["plan"]
        assert one.data.rio.transform() == alone.data.rio.transform()


def test_batches_cross_regions(source):
    batch(SPOTS, batch_size=8)
    assert counting.BATCHES == [8, 7]
    counting.forget()
    batch([PointBuffer(10 + i, 50, 80) for i in range(7)], batch_size=3)
    assert counting.BATCHES == [3, 3, 1]


def test_one_window_at_a_time_gives_the_same(source):
    one, many = batch(SPOTS, batch_size=1), batch(SPOTS, batch_size=100)
    assert [1] * sum(WINDOWS) + [sum(WINDOWS)] == counting.BATCHES
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("group", [1, 64_000_000])
def test_progress_counts_the_windows_of_all(source, monkeypatch, group):
    monkeypatch.setattr("rs_embed.pipeline.stream.AHEAD_BYTES", group)
    told: list[tuple[int, int]] = []
    batch(SPOTS, batch_size=5, progress=lambda done, total: told.append((done, total)))
    done = [one for one, _ in told]
    assert {total for _, total in told} == {sum(WINDOWS)}
    assert done == sorted(set(done))
    assert done[-1] == sum(WINDOWS)


@pytest.mark.parametrize("size", [0, -1, True, 2.0, "4"])
def test_a_batch_size_that_is_none_is_refused(source, size):
    with pytest.raises(SpecError, match="batch_size"):
        batch(SPOTS, batch_size=size)


@pytest.mark.parametrize("spatials", [[], None, SPOTS[0], "everywhere"])
def test_no_regions_are_refused(source, spatials):
    with pytest.raises(SpecError, match="non-empty list"):
        batch(spatials)


# Failures


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("transient", [False, True])
def test_a_failing_region_is_named_by_index_and_place(source, workers, transient):
    source.workers, source.transient = workers, transient
    source.fails = lambda plan: plan.grid.height > 90  # the last of SPOTS
    with pytest.raises(ProviderError) as error:
        batch([*SPOTS, SPOTS[0]])
    assert str(error.value).startswith(f"spatials[3] {SPOTS[3]}: ")
    assert "out of order" in str(error.value)
    assert error.value.transient is transient


def test_an_invalid_region_is_named_too(source):
    wrong = PointBuffer(200, 50, 80)
    with pytest.raises(SpecError) as error:
        batch([SPOTS[0], SPOTS[1], wrong])
    assert str(error.value).startswith(f"spatials[2] {wrong}: ")


def test_a_region_without_a_valid_pixel_is_named(source, monkeypatch):
    fetch = CountingProvider.fetch

    def gone(self, plan):
        patch = unwrap_or_raise(fetch(self, plan))
        if plan.grid.height > 90:
            patch.data[:] = np.nan
        return base.Success(patch)

    monkeypatch.setattr(CountingProvider, "fetch", gone)
    with pytest.raises(ProviderError, match=r"^spatials\[3\] .*no valid pixel"):
        batch(SPOTS)


# Networks


def test_threads_that_ask_at_once_load_once(source):
    ready = threading.Barrier(6)
    results, errors = [], []

    def ask():
        ready.wait()
        try:
            results.append(single(SPOTS[0]).data)
        except Exception as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(counting.BUILT) == 1
    for one in results:
        np.testing.assert_array_equal(one, results[0])
    assert list_models() == ["counted"]


def test_a_network_is_kept_for_each_choice(source):
    single(SPOTS[0])
    batch(SPOTS)
    assert len(counting.BUILT) == 1
    run.unload_models()
    assert list_models() == []
    single(SPOTS[0])
    assert len(counting.BUILT) == 2


def test_a_build_that_fails_is_tried_again(source, monkeypatch):
    def broken(model):
        raise ModelError("not today")

    with monkeypatch.context() as patched:
        patched.setattr(counting, "build", broken)
        with pytest.raises(ModelError, match="not today"):
            single(SPOTS[0])
    assert single(SPOTS[0]).data.shape == (10,)
    assert source.fetch_window  # only the call that could run has fetched
    assert len(source.fetch_window) == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
@pytest.mark.parametrize("model", ["counted", "remoteclip"])
def test_cuda_without_cuda_is_an_error(source, monkeypatch, device, model):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if model == "remoteclip":
        from rs_embed.embedders.families import remoteclip

        catalog._REGISTERED[model] = remoteclip.SPEC
    with pytest.raises(ModelError, match="device='cpu'"):
        rs_embed.get_embedding(
            model, spatial=SPOTS[0], temporal=YEAR, backend="counting", device=device
        )
    with pytest.raises(ModelError, match="device='cpu'"):
        rs_embed.load_model(model, device=device)
    assert source.fetch_window == []


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", None, 0])
def test_a_device_that_is_none_is_an_error(source, device):
    with pytest.raises(ModelError, match="device must be"):
        single(SPOTS[0], device=device)


# The loop


def test_the_same_region_twice_gives_two_objects(source):
    one, other = batch([SPOTS[0], SPOTS[0]])
    assert one is not other
    assert one.data is not other.data
    one.data[:] = 0
    one.meta["mine"] = True
    assert other.data.any()
    assert "mine" not in other.meta
    assert len(source.fetch_window) == 1


@pytest.mark.parametrize("workers", [1, 4])
def test_a_region_that_fails_for_good_stops_what_is_queued(source, workers):
    source.workers = workers
    source.fails = lambda plan: len(source.fetch_window) == 1
    many = [PointBuffer(10 + 0.01 * i, 50, 160) for i in range(200)]
    with pytest.raises(ProviderError, match=r"^spatials\[\d\] "):
        batch(many)
    assert len(source.fetch_window) <= 4 * workers + 1


def test_errors_stand_in_their_place_where_that_is_asked(source):
    source.fails = lambda plan: plan.grid.height > 90
    wrong = PointBuffer(200, 50, 80)
    found = batch([wrong, *SPOTS], on_error="return")
    assert isinstance(found[0], SpecError)
    assert isinstance(found[4], ProviderError)
    assert str(found[4]).startswith(f"spatials[4] {SPOTS[3]}: ")
    for spatial, one in zip(SPOTS[:3], found[1:4], strict=True):
        np.testing.assert_array_equal(one.data, single(spatial).data)
    with pytest.raises(SpecError, match="on_error must be"):
        batch(SPOTS, on_error="ignore")


def test_fetches_go_on_while_the_model_runs(source, monkeypatch):
    """The first batch does not end before a later region has been fetched."""
    source.workers = 2
    later = threading.Event()
    fetch, encode = CountingProvider.fetch, counting.encode

    def noted(self, plan):
        found = fetch(self, plan)
        if len(self.fetch_window) >= 5:
            later.set()
        return found

    def waiting(network, arrays, model):
        assert later.wait(timeout=30)
        return encode(network, arrays, model)

    monkeypatch.setattr(CountingProvider, "fetch", noted)
    monkeypatch.setattr(counting, "encode", waiting)
    many = [PointBuffer(10 + 0.01 * i, 50, 160) for i in range(10)]
    assert len(batch(many, batch_size=1)) == 10


def test_a_region_is_let_go_of_once_it_is_done(source, monkeypatch):
    """Mosaics are held of the regions of one batch, however many regions there are."""
    from rs_embed.pipeline import batches

    alive, most = [0], [0]

    class Counted(batches.TokenMosaic):
        def __init__(self, *given):
            super().__init__(*given)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    monkeypatch.setattr(batches, "TokenMosaic", Counted)
    batch([PointBuffer(10 + 0.01 * i, 50, 160) for i in range(60)], batch_size=4)
    assert most[0] <= 6


def test_a_band_that_is_missing_everywhere_fails_its_region(source, monkeypatch):
    """As the pipeline's own steps say it."""
    fetch = CountingProvider.fetch

    def bandless(self, plan):
        patch = unwrap_or_raise(fetch(self, plan))
        if plan.grid.height > 90:
            patch.data[:, 1] = np.nan
        return base.Success(patch)

    monkeypatch.setattr(CountingProvider, "fetch", bandless)
    catalog._REGISTERED["counted"] = toys.toy(
        "counted", prepare="tests.toys:trivial_prepare", encode="tests.toys:trivial_encode"
    )
    found = batch(SPOTS, on_error="return")
    assert isinstance(found[3], ModelError)
    assert "no pixel of band B3 is valid anywhere" in str(found[3])
    assert all(one.data.shape == (10,) for one in found[:3])
