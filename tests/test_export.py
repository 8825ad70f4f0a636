"""Exports: what is written, what is returned, what is asked of the source, what is kept."""

from __future__ import annotations

import errno
import json
import os
import threading
import zipfile

import jsonschema
import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio

import rs_embed
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
    export_batch,
    export_npz,
    get_embedding,
)
from rs_embed.core.model import Cadence, InputSpec
from rs_embed.embedders import catalog, runtime
from rs_embed.export import folder, manifest
from rs_embed.providers import base
from tests import counting, toys
from tests.counting import CountingProvider

YEAR = TemporalSpec.year(2022)
# One window each; the second lies nearer than its window, so that surroundings are fetched.
PLACES = [PointBuffer(10 + 0.1 * i, 50, 160) for i in range(5)]
SMALL = PointBuffer(11, 50, 80)
TOY = toys.toy("counted", encode="tests.counting:encode", build=None)
OTHER = toys.toy("other")
SERIES = toys.toy("series", cadence=Cadence("months", 12))
TWO = toys.toy(
    "two",
    modalities={
        "both": (
            InputSpec("s2", ("B4", "B3"), "reflectance", "TOY/S2"),
            InputSpec("dem", ("B2",), "reflectance", "TOY/DEM", static=True),
        )
    },
)
UNDATED = toys.toy("undated", static=True)


@pytest.fixture
def source(monkeypatch) -> CountingProvider:
    """A counting source and toys, known to this test alone."""
    provider = CountingProvider(workers=4)
    toys_here = {spec.id: spec for spec in (TOY, OTHER, SERIES, TWO, UNDATED)}
    monkeypatch.setattr(catalog, "_REGISTERED", toys_here)
    monkeypatch.setattr(base, "_FACTORIES", {"counting": lambda source: provider})
    counting.forget()
    runtime.unload_models()
    yield provider
    runtime.unload_models()


def export(path, spatials=PLACES, models=("counted",), **keywords):
    where = {"out_dir": str(path)} if not str(path).endswith(".npz") else {"out_path": str(path)}
    given = {"temporal": YEAR, "backend": "counting", "show_progress": False}
    return export_batch(
        spatials=list(spatials), models=list(models), **{**where, **given, **keywords}
    )


def one(spatial, model="counted", **keywords):
    given = {"temporal": YEAR, "backend": "counting"}
    return get_embedding(model, spatial=spatial, **{**given, **keywords})


def files(path):
    return sorted(os.listdir(path))


# What is written


def test_a_folder_holds_a_file_and_a_manifest_a_place(source, tmp_path):
    told = export(tmp_path / "new" / "out")
    wanted = [f"p{i:05d}.{end}" for i in range(5) for end in ("json", "npz")]
    assert files(tmp_path / "new" / "out") == wanted
    assert isinstance(told, list)
    for i, each in enumerate(told):
        with np.load(tmp_path / "new" / "out" / f"p{i:05d}.npz") as held:
            np.testing.assert_array_equal(held["embedding/counted"], one(PLACES[i]).data)
        assert json.loads((tmp_path / "new" / "out" / f"p{i:05d}.json").read_text()) == each
        jsonschema.validate(each, manifest.schema())


def test_one_file_holds_a_row_a_place(source, tmp_path):
    told = export(tmp_path / "all.npz", names=list("abcde"))
    assert files(tmp_path) == ["all.json", "all.npz"]
    jsonschema.validate(told, manifest.schema())
    assert json.loads((tmp_path / "all.json").read_text()) == told
    with np.load(tmp_path / "all.npz") as held:
        rows = held["embedding/counted"]
        assert held["name"].tolist() == list("abcde")
        np.testing.assert_array_equal(held["lon"], [p.lon for p in PLACES])
        assert held["places/b/input/counted"].shape == (3, 32, 32)
    assert rows.shape == (5, 10)
    for row, place in zip(rows, PLACES, strict=True):
        np.testing.assert_array_equal(row, one(place).data)


def test_the_suffix_is_added_when_it_is_missing(source, tmp_path):
    export_batch(
        spatials=PLACES[:1], temporal=YEAR, models=["counted"], backend="counting",
        out_path=str(tmp_path / "v1.2"), show_progress=False,
    )  # fmt: skip
    export(tmp_path / "d", PLACES[:2], names=["a.npz", "b"])
    assert files(tmp_path) == ["d", "v1.2.json", "v1.2.npz"]
    assert files(tmp_path / "d") == ["a.json", "a.npz", "b.json", "b.npz"]


