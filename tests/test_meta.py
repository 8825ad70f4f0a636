"""Every field of ``meta``, each made to happen, and documented in ``docs/concepts.md``."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  # registers .rio
import xarray as xr
from affine import Affine

import rs_embed
from rs_embed import (
    ModelChoice,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    TemporalSpec,
    get_embedding,
    register_provider,
)
from rs_embed.core.crs import project
from rs_embed.core.embedding import META_ATTR
from rs_embed.core.jsonable import to_jsonable
from rs_embed.core.model import Cadence, InputSpec, Variant
from rs_embed.providers import base
from tests.places import SUMMER, TOY, Ended, at, registered, roi_of
from tests.toys import BANDS, toy

RULES = toy("toy_rules", assumptions=("values are halved",))
PLACED = toy("toy_place", encode="tests.toys:place_encode")
COARSE = toy("toy_30m", scale_m=30)
MONTHLY = toy("toy_monthly", cadence=Cadence("months", 12))
_IMAGES = toy().modalities["s2"][0]
HEIGHTS = toy(
    "toy_heights", prepare="tests.toys:trivial_prepare", encode="tests.toys:trivial_encode",
    image_vector=None,
    modalities={
        "s2": (_IMAGES, InputSpec("dem", ("elevation",), "reflectance", "TOY/DEM", optional=True)),
    },
)  # fmt: skip
STATIC_FIRST = toy(
    "toy_static_first", variants=(Variant("twelve", 12),), default_variant="twelve",
    modalities={
        "s2": (InputSpec("dem", ("B8",), "reflectance", "TOY/DEM", static=True), _IMAGES),
    },
)  # fmt: skip
CONCEPTS = Path(__file__).parents[1] / "docs" / "concepts.md"
SEASON = ["2022-06-01", "2022-09-01"]
EDGE = 600_000 + 80  # the first eight columns of `at()`


@pytest.fixture(autouse=True)
def _toys():
    register_provider("ended", lambda source: Ended(*source))
    with (
        registered(TOY, RULES, PLACED, COARSE, MONTHLY, HEIGHTS, STATIC_FIRST),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", rs_embed.plugins.notices.RsEmbedWarning)
        yield
    base._FACTORIES.pop("ended")


def of(model="toy", spatial=None, grid=True, **keywords):
    """The meta of one embedding by the functions."""
    output = OutputSpec.grid() if grid else OutputSpec.pooled()
    keywords = {"temporal": SUMMER, "backend": "memory", "output": output, **keywords}
    return get_embedding(model, spatial=spatial or at(side_px=64), **keywords).meta


def array(side=64, step=10.0, crs="EPSG:32631", units="reflectance", bands=BANDS, south_up=False):
    """An array of the toy's bands."""
    data = np.random.default_rng(0).uniform(0, 0.5, (len(bands), side, side)).astype("f4")
    down = step if south_up else -step
    top = 5_800_000 - side * step if south_up else 5_800_000.0
    left = 600_000.0
    if crs == "EPSG:4326":
        left, top = 5.0, 52.0
    da = xr.DataArray(
        data, dims=("band", "y", "x"),
        coords={
            "band": list(bands),
            "y": top + down * (np.arange(side) + 0.5),
            "x": left + step * (np.arange(side) + 0.5),
        },
        attrs={"units": units} if units else {},
    )  # fmt: skip
    return da.rio.write_crs(crs)


def inside(da):
    """The square of 32 pixels in the middle of an array."""
    x, y = (float(da[name].mean()) for name in ("x", "y"))
    lon, lat = project(x, y, "EPSG:32631", "EPSG:4326")
    return PointBuffer(float(lon), float(lat), 160)


def embedded(da, model="toy", **keywords):
    """The meta of one embedding by the accessor."""
    return json.loads(da.rsembed.embed(model, **keywords).attrs[META_ATTR])


def series():
    """Two dates of July: of the three months of a season, two are empty."""
    times = np.array(["2022-07-03", "2022-07-20"], dtype="datetime64[ns]")
    return xr.concat([array(), array()], dim="time").assign_coords(time=times)


def _without_heights():
    """Pixels with heights of which none is known."""
    da = array(bands=(*BANDS, "elevation"))
    da.loc[{"band": "elevation"}] = np.nan
    return da


