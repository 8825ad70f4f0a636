"""Every wrong input is a SpecError that names the mending call, on both doors, and in check."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from rs_embed import ModelChoice, ModelError, OutputSpec, SpecError, TemporalSpec, register_model
from rs_embed.core.model import Cadence
from tests.scenes import as_dataset, scene
from tests.toys import toy


@pytest.fixture(scope="module", autouse=True)
def models():
    register_model(toy("refusals_months", cadence=Cadence("months", 12)))
    register_model(toy("refusals_plain", image_vector=None))


def no_crs(array):
    return array.drop_vars("spatial_ref")


def rotated(array):
    return array.drop_vars(["x", "y"]).rio.write_transform(Affine(9, 1, 5e5, 1, -9, 5e6))


def uneven(array):
    y = array.y.values.copy()
    y[3] += 4
    return array.assign_coords(y=y)


def without(name):
    return lambda array: array.sel(band=[b for b in array.band.values if b != name])


def undeclared(array):
    return array.drop_attrs(deep=False)


def keep(array, changed):
    return changed.assign_attrs(array.attrs)


CASES = {
    "no CRS": (no_crs, "rio.write_crs"),
    "rotated": (rotated, "rio.reproject"),
    "uneven": (uneven, "da.interp"),
    "missing band": (without("B8"), r"no band B8; it has .*bands=\{'B8'"),
    "undeclared units": (undeclared, "units='reflectance'"),
    "unknown units": (lambda a: a.assign_attrs(units="furlongs"), "units='reflectance'"),
    "wrong units": (lambda a: a.assign_attrs(units="kelvin"), "declare its true units"),
    "all NaN": (lambda a: keep(a, a * np.nan), "check the selection, the mask"),
    "complex": (lambda a: keep(a, a.astype("complex64")), "da.real"),
    "strings": (lambda a: keep(a, a.astype(str)), r"astype\('float32'\)"),
    "booleans": (lambda a: keep(a, a > 3000), r"astype\('uint8'\)"),
    "empty": (lambda a: a.isel(y=slice(0, 0)), "select a part"),
    "another dimension": (lambda a: a.expand_dims(member=2), "isel|rename"),
}


@pytest.mark.parametrize("door", ["DataArray", "Dataset"])
@pytest.mark.parametrize("case", CASES)
def test_wrong_arrays(case, door):
    spoil, remedy = CASES[case]
    array = spoil(scene(16, 16))
    obj = array if door == "DataArray" else as_dataset(array)
    if case == "no CRS" and door == "Dataset":
        obj = obj.drop_vars("spatial_ref", errors="ignore")
    with pytest.raises(SpecError, match=remedy) as raised:
        obj.rsembed.embed("mosaiks")
    report = obj.rsembed.check("mosaiks")
    assert not report.ok
    assert str(raised.value) in report.problems
    assert report.tiles is None
    with pytest.raises(SpecError, match=remedy):
        obj.rsembed.tiles("mosaiks")


MENDED = {
    "no CRS": (no_crs, {"crs": "EPSG:32631"}),
    "missing band": (without("B8"), {"bands": {"B8": "B4"}}),
    "undeclared units": (undeclared, {"units": "reflectance_x10000"}),
}


@pytest.mark.parametrize("case", MENDED)
def test_the_mending_call_mends(case):
    spoil, keywords = MENDED[case]
    array = spoil(scene(16, 16))
    with pytest.raises(SpecError):
        array.rsembed.embed("mosaiks")
    assert array.rsembed.embed("mosaiks", **keywords).shape == (512, 2, 2)
    assert array.rsembed.check("mosaiks", **keywords).ok


KEYWORDS = [
    ({"output": "grid"}, SpecError, "OutputSpec"),
    ({"output": OutputSpec("grid", scale_m=-1)}, SpecError, "> 0"),
    ({"input_prep": "crop"}, SpecError, "'native' or 'resize'"),
    ({"overlap": 1}, SpecError, "0, 2, 4"),
    ({"overlap": 3}, ModelError, "must divide 8"),
    ({"overlap": 2, "input_prep": "resize"}, SpecError, "input_prep='native'"),
    ({"time": "mean"}, SpecError, "'each' or 'composite'"),
    ({"temporal": 2022}, SpecError, "TemporalSpec"),
    ({"temporal": TemporalSpec.range("2022-09-01", "2022-06-01")}, SpecError, "2022"),
    ({"bands": "B4"}, SpecError, "bands takes"),
    ({"bands": 5}, SpecError, "bands takes"),
    ({"bands": ("B4", "B3")}, SpecError, "each of the 6 bands"),
    ({"bands": {"B8": "B99"}}, SpecError, "B99"),
    ({"units": "percent of"}, SpecError, "choose from"),
    ({"units": {"B99": "reflectance"}}, SpecError, "B99"),
    ({"crs": "EPSG:0"}, SpecError, "PROJ does not know"),
]


@pytest.mark.parametrize(("keywords", "kind", "said"), KEYWORDS, ids=lambda v: str(v)[:30])
def test_wrong_keywords(keywords, kind, said):
    array = scene(16, 16)
    with pytest.raises(kind, match=said) as raised:
        array.rsembed.embed("mosaiks", **keywords)
    assert str(raised.value) in array.rsembed.check("mosaiks", **keywords).problems
    with pytest.raises(kind, match=said):
        array.rsembed.tiles("mosaiks", **keywords)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "8"])
def test_wrong_batch_size(size):
    with pytest.raises(SpecError, match="batch_size"):
        scene(16, 16).rsembed.embed("mosaiks", batch_size=size)


def test_device_and_pooling_of_the_model():
    with pytest.raises(ModelError, match="device"):
        scene(16, 16).rsembed.embed("mosaiks", device="tpu")
    array = scene(16, 16, bands=("B4", "B3", "B2"))
    with pytest.raises(ModelError, match="no image-level vector"):
        array.rsembed.embed("refusals_plain", output=OutputSpec.pooled("model"))


@pytest.mark.parametrize("method", ["embed", "check", "tiles"])
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("mosaics", "mosaiks"),
        ("mosaiks:9", "512"),
        (ModelChoice("mosaiks", options={"a": 1}), "seed"),
        (7, "an id"),
        ("", "an id"),
    ],
)
def test_unknown_models_are_raised(model, said, method):
    with pytest.raises(ModelError, match=said):
        getattr(scene(16, 16).rsembed, method)(model)


def test_empty_list_of_models():
    with pytest.raises(SpecError, match="at least one"):
        scene(16, 16).rsembed.embed([])


def test_lazy_arrays_without_a_valid_pixel_are_refused_when_read():
    array = scene(16, 16)
    lazy = keep(array, array * np.nan).chunk({"y": 8})
    assert lazy.rsembed.check("mosaiks").ok
    with pytest.raises(SpecError, match="not one pixel of the array is valid"):
        lazy.rsembed.embed("mosaiks")


def test_check_names_every_problem_at_once():
    array = scene(16, 16, times=["2022-06-01"])
    spoilt = without("B8")(array).assign_coords(y=array.y)
    report = spoilt.rsembed.check("mosaiks", overlap=1, temporal=TemporalSpec.year(2020))
    assert len(report.problems) == 3
    assert [p in "\n".join(report.problems) for p in ("overlap", "B8", "2020-01-01")] == [True] * 3
    for problem in report.problems:
        assert problem in repr(report)


def test_check_of_a_good_array():
    array = scene(70, 100, dtype="uint16", units="reflectance_x10000")
    report = array.rsembed.check("mosaiks", bands={"B8": "B8"})
    assert report.ok
    assert report.problems == ()
    assert report.model == "mosaiks:512"
    assert report.bands == {b: b for b in ("B2", "B3", "B4", "B8", "B11", "B12")}
    assert set(report.units) == {"reflectance_x10000"}
    assert set(report.model_units) == {"reflectance"}
    assert report.pixel_m == pytest.approx(10, rel=1e-3)
    assert report.model_m == 10
    assert report.embeddings == 1
    assert report.dates == ()
    text = str(report)
    assert text == repr(report)
    for said in ("ready", "B11", "reflectance_x10000 to reflectance", "512 x 9 x 12", "EPSG:32631"):
        assert said in text


def test_check_foretells_the_result():
    for shape, output in [
        ((70, 100), OutputSpec.grid()),
        ((3, 3), OutputSpec.grid()),
        ((64, 64), OutputSpec.pooled()),
        ((64, 64), OutputSpec.grid(scale_m=100)),
    ]:
        array = scene(*shape)
        seen: list[int] = []
        found = array.rsembed.embed(
            "mosaiks", output=output, progress=lambda d, t, s=seen: s.append(t)
        )
        tiles = array.rsembed.tiles("mosaiks", output=output)
        report = array.rsembed.check("mosaiks", output=output)
        assert report.tiles == tiles
        assert tiles.shape == found.shape
        assert tiles.dims == found.dims
        assert tiles.output_bytes == found.nbytes
        assert tiles.windows == seen[-1]
        meta = json.loads(found.attrs["rs_embed_meta"])
        assert report.padded_fraction == meta["padded_fraction"]
        if output.mode == "grid":
            assert tiles.grid.transform == found.rio.transform()


def test_check_tells_what_will_be_decided():
    array = scene(64, 64, crs="EPSG:4326", corner=(2.0, 41.5), step=1e-4)
    south = array.isel(y=slice(None, None, -1)).rio.write_transform()
    notes = south.rsembed.check("mosaiks").notes
    assert notes["warped_from"] == "EPSG:4326"
    assert notes["south_up"] is True
    far = scene(64, 64, step=60).rsembed.check("mosaiks")
    assert "more than twice coarser" in far.notes["resolution"]
    assert "more than twice coarser" in repr(far)


def test_tiles_of_dates():
    array = scene(64, 64, times=["2022-06-01", "2022-06-02"])
    tiles = array.rsembed.tiles("mosaiks")
    assert tiles.dims == ("time", "feature", "y", "x")
    assert tiles.shape == (2, 512, 8, 8)
    assert tiles.windows == 2
    assert tiles.patch_bytes == 2 * 6 * 64 * 64 * 4
    assert "2 x 512 x 8 x 8" in str(tiles)
    one = array.rsembed.tiles("mosaiks", time="composite")
    assert one.shape == (512, 8, 8)


def test_grid_of_what_has_none():
    with pytest.raises(SpecError, match=r"rio\.write_crs"):
        xr.DataArray(np.zeros((2, 2)), dims=("y", "x")).rsembed.grid  # noqa: B018
    with pytest.raises(SpecError, match="rename"):
        xr.DataArray(np.zeros((2, 2)), dims=("a", "b")).rsembed.grid  # noqa: B018


def test_an_accessor_on_anything_is_only_an_object():
    for obj in (xr.DataArray(3), xr.Dataset(), xr.DataArray(["a", "b"], dims="b")):
        assert hasattr(obj, "rsembed")
        assert not obj.rsembed.check("mosaiks").ok
        with pytest.raises(SpecError):
            obj.rsembed.embed("mosaiks")