def test_export_npz_is_one_place_in_its_file(source, tmp_path):
    told = export_npz(
        spatial=SMALL, temporal=YEAR, models=["counted"], backend="counting",
        out_path=str(tmp_path / "one"),
    )  # fmt: skip
    jsonschema.validate(told, manifest.schema())
    assert files(tmp_path) == ["one.json", "one.npz"]
    with np.load(tmp_path / "one.npz") as held:
        np.testing.assert_array_equal(held["embedding/counted"], one(SMALL).data)


def test_inputs_are_the_pixels_that_inspect_shows(source, tmp_path):
    sensor = SensorSpec("TOY/S2", ("B4", "B3", "B2"), units="reflectance")
    spots = [*PLACES, SMALL, BBox(10, 50, 10.01, 50.004)]
    export(tmp_path, spots, sensor=sensor)
    for i, place in enumerate(spots):
        shown = rs_embed.inspect_gee_patch(
            spatial=place, temporal=YEAR, sensor=sensor, backend="counting", return_array=True
        )
        with np.load(tmp_path / f"p{i:05d}.npz") as held:
            pixels = held["input/counted"]
            assert pixels.dtype == np.float32
            assert pixels.tobytes() == shown["array_chw"].tobytes()
            grid = [*held["input/counted/transform"]]
            assert grid == shown["grid"]["transform"]
            assert held["input/counted/crs"] == shown["grid"]["crs"]
            assert ("context/counted" in held) == (i > 4)


def test_surroundings_have_a_place_of_their_own(source, tmp_path):
    export(tmp_path, [SMALL])
    with np.load(tmp_path / "p00000.npz") as held:
        own, around = held["input/counted"], held["context/counted"]
        x, y = held["input/counted/transform"][[2, 5]] - held["context/counted/transform"][[2, 5]]
        row, col = int(-y / 10), int(x / 10)
    assert own.shape == (3, 16, 16)
    assert around.shape == (3, 32, 32)
    np.testing.assert_array_equal(own, around[:, row : row + 16, col : col + 16])


def test_a_series_and_several_inputs(source, tmp_path):
    quarter = TemporalSpec.range("2022-01-01", "2022-04-01")
    export(tmp_path, PLACES[:1], ["series", "two"], temporal=quarter)
    with np.load(tmp_path / "p00000.npz") as held:
        assert held["input/series"].shape == (3, 3, 32, 32)
        assert held["input/two/s2"].shape == (2, 32, 32)
        assert held["input/two/dem"].shape == (1, 32, 32)
        assert "input/two" not in held


def test_a_grid_comes_with_transform_and_crs(source, tmp_path):
    export(tmp_path, PLACES[:1], output=OutputSpec.grid(), save_inputs=False)
    alone = one(PLACES[0], output=OutputSpec.grid()).data
    with np.load(tmp_path / "p00000.npz") as held:
        assert set(held.files) == {
            "embedding/counted", "embedding/counted/transform", "embedding/counted/crs", "manifest"
        }  # fmt: skip
        np.testing.assert_array_equal(held["embedding/counted"], alone.values)
        assert tuple(held["embedding/counted/transform"]) == tuple(alone.rio.transform())[:6]
        assert str(held["embedding/counted/crs"]) == str(alone.rio.crs)


@pytest.mark.parametrize("orientation", ["north_up", "native"])
def test_a_grid_of_other_cells(source, tmp_path, orientation):
    wanted = OutputSpec.grid(scale_m=160, grid_orientation=orientation)
    export(tmp_path, PLACES[:1], output=wanted)
    alone = one(PLACES[0], output=wanted).data
    with np.load(tmp_path / "p00000.npz") as held:
        np.testing.assert_array_equal(held["embedding/counted"], alone.values)
        assert tuple(held["embedding/counted/transform"]) == tuple(alone.rio.transform())[:6]


def test_resized_input_saves_the_places_own_pixels(source, tmp_path):
    place = BBox(10, 50, 10.01, 50.004)
    export(tmp_path, [place], input_prep="resize")
    export(tmp_path, [place], names=["native"])
    with np.load(tmp_path / "p00000.npz") as a, np.load(tmp_path / "native.npz") as b:
        np.testing.assert_array_equal(a["input/counted"], b["input/counted"])
        assert a["context/counted"].shape[1] == a["context/counted"].shape[2]