def _by_source(model, da, **keywords):
    """As `embedded`, the array being a source; for the square in its middle."""
    keywords = {"temporal": None, "spatial": inside(da), **keywords}
    return of(model, backend="local", source=da, **keywords)


def near(value):
    return pytest.approx(value, rel=1e-3)


HOLES = (None, lambda x, y: x < EDGE)


# field -> [(how it happens, what it then says), ...]
def _odd_values():
    """How many oddities are told of reflectances of which none is above 0.001."""
    with pytest.warns(rs_embed.plugins.notices.RsEmbedWarning, match="every reflectance is below"):
        return len(embedded(array() * 1e-3)["value_warnings"])


FIELDS = {
    "model": [(of, "toy")],
    "variant": [(of, "ten")],
    "modality": [(of, "s2")],
    "options": [
        (of, {"window_px": 32, "frames": 1}),
        (lambda: of(ModelChoice("toy", options={"window_px": 16})), {"window_px": 16, "frames": 1}),
    ],
    "dim": [(of, 10)],
    "weights": [(of, {"weights": "none"})],
    "assumptions": [(of, []), (lambda: of("toy_rules"), ["values are halved"])],
    "licence": [(of, "Apache-2.0")],
    "citation": [(of, "none")],
    "backend": [(of, "memory"), (lambda: embedded(array()), "array")],
    "collection": [
        (of, "TOY/S2"),
        (lambda: of(sensor=SensorSpec("MY/IMAGES", BANDS)), "MY/IMAGES"),
    ],
    "bands": [(of, list(BANDS))],
    "input": [
        (of, {"bands": list(BANDS), "units": ["reflectance"] * 3, "seed": 0}),
        (
            lambda: embedded(array()),
            {"bands": list(BANDS), "units": ["reflectance"] * 3, "scenes": [1]},
        ),
    ],
    "temporal": [
        (of, SEASON),
        (lambda: of(temporal=TemporalSpec.year(2022)), ["2022-01-01", "2023-01-01"]),
        (lambda: embedded(array()), None),
    ],
    "input_time": [
        (of, "2022-07-17"),
        (lambda: of(temporal=TemporalSpec.year(2022)), "2022-07-02"),
        (lambda: embedded(array()), None),
    ],
    "intervals": [
        (of, [SEASON]),
        (
            lambda: of("toy_monthly"),
            [["2022-06-01", "2022-07-01"], ["2022-07-01", "2022-08-01"],
             ["2022-08-01", "2022-09-01"]],
        ),
    ],
    "missing_bands": [
        (of, []),
        (lambda: embedded(_without_heights(), "toy_heights"), ["elevation"]),
        (lambda: _by_source("toy_heights", _without_heights())["missing_bands"], ["elevation"]),
    ],
    "empty_intervals": [
        (of, 0),
        (lambda: embedded(series(), "toy_monthly", temporal=SUMMER), 2),
    ],
    "crs": [(of, "EPSG:32631")],
    "bounds": [(of, [600_000.0, 5_799_360.0, 600_640.0, 5_800_000.0])],
    "scale_m": [(of, 10.0), (lambda: of("toy_30m", at(side_px=96)), 30.0)],
    "scale_error": [
        (lambda: of(spatial=PointBuffer(0, 90, 320)), near(1 / 0.994 - 1)),
        (lambda: of(spatial=PointBuffer(3, 0, 320)), near(1 / 0.9996 - 1)),
    ],
    "roi_px": [(of, [64, 64]), (lambda: of(spatial=at(side_px=3)), [3, 3])],
    "cell_m": [
        (of, 80.0), (lambda: of(output=OutputSpec.grid(160)), 160.0),
        (lambda: of(output=OutputSpec.grid(resample_m=10)), 10.0),
        (lambda: of(output=OutputSpec.grid(None)), 80.0), (lambda: of(grid=False), 80.0),
    ],
    "cells": [
        (of, [8, 8]), (lambda: of(output=OutputSpec.grid(160)), [4, 4]),
        (lambda: of(output=OutputSpec.grid(resample_m=10)), [64, 64]),
        (lambda: of(grid=False), [8, 8]),
    ],
    "window_px": [(of, 32)],
    "token_px": [(of, 8)],
    "windows": [(of, 4), (lambda: of(overlap=2), 25)],
    "overlap": [(of, 0), (lambda: of(overlap=2), 2)],
    "input_prep": [(of, "native"), (lambda: of(input_prep="resize"), "resize")],
    "seam_ratio": [
        (lambda: of("toy_place")["seam_ratio"] > of("toy")["seam_ratio"], True),
        (lambda: of(spatial=at(side_px=32)), None),
    ],
    "position_share": [
        (lambda: of("toy_place")["position_share"] > 2 * of("toy")["position_share"], True),
        (lambda: of(spatial=at(side_px=32)), None),
    ],
    "valid_fraction": [(of, 1.0), (lambda: of(backend="ended", source=HOLES), 0.875)],
    "missing_fraction": [(of, 0.0), (lambda: of(backend="ended", source=HOLES), 0.125)],
    "padded_fraction": [
        (of, 0.0),
        (
            lambda: of(
                spatial=at(side_px=16), backend="ended", source=(roi_of(at(side_px=16)), None)
            ),
            0.75,
        ),
    ],
    "fill_value": [
        (of, None),
        (lambda: of(sensor=SensorSpec("C", BANDS)), 0.0),
        (lambda: of(sensor=SensorSpec("C", BANDS, fill_value=-9.0)), -9.0),
        (lambda: of(sensor=SensorSpec("C", BANDS, fill_value=math.nan)), None),
    ],
    "output": [(of, "grid"), (lambda: of(grid=False), "pooled")],
    "pooling": [
        (of, None),
        (lambda: of(grid=False), "mean"),
        (lambda: of(output=OutputSpec.pooled("max")), "max"),
    ],
    "resampled_grid": [
        (lambda: of(output=OutputSpec.grid(160)), True),
        (lambda: of(output=OutputSpec.grid(resample_m=10)), True),
    ],
    "south_up": [
        (
            lambda: of(
                backend="local", source=array(side=128, south_up=True), temporal=None,
                output=OutputSpec.grid(grid_orientation="native"),
            ),
            True,
        ),
    ],
    "model_scale_m": [(lambda: of("toy_30m", sensor=SensorSpec("C", BANDS)), 30)],
    "notes": [
        (
            lambda: of("toy_30m", sensor=SensorSpec("C", BANDS)),
            ["toy_30m was trained at 30 m; the sensor's scale_m 10 is used as given"],
        )
    ],
    "value_warnings": [(of, []), (_odd_values, 1)],
    "plan": [(lambda: len(of()["plan"]), 64)],
    "rs_embed_version": [(of, rs_embed.__version__)],
}  # fmt: skip
# What ``meta["input"]`` says, of an array and of a source that reads one alike.
INPUT = {
    "scenes": [
        (lambda: embedded(array()), [1]),
        (lambda: embedded(series(), "toy_monthly", temporal=SUMMER), [0, 2, 0]),
    ],
    "dates": [
        (
            lambda: embedded(series(), "toy_monthly", temporal=SUMMER),
            [[], ["2022-07-03", "2022-07-20"], []],
        ),
    ],
    "south_up": [(lambda: embedded(array(south_up=True)), True)],
    "area_averaged": [
        (lambda: embedded(array(128, 5.0)), 2),
        (lambda: embedded(array(128, 8.0)), 1.25),
    ],
    "resampled": [
        (lambda: embedded(array(step=9.0)), "area average, 9 m to 10 m"),
        (lambda: embedded(array(step=12.0)), "nearest, 12 m to 10 m"),
    ],
    "resolution": [
        (
            lambda: "more than twice coarser" in embedded(array(step=25.0))["input"]["resolution"],
            True,
        )
    ],
    "warped_from": [(lambda: embedded(array(step=1e-4, crs="EPSG:4326")), "EPSG:4326")],
    "substitutes": [(lambda: embedded(array(), bands={"B2": "B3"}), {"B2": "B3"})],
    "units_assumed": [
        (
            lambda: embedded(
                (array(units=None) * 10_000).astype("u2").rio.write_crs("EPSG:32631")
            ),
            "reflectance_x10000",
        )
    ],
    "units_by_baseline": [(lambda: embedded(_of_baseline()), ["s2_dn_offset1000"])],
    "ignored_variables": [(lambda: embedded(_with_a_score(), units="reflectance"), ["score"])],
    "coordinates": [(lambda: embedded(_of_corners()), "corners")],
    "transform_ignored": [
        (lambda: "transform" in embedded(_stale())["input"]["transform_ignored"], True)
    ],
}  # fmt: skip
# Present in every embedding of a place.
ALWAYS = {
    name for name in FIELDS
    if name not in {
        "resampled_grid", "south_up", "model_scale_m", "notes",
    }
}  # fmt: skip