def test_what_is_saved_is_what_was_asked(source, tmp_path):
    export(tmp_path / "a", PLACES[:1], save_inputs=False, save_manifest=False)
    export(tmp_path / "b", PLACES[:1], save_embeddings=False)
    assert files(tmp_path / "a") == ["p00000.npz"]
    with np.load(tmp_path / "a" / "p00000.npz") as held:
        assert set(held.files) == {"embedding/counted", "manifest"}
    with np.load(tmp_path / "b" / "p00000.npz") as held:
        assert "embedding/counted" not in held
        assert "input/counted" in held
    assert len(counting.BATCHES) == 1  # no model ran for inputs alone


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("output", [OutputSpec.pooled(), OutputSpec.grid()])
def test_smaller_types_tell_their_error(source, tmp_path, dtype, output):
    told = export(tmp_path, PLACES[:1], ["undated"], temporal=None, dtype=dtype, output=output)
    exact = np.asarray(one(PLACES[0], "undated", temporal=None, output=output).data)
    row = told[0]["models"][0]
    with np.load(tmp_path / "p00000.npz") as held:
        data = held["embedding/undated"]
        assert data.dtype == dtype
        back = data.astype(np.float32)
        if dtype == "int8":
            scale = held["embedding/undated/scale"]
            assert scale.shape == exact.shape[1:]
            back = back * scale
            assert np.abs(back - exact).max() <= scale.max() / 2 * 1.001
    off = back.astype(np.float64) - exact
    assert row["error_max"] == pytest.approx(np.abs(off).max(), rel=1e-5)
    assert row["error_rms"] == pytest.approx(np.sqrt(np.square(off).mean()), rel=1e-4)


# Several models


def test_models_that_need_the_same_pixels_share_a_fetch(source, tmp_path):
    export(tmp_path, [*PLACES, PLACES[0]], ["counted", "other"])
    assert len(source.fetch_window) == len(PLACES)
    for i, place in enumerate([*PLACES, PLACES[0]]):
        with np.load(tmp_path / f"p{i:05d}.npz") as held:
            np.testing.assert_array_equal(held["embedding/other"], one(place, "other").data)
            np.testing.assert_array_equal(held["embedding/counted"], one(place).data)


def test_choices_of_one_model_have_labels(source, tmp_path):
    wide = ModelChoice("counted", options={"window_px": 64})
    told = export(tmp_path, PLACES[:1], ["counted", wide])
    assert [row["label"] for row in told[0]["models"]] == ["counted", "counted:ten#2"]
    with np.load(tmp_path / "p00000.npz") as held:
        np.testing.assert_array_equal(held["embedding/counted:ten#2"], one(PLACES[0], wide).data)


def test_sensors_and_times_of_each_model(source, tmp_path):
    """A model without time goes with those that have it; each may have a sensor of its own."""
    coarse = SensorSpec("TOY/S2", ("B4", "B3", "B2"), scale_m=20, units="reflectance")
    with pytest.warns(UserWarning, match="trained at 10 m"):
        told = export(
            tmp_path, PLACES[:1], ["counted", "other", "undated"],
            per_model_sensors={"other": coarse},
        )  # fmt: skip
    shapes = [row["input"][f"input/{row['label']}"]["shape"] for row in told[0]["models"]]
    assert shapes == [[3, 32, 32], [3, 16, 16], [3, 32, 32]]
    assert [row["meta"]["temporal"] for row in told[0]["models"]][2] is None


def test_models_of_different_sources_mix(source, tmp_path):
    from rs_embed.embedders.families import mosaiks

    catalog._REGISTERED["mosaiks"] = mosaiks.SPEC
    place = PointBuffer(-67.645, -47.852, 320)
    told = export(
        tmp_path, [place], ["counted", ModelChoice("mosaiks", backend="sample")], save_inputs=False
    )
    assert [model["backend"] for model in told[0]["request"]["models"]] == ["counting", "sample"]
    with np.load(tmp_path / "p00000.npz") as held:
        alone = get_embedding("mosaiks", spatial=place, backend="sample").data
        np.testing.assert_array_equal(held["embedding/mosaiks"], alone)