def _with_a_score():
    """A dataset with a variable that has no pixels."""
    return array().to_dataset("band").assign(score=("x", np.zeros(64))).rio.write_crs("EPSG:32631")


def _of_baseline():
    """Declared as without an offset, and its baseline says that there is one."""
    da = (array() * 10_000).astype("u2").rio.write_crs("EPSG:32631")
    told = da.assign_coords({"s2:processing_baseline": "05.09"})
    return told.assign_attrs(units="reflectance_x10000")


def _of_corners():
    """An array whose coordinates are the corners of its pixels, as stackstac has it."""
    da = array()
    da = da.assign_coords(x=da.x - 5, y=da.y + 5)
    return da.assign_attrs(transform=(10, 0, 600_000, 0, -10, 5_800_000))


def _stale():
    """An array whose stored transform is not that of its coordinates."""
    da = array()
    return da.rio.write_transform(Affine(160, 0, 600_000, 0, -160, 5_800_000))


@pytest.mark.parametrize(
    ("field", "how", "says"),
    [(field, how, says) for field, cases in FIELDS.items() for how, says in cases],
    ids=[f"{field}-{i}" for field, cases in FIELDS.items() for i in range(len(cases))],
)
def test_a_field_says_what_happened(field, how, says):
    found = how()
    assert (found[field] if isinstance(found, dict) else found) == says


@pytest.mark.parametrize(
    ("field", "how", "says"),
    [(field, how, says) for field, cases in INPUT.items() for how, says in cases],
    ids=[f"{field}-{i}" for field, cases in INPUT.items() for i in range(len(cases))],
)
def test_a_field_of_the_input_says_what_happened(field, how, says):
    found = how()
    assert (found["input"][field] if isinstance(found, dict) else found) == says


def test_an_array_and_a_source_that_reads_it_say_the_same_of_the_input():
    """The same notes in the same place, whichever door the pixels came through."""
    alike = (array(128, south_up=True), _of_corners(), _stale(), array(128, 5.0), array(step=9.0))
    for da in alike:
        by_array = embedded(da)
        by_source = of(backend="local", source=da, temporal=None, spatial=inside(da))
        assert by_source["input"] == by_array["input"]
        assert set(by_source) == set(by_array) == ALWAYS


def test_every_field_of_an_embedding_is_in_the_table():
    assert set(of()) == ALWAYS
    for found in (
        of(grid=False),
        of(output=OutputSpec.grid(160)),
        of("toy_30m", sensor=SensorSpec("C", BANDS)),
        embedded(array()),
        embedded(array(step=1e-4, crs="EPSG:4326"), bands={"B2": "B3"}),
        embedded(series(), "toy_monthly", temporal=SUMMER),
        embedded(_with_a_score(), units="reflectance"),
    ):
        assert set(found) <= set(FIELDS)
        assert set(found["input"]) <= {"bands", "units", "seed"} | set(INPUT)