# Refusals, before any request


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"out_dir": None}, SpecError, "neither of out_dir and out_path"),
        ({"out_path": "x.npz"}, SpecError, "both of out_dir and out_path"),
        ({"spatials": []}, SpecError, "non-empty list"),
        ({"spatials": [PLACES[0], PointBuffer(200, 0, 10)]}, SpecError, r"spatials\[1\]"),
        ({"models": []}, ModelError, "non-empty list of model ids"),
        ({"models": "counted"}, ModelError, "non-empty list of model ids"),
        ({"models": ["nothing"]}, ModelError, "there is no model"),
        ({"models": ["counted", "counted:ten"]}, SpecError, "given twice"),
        ({"save_inputs": False, "save_embeddings": False}, SpecError, "nothing would be saved"),
        ({"names": ["a"]}, SpecError, "1 entries for 5 places"),
        ({"names": ["a", "b", "c", "d", "a"]}, SpecError, "same file"),
        ({"names": ["a", "b", "c", "d", "../e"]}, SpecError, "separator"),
        ({"format": "xlsx"}, ModelError, "no export format 'xlsx'"),
        ({"per_model_sensors": {"x": None}}, SpecError, "none of the models"),
        ({"per_model_sensors": {"counted": "s2"}}, SpecError, "sensor must be"),
        ({"chunk_size": 0}, SpecError, "chunk_size"),
        ({"num_workers": 1.5}, SpecError, "num_workers"),
        ({"max_retries": -1}, SpecError, "max_retries"),
        ({"retry_backoff_s": -1}, SpecError, "retry_backoff_s"),
        ({"resume": 1}, SpecError, "resume must be True or False"),
        ({"dtype": "float64"}, SpecError, "dtype"),
        ({"temporal": None}, SpecError, "imagery needs a temporal"),
        ({"output": OutputSpec.grid(), "format": "geoparquet"}, SpecError, "holds vectors"),
        ({"format": "cog"}, SpecError, "cog holds grids"),
        ({"backend": "nowhere"}, ProviderError, "no backend"),
        ({"overlap": 1}, SpecError, "overlap"),
    ],
)
def test_a_wrong_request_is_refused_before_any_fetch(source, tmp_path, changed, error, match):
    given = {
        "spatials": PLACES, "temporal": YEAR, "models": ["counted"], "backend": "counting",
        "out_dir": str(tmp_path / "out"), "show_progress": False,
    }  # fmt: skip
    with pytest.raises(error, match=match):
        export_batch(**{**given, **changed})
    assert source.fetch_window == []


def test_a_suffix_of_another_format_is_refused(source, tmp_path):
    with pytest.raises(SpecError, match="format='netcdf'"):
        export_batch(
            spatials=PLACES, temporal=YEAR, models=["counted"], backend="counting",
            out_path=str(tmp_path / "x.nc"),
        )  # fmt: skip