def test_the_documentation_names_every_field_and_no_other():
    text = CONCEPTS.read_text(encoding="utf-8")
    section = text.split("## What `meta` says", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert documented == set(FIELDS) | set(INPUT)


def test_dates_and_the_order_of_rows_hold_behind_a_layer_without_dates():
    """They are those of the images, though the first input is a layer that has neither."""
    assert of("toy_static_first")["intervals"] == [SEASON]
    da = array(bands=("B8", *BANDS), south_up=True)
    dated = da.expand_dims(time=np.array(["2022-07-03"], dtype="datetime64[ns]"))
    native = OutputSpec.grid(grid_orientation="native")
    keywords = {"spatial": inside(da), "temporal": SUMMER, "backend": "local", "source": dated}
    north, turned = (
        get_embedding("toy_static_first", output=output, **keywords)
        for output in (OutputSpec.grid(), native)
    )
    np.testing.assert_array_equal(turned.data, north.data[:, ::-1])
    np.testing.assert_array_equal(turned.data.y, north.data.y[::-1])
    assert turned.meta["south_up"] is True
    assert "south_up" not in north.meta
    assert turned.meta["intervals"] == [SEASON]
    assert [one["scenes"] for one in turned.meta["input"]["sources"]] == [[1], [1]]


def test_a_series_tells_the_cells_and_rows_that_it_has():
    output = OutputSpec.grid(resample_m=160, grid_orientation="native")
    dated = xr.concat([array(south_up=True)] * 2, dim="time").assign_coords(time=series().time)
    found = embedded(dated, output=output)
    assert (found["cells"], found["cell_m"]) == ([4, 4], 160.0)
    assert found["resampled_grid"] is True
    assert found["south_up"] is True


@pytest.mark.parametrize("door", ["array", "place", "places", "export", "series"])
def test_odd_values_are_told_at_the_callers_line(door, tmp_path):
    """Each time, and in the file that asked; as an error, where warnings are errors."""
    odd = array() * 1e-3
    keywords = {"backend": "local", "source": odd}
    doors = {
        "array": lambda: odd.rsembed.embed("toy"),
        "series": lambda: (series() * 1e-3).rsembed.embed("toy"),
        "place": lambda: get_embedding("toy", spatial=inside(odd), **keywords),
        "places": lambda: rs_embed.get_embeddings_batch("toy", spatials=[inside(odd)], **keywords),
        "export": lambda: rs_embed.export_batch(
            spatials=[inside(odd)], temporal=None, models=["toy"], out_dir=str(tmp_path),
            show_progress=False, resume=True, **keywords,
        ),
    }  # fmt: skip
    for _ in range(1 if door == "export" else 2):
        with pytest.warns(rs_embed.plugins.notices.RsEmbedWarning, match="below") as caught:
            doors[door]()
        assert {one.filename for one in caught} == {__file__}


# --- strict JSON --------------------------------------------------------------------------------


def test_meta_is_strict_json_whatever_a_source_says():
    @dataclasses.dataclass
    class Talkative(Ended):
        def fetch(self, plan):
            odd = {
                "nodata": math.nan, "limit": np.float32(np.inf), "scenes": ("a", np.int64(3)),
                "when": np.datetime64("2022-06-01"), 7: {"set": {1}}, "object": object,
                "array": np.array([1.0, np.nan]), "flag": np.bool_(True),
            }  # fmt: skip
            return super().fetch(plan).map(lambda patch: dataclasses.replace(patch, meta=odd))

    register_provider("talkative", lambda source: Talkative(None))
    try:
        for grid in (True, False):
            meta = of(backend="talkative", grid=grid)
            again = json.loads(json.dumps(meta, allow_nan=False))
            assert again == meta
            told = meta["input"]
            assert told["nodata"] is None
            assert told["limit"] is None
            assert told["scenes"] == ["a", 3]
            assert told["array"] == [1.0, None]
            assert told["flag"] is True
            assert told["7"] == {"set": [1]}
            assert "2022-06-01" in told["when"]
    finally:
        base._FACTORIES.pop("talkative")


def test_every_meta_here_is_strict_json():
    for cases in [*FIELDS.values(), *INPUT.values()]:
        for how, _ in cases:
            found = how()
            assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_plain_leaves_plain_data_alone():
    data = {"a": [1, 2.5, None, True, "x"], "b": {"c": []}}
    assert to_jsonable(data) == data


def test_no_path_of_the_caller_is_told(tmp_path):
    path = tmp_path / "scene.tif"
    named = array(side=128)
    named.attrs["long_name"] = BANDS
    named.rio.to_raster(path)
    meta = of(
        backend="local", source=str(path), temporal=None,
        sensor=SensorSpec("x", BANDS, units="reflectance"),
    )  # fmt: skip
    assert str(tmp_path) not in json.dumps(meta)