def test_a_read_only_folder_is_seen_before_the_first_fetch(source, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(folder.tempfile, "NamedTemporaryFile", refused)
    with pytest.raises(SpecError, match="cannot be written: Read-only file system"):
        export(tmp_path)
    assert source.fetch_window == []


def test_a_file_in_the_folders_place_is_seen_before_the_first_fetch(source, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SpecError, match="cannot be written"):
        export(tmp_path / "file")
    assert source.fetch_window == []
    assert (tmp_path / "file").read_text() == "mine"


def test_two_exports_into_one_folder_are_refused(source, tmp_path):
    lock = folder.FolderLock(tmp_path / folder.LOCK)
    with lock.acquire("it").unwrap():
        with pytest.raises(SpecError, match="another export is writing"):
            export(tmp_path)
        assert source.fetch_window == []
    export(tmp_path)
    assert folder.LOCK not in files(tmp_path)


# Failures


@pytest.fixture
def third_fails(source):
    broken = rs_embed.core.grid.roi_grid(PLACES[2], 10).unwrap()
    source.fails = lambda plan: plan.grid.bounds[0] == broken.bounds[0]
    return source


def test_the_first_failure_ends_the_call_and_names_the_place(third_fails, tmp_path):
    with pytest.raises(ProviderError) as error:
        export(tmp_path)
    assert str(error.value).startswith(f"spatials[2] {PLACES[2]}, model 'counted': ")
    assert not [name for name in files(tmp_path) if name.startswith((".", "p00002"))]


def test_a_failure_stops_what_is_queued(source, tmp_path):
    many = [PointBuffer(10 + 0.01 * i, 50, 160) for i in range(400)]
    source.fails = lambda plan: True
    with pytest.raises(ProviderError):
        export(tmp_path, many)
    assert len(source.fetch_window) <= 4 * source.workers + 1


def test_a_failed_place_keeps_its_row(third_fails, tmp_path):
    told = export(tmp_path / "all.npz", continue_on_error=True)
    jsonschema.validate(told, manifest.schema())
    assert [p["status"] for p in told["places"]] == ["ok", "ok", "failed", "ok", "ok"]
    assert told["places"][2]["models"][0]["error"]["type"] == "ProviderError"
    with np.load(tmp_path / "all.npz") as held:
        rows = held["embedding/counted"]
        assert held["status/counted"].tolist() == ["ok", "ok", "failed", "ok", "ok"]
    assert np.isnan(rows[2]).all()
    np.testing.assert_array_equal(rows[3], one(PLACES[3]).data)


def test_a_failed_model_leaves_the_others(source, tmp_path):
    source.fails = lambda plan: len(plan.intervals) > 1
    told = export(tmp_path, PLACES[:2], ["series", "counted"], continue_on_error=True)
    assert [p["status"] for p in told] == ["partial", "partial"]
    with np.load(tmp_path / "p00000.npz") as held:
        assert "embedding/series" not in held
        np.testing.assert_array_equal(held["embedding/counted"], one(PLACES[0]).data)


def test_a_place_of_which_all_failed_has_a_manifest_alone(third_fails, tmp_path):
    told = export(tmp_path, continue_on_error=True)
    assert told[2]["status"] == "failed"
    assert told[2]["files"] == []
    assert "p00002.npz" not in files(tmp_path)
    jsonschema.validate(json.loads((tmp_path / "p00002.json").read_text()), manifest.schema())


@pytest.mark.parametrize(("retries", "fetches"), [(0, 1), (2, 3)])
def test_only_what_failed_for_now_is_fetched_again(source, tmp_path, retries, fetches):
    source.fails, source.transient = lambda plan: True, True
    with pytest.raises(ProviderError):
        export(tmp_path, PLACES[:1], max_retries=retries)
    assert len(source.fetch_window) == fetches
    source.transient = False
    source.fetch_window.clear()
    with pytest.raises(ProviderError):
        export(tmp_path, PLACES[:1], max_retries=retries)
    assert len(source.fetch_window) == 1


def test_a_retried_fetch_succeeds(source, tmp_path):
    source.transient = True
    source.fails = lambda plan: len(source.fetch_window) % 3 != 0
    source.workers = 1
    export(tmp_path, max_retries=2, retry_backoff_s=0.001)
    assert len(source.fetch_window) == 3 * len(PLACES)


@pytest.mark.parametrize("continue_on_error", [False, True])
def test_bad_input_ends_the_call_where_that_is_asked(
    source, tmp_path, monkeypatch, continue_on_error
):
    fetch = CountingProvider.fetch

    def half_gone(self, plan):
        patch = fetch(self, plan).unwrap()
        patch.data[:, :, :, :20] = np.nan
        return base.Success(patch)

    monkeypatch.setattr(CountingProvider, "fetch", half_gone)
    export(tmp_path / "a", PLACES[:1])
    with pytest.raises(ProviderError, match=r"spatials\[0\].*unfit"):
        export(
            tmp_path / "b", PLACES[:1], fail_on_bad_input=True, continue_on_error=continue_on_error
        )


def test_a_sensor_that_checks_fails_its_place_alone(source, tmp_path, monkeypatch):
    fetch = CountingProvider.fetch
    first = rs_embed.core.grid.roi_grid(PLACES[0], 10).unwrap()

    def gone(self, plan):
        patch = fetch(self, plan).unwrap()
        if plan.grid.bounds[0] == first.bounds[0]:
            patch.data[:, 0] = np.nan
        return base.Success(patch)

    monkeypatch.setattr(CountingProvider, "fetch", gone)
    sensor = SensorSpec("TOY/S2", ("B4", "B3", "B2"), units="reflectance", check_input=True)
    told = export(tmp_path, PLACES[:2], sensor=sensor, continue_on_error=True)
    assert [p["status"] for p in told] == ["failed", "ok"]


def test_a_full_disk_ends_the_call_and_harms_nothing(source, tmp_path, monkeypatch):
    export(tmp_path, PLACES[:1])
    before = (tmp_path / "p00000.npz").read_bytes()
    replace = os.replace

    def full(source, target):
        if str(target).endswith(".npz"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SpecError, match="No space left"):
        export(tmp_path, PLACES[:2])
    assert (tmp_path / "p00000.npz").read_bytes() == before
    assert files(tmp_path) == ["p00000.json", "p00000.npz"]


def test_a_write_is_tried_again(source, tmp_path, monkeypatch):
    replace, refused = os.replace, []

    def busy(source, target):
        if str(target).endswith(".npz") and len(refused) < 2:
            refused.append(target)
            raise OSError(errno.EIO, "busy")
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    export(tmp_path, PLACES[:1], max_retries=2)
    assert len(refused) == 2
    assert files(tmp_path) == ["p00000.json", "p00000.npz"]


# Stages


@pytest.mark.parametrize("async_write", [True, False])
def test_files_are_written_by_threads_or_by_the_caller(source, tmp_path, monkeypatch, async_write):
    write, seen = folder.write_files, set()

    def noted(*given):
        seen.add(threading.current_thread().name)
        return write(*given)

    monkeypatch.setattr("rs_embed.export.sinks.write_files", noted)
    export(tmp_path, async_write=async_write, writer_workers=1)
    wanted = "rs_embed-write-0" if async_write else threading.main_thread().name
    assert seen == {wanted}


@pytest.mark.parametrize(("asked", "own", "most"), [(2, 8, 2), (8, 3, 3), (1, 1, 1)])
def test_fetches_are_bounded_by_both(source, tmp_path, monkeypatch, asked, own, most):
    """Never more fetches at once than the call or the source allows, and as many as they do."""
    source.workers = own
    fetch, lock, running, peak = CountingProvider.fetch, threading.Lock(), [], []
    meet = threading.Barrier(most)

    def counted(self, plan):
        with lock:
            running.append(1)
            peak.append(len(running))
        meet.wait(timeout=30)
        found = fetch(self, plan)
        with lock:
            running.pop()
        return found

    monkeypatch.setattr(CountingProvider, "fetch", counted)
    many = [PointBuffer(10 + 0.01 * i, 50, 160) for i in range(6 * most)]
    export(tmp_path, many, num_workers=asked)
    assert max(peak) == most


def test_fetches_run_while_a_model_runs(source, tmp_path, monkeypatch):
    """The first batch does not end before a later place has been fetched."""
    later = threading.Event()
    fetch, encode = CountingProvider.fetch, counting.encode

    def noted(self, plan):
        found = fetch(self, plan)
        if len(self.fetch_window) >= 6:
            later.set()
        return found

    def waiting(network, arrays, model):
        assert later.wait(timeout=30)
        return encode(network, arrays, model)

    monkeypatch.setattr(CountingProvider, "fetch", noted)
    monkeypatch.setattr(counting, "encode", waiting)
    many = [PointBuffer(10 + 0.01 * i, 50, 160) for i in range(12)]
    export(tmp_path, many, batch_size=1)
    assert len(source.fetch_window) == 12


def test_a_chunk_ends_with_every_batch_run_and_saved(source, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(
        "rs_embed.export.sinks.to_disk", lambda where, names: saved.append(len(list(names)))
    )
    export(tmp_path, chunk_size=2, batch_size=100, async_write=False)
    assert counting.BATCHES == [2, 2, 1]
    assert saved == [4, 4, 2]
    saved.clear()
    export(tmp_path, chunk_size=2)
    assert sum(saved) == 10


def test_a_device_without_memory_gets_smaller_batches(source, tmp_path, monkeypatch):
    encode = counting.encode

    def small(network, arrays, model):
        if len(arrays["pixels"]) > 2:
            raise MemoryError
        return encode(network, arrays, model)

    monkeypatch.setattr(counting, "encode", small)
    monkeypatch.setattr("rs_embed.plugins.notices._SAID", set())
    with pytest.warns(UserWarning, match="no memory for 5 windows of counted"):
        export(tmp_path, batch_size=8)
    assert counting.BATCHES == [2, 2, 1]
    with np.load(tmp_path / "p00004.npz") as held:
        np.testing.assert_array_equal(held["embedding/counted"], one(PLACES[4]).data)


# Resuming


def resumed(path, *given, **keywords):
    return export(path, *given, resume=True, **keywords)


@pytest.mark.parametrize("target", ["out", "all.npz"])
def test_what_is_there_is_not_computed_again(source, tmp_path, target):
    first = export(tmp_path / target)
    source.fetch_window.clear()
    again = resumed(tmp_path / target, chunk_size=3, num_workers=2, device="cpu", batch_size=2)
    assert source.fetch_window == []
    assert json.dumps(first["places"] if isinstance(first, dict) else [m["models"] for m in first])
    assert strip(again) == strip(first)


def strip(told):
    """A manifest without what the second call may say otherwise."""
    if isinstance(told, list):
        return [strip(each) for each in told]
    return {k: v for k, v in told.items() if k not in ("request", "files")}


@pytest.mark.parametrize("target", ["out", "all.npz"])
def test_more_places_and_models_compute_only_what_is_new(source, tmp_path, target):
    export(tmp_path / target, PLACES[:3])
    source.fetch_window.clear()
    counting.forget()
    resumed(tmp_path / target)
    assert len(source.fetch_window) == 2
    source.fetch_window.clear()
    resumed(tmp_path / target, models=["counted", "other"])
    assert len(source.fetch_window) == 5  # the new model's
    assert sum(counting.BATCHES) == 2
    whole = tmp_path / ("whole" if target == "out" else "whole.npz")
    export(whole, models=["counted", "other"])
    assert arrays_of(tmp_path / target).keys() == arrays_of(whole).keys()
    for name, array in arrays_of(whole).items():
        np.testing.assert_array_equal(arrays_of(tmp_path / target)[name], array)


def arrays_of(path):
    """Every array of an export by file and name, but for manifests."""
    found = {}
    for file in sorted(path.glob("*.npz")) if path.is_dir() else [path]:
        with np.load(file) as held:
            name = file.name if path.is_dir() else ""
            found |= {(name, key): held[key] for key in held.files if key != "manifest"}
    return found


@pytest.mark.parametrize("target", ["out", "all.npz"])
def test_a_place_that_failed_is_tried_again(third_fails, tmp_path, target):
    export(tmp_path / target, continue_on_error=True)
    third_fails.fails = lambda plan: False
    third_fails.fetch_window.clear()
    told = resumed(tmp_path / target)
    assert len(third_fails.fetch_window) == 1
    places = told["places"] if isinstance(told, dict) else told
    assert [p["status"] for p in places] == ["ok"] * 5


@pytest.mark.parametrize(
    "changed",
    [
        {"temporal": TemporalSpec.year(2021)},
        {"output": OutputSpec.pooled("max")},
        {"models": [ModelChoice("counted", options={"window_px": 64})]},
        {"overlap": 2},
        {"dtype": "float16"},
        {"sensor": SensorSpec("TOY/S2", ("B4", "B3", "B2"), cloudy_pct=10)},
        {"spatials": [PointBuffer(p.lon, p.lat + 0.1, p.buffer_m) for p in PLACES]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_request_is_computed_anew(source, tmp_path, changed):
    export(tmp_path)
    source.fetch_window.clear()
    resumed(tmp_path, **changed)
    assert len(source.fetch_window) == 5


@pytest.mark.parametrize("harm", ["truncated", "emptied", "swapped", "altered", "gone", "notjson"])
@pytest.mark.parametrize("sidecar", [True, False])
def test_a_harmed_file_is_done_again(source, tmp_path, harm, sidecar):
    export(tmp_path, save_manifest=sidecar)
    good = {name: (tmp_path / name).read_bytes() for name in files(tmp_path) if "npz" in name}
    target = tmp_path / "p00001.npz"
    if harm == "truncated":
        target.write_bytes(good["p00001.npz"][:-40])
    elif harm == "emptied":
        target.write_bytes(b"")
    elif harm == "swapped":
        target.write_bytes(good["p00002.npz"])
    elif harm == "altered":
        with np.load(target) as held:
            arrays = {name: held[name] for name in held.files}
        arrays["embedding/counted"] = arrays["embedding/counted"] + 1
        np.savez(target, **arrays)
    elif harm == "gone":
        target.unlink()
    elif sidecar:
        (tmp_path / "p00001.json").write_text("{")
    source.fetch_window.clear()
    told = resumed(tmp_path, save_manifest=sidecar)
    assert len(source.fetch_window) == (0 if harm == "notjson" else 1)
    assert told[1]["status"] == "ok"
    with np.load(target) as held:
        np.testing.assert_array_equal(held["embedding/counted"], one(PLACES[1]).data)


def test_a_broken_combined_file_is_done_again(source, tmp_path):
    export(tmp_path / "all.npz")
    data = (tmp_path / "all.npz").read_bytes()
    (tmp_path / "all.npz").write_bytes(data[: len(data) // 2])
    source.fetch_window.clear()
    resumed(tmp_path / "all.npz")
    assert len(source.fetch_window) == 5
    with np.load(tmp_path / "all.npz") as held:
        np.testing.assert_array_equal(held["embedding/counted"][1], one(PLACES[1]).data)


def test_one_file_keeps_what_was_done_before_a_failure(source, tmp_path):
    last = rs_embed.core.grid.roi_grid(PLACES[4], 10).unwrap()
    source.fails = lambda plan: plan.grid.bounds[0] == last.bounds[0]
    with pytest.raises(ProviderError):
        export(tmp_path / "all.npz", chunk_size=2)
    assert not (tmp_path / "all.npz").exists()
    source.fails = lambda plan: False
    source.fetch_window.clear()
    resumed(tmp_path / "all.npz")
    assert len(source.fetch_window) == 1
    assert files(tmp_path) == ["all.json", "all.npz"]


def test_places_may_move_in_one_file(source, tmp_path):
    export(tmp_path / "all.npz")
    source.fetch_window.clear()
    resumed(tmp_path / "all.npz", [SMALL, *PLACES[::-1]])
    assert len(source.fetch_window) == 1
    with np.load(tmp_path / "all.npz") as held:
        for row, place in zip(held["embedding/counted"], [SMALL, *PLACES[::-1]], strict=True):
            np.testing.assert_array_equal(row, one(place).data)


def test_a_model_under_another_word_is_kept(source, tmp_path):
    export(tmp_path, PLACES[:1], ["counted"])
    source.fetch_window.clear()
    told = resumed(tmp_path, PLACES[:1], ["counted:ten"])
    assert source.fetch_window == []
    assert told[0]["models"][0]["label"] == "counted:ten"
    with np.load(tmp_path / "p00000.npz") as held:
        np.testing.assert_array_equal(held["embedding/counted:ten"], one(PLACES[0]).data)
        assert "input/counted:ten" in held


def test_without_resume_all_is_new(source, tmp_path):
    export(tmp_path)
    source.fetch_window.clear()
    export(tmp_path)
    assert len(source.fetch_window) == 5


# What it would take


def test_a_dry_run_counts_what_the_export_does(source, tmp_path):
    asked = [*PLACES, SMALL, PLACES[0]]
    told = export(tmp_path / "out", asked, ["counted", "other"], dry_run=True)
    assert source.fetch_window == []
    assert not (tmp_path / "out").exists()
    export(tmp_path / "out", asked, ["counted", "other"])
    assert told["places"] == 7
    assert told["requests"] == len(source.fetch_window) == 6
    assert told["fetched_bytes"] == 6 * 3 * 32 * 32 * 4
    assert told["windows"] == {"counted": 6, "other": 6}
    assert sum(counting.BATCHES) == 6
    held = 0
    for path in (tmp_path / "out").glob("*.npz"):
        with np.load(path) as arrays:
            held += sum(
                arrays[name].nbytes
                for name in arrays.files
                if not name.endswith(("manifest", "/crs", "/transform"))
            )
    assert told["disk_bytes"] == held


def test_a_dry_run_names_what_cannot_be_planned(source, tmp_path):
    wide = BBox(0, 0, 20, 1)
    with pytest.raises(SpecError, match=r"BBox\(minlon=0"):
        export(tmp_path, [PLACES[0], wide], dry_run=True)
    told = export(tmp_path, [PLACES[0], wide], dry_run=True, continue_on_error=True)
    assert told["unplanned"] == 1


# Manifests


def test_a_manifest_row_is_small(source, tmp_path):
    told = export(tmp_path, PLACES[:1], ["counted"], output=OutputSpec.grid())
    assert len(json.dumps(told[0]["models"][0])) <= 4096


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("cannot read /home/ana/data/s2.tif now", "/home/ana"),
        (r"cannot read C:\Users\ana\s2.tif now", r"Users\ana"),
        ("project=my-cloud-123 is not registered", "my-cloud-123"),
        ("projects/my-cloud-123/assets/x is gone", "my-cloud-123"),
        ("token: ya29.abcDEF failed", "ya29.abcDEF"),
        ("~/.config/earthengine/credentials is missing", ".config"),
    ],
)
def test_errors_tell_no_path_project_or_token(text, hidden):
    shown = manifest.without_secrets(text)
    assert hidden not in shown
    assert len(shown.split()) > 1


def test_errors_keep_what_helps():
    text = "COPERNICUS/S2_SR_HARMONIZED has no scene in 2022-06-01..2022-09-01; see https://a.b/c/d"
    assert manifest.without_secrets(text) == text


def test_no_path_of_the_machine_is_in_any_file(source, tmp_path):
    sensor = SensorSpec(
        "TOY/S2", ("B4", "B3", "B2"), units="reflectance", check_input=True,
        check_save_dir=str(tmp_path / "looks"),
    )  # fmt: skip
    export(tmp_path / "out", PLACES[:1], sensor=sensor)
    for name in files(tmp_path / "out"):
        path = tmp_path / "out" / name
        if name.endswith(".npz"):
            with zipfile.ZipFile(path) as held:
                data = b"".join(held.read(part) for part in held.namelist())
        else:
            data = path.read_bytes()
        assert str(tmp_path).encode() not in data


def test_the_schema_refuses_what_is_no_manifest(source, tmp_path):
    told = export(tmp_path, PLACES[:1])[0]
    for broken in (
        {**told, "status": "done"},
        {**told, "models": []},
        {k: v for k, v in told.items() if k != "request"},
        {**told, "files": [{"name": "/etc/x", "bytes": 1, "sha256": "0" * 64}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, manifest.schema())


# Memory


def test_pixels_are_let_go_of_once_they_are_written(source, tmp_path, monkeypatch):
    """What is held at once depends on the workers and the chunk, not on the number of places."""
    import weakref

    monkeypatch.setattr("rs_embed.pipeline.fetching.KEPT_BYTES", 0)
    fetch, alive, peak = CountingProvider.fetch, set(), []

    def watched(self, plan):
        found = fetch(self, plan)
        key = object()
        alive.add(key)
        weakref.finalize(found.unwrap().data, alive.discard, key)
        peak.append(len(alive))
        return found

    monkeypatch.setattr(CountingProvider, "fetch", watched)
    many = [PointBuffer(10 + 0.01 * i, 50, 160) for i in range(150)]
    export(tmp_path, many, chunk_size=4, save_inputs=False)
    assert len(peak) == 150
    assert max(peak) <= 4 * source.workers + 4 + 8 + 2 * 2
