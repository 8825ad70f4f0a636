"""Places from users' own files: shapes, tables, and what the command reads."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pytest
import shapely
from typer.testing import CliRunner

from rs_embed import BBox, PointBuffer, SpecError, export_batch, load_export
from rs_embed.cli.app import app
from rs_embed.core.result import unwrap_or_raise
from rs_embed.pipeline.places import as_places

POINT = shapely.Point(-67.645, -47.852)
BOX = shapely.box(-67.65, -47.855, -67.64, -47.85)


def places(*given, **keywords):
    return unwrap_or_raise(as_places(*given, **keywords))


def test_specs_stay_themselves():
    specs = [BBox(0, 0, 1, 1), PointBuffer(1, 2, 30)]
    assert places(specs) == specs


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_points_and_boxes(kind):
    assert places(kind([POINT, BOX]), buffer_m=320) == [
        PointBuffer(-67.645, -47.852, 320),
        BBox(-67.65, -47.855, -67.64, -47.85),
    ]


@pytest.mark.parametrize("column", [320, "side"])
def test_a_table_is_brought_to_degrees(column):
    table = geopandas.GeoDataFrame({"side": [320.0]}, geometry=[POINT], crs=4326).to_crs(32719)
    (found,) = places(table, buffer_m=column)
    assert (found.lon, found.lat) == pytest.approx((POINT.x, POINT.y), abs=1e-9)
    assert found.buffer_m == 320
    (found,) = places(geopandas.GeoSeries([BOX], crs=4326))
    assert found == BBox(-67.65, -47.855, -67.64, -47.85)


@pytest.mark.parametrize(
    ("given", "keywords", "match"),
    [
        ([POINT], {}, r"spatials\[0\]: a point has no extent; pass buffer_m="),
        ([BOX, shapely.Point()], {"buffer_m": 9}, r"spatials\[1\]: the Point is empty"),
        ([shapely.Polygon()], {}, "the Polygon is empty"),
        ([shapely.Polygon([(0, 0), (1, 0), (1, 1)])], {}, "no box along the meridians"),
        ([BOX.difference(BOX.buffer(-0.002))], {}, "no box along the meridians"),
        ([shapely.MultiPolygon([BOX])], {}, "MultiPolygon"),
        ([shapely.Point(500_000, 4_000_000)], {"buffer_m": 9}, "outside -180..180"),
        ([POINT], {"buffer_m": -1}, "buffer_m must be > 0"),
        ([POINT], {"buffer_m": "side"}, "only a GeoDataFrame has"),
        ([3], {}, r"spatials\[0\] must be a BBox"),
        ("everywhere", {}, "must be a list"),
        (geopandas.GeoDataFrame(geometry=[POINT]), {"buffer_m": 9}, "no CRS"),
        (geopandas.GeoDataFrame(geometry=[POINT], crs=4326), {"buffer_m": "x"}, "no column"),
    ],
)
def test_what_is_no_place_says_so(given, keywords, match):
    with pytest.raises(SpecError, match=match):
        places(given, **keywords)


def test_a_table_is_exported(tmp_path):
    table = geopandas.GeoDataFrame(geometry=[POINT, BOX], crs=4326)
    for name, spatials in (
        ("a", table),
        ("b", [PointBuffer(POINT.x, POINT.y, 320), *places([BOX])]),
    ):
        export_batch(
            spatials=spatials, temporal=None, models=["mosaiks"], backend="sample", buffer_m=320,
            out_path=str(tmp_path / f"{name}.npz"), show_progress=False,
        )  # fmt: skip
    one, other = (load_export(str(tmp_path / f"{name}.npz")) for name in "ab")
    np.testing.assert_array_equal(one["mosaiks"], other["mosaiks"])


# The command


def run(*words):
    return CliRunner().invoke(
        app, ["export", *map(str, words), "-m", "mosaiks", "--backend", "sample"]
    )


def write(tmp_path, suffix):
    path = tmp_path / f"places{suffix}"
    if suffix == ".csv":
        path.write_text("name,lon,lat,buffer_m\nsteppe,-67.645,-47.852,320\n")
    elif suffix == ".geojson":
        feature = {
            "type": "Feature", "properties": {"name": "steppe"},
            "geometry": shapely.geometry.mapping(POINT),
        }  # fmt: skip
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    else:
        table = geopandas.GeoDataFrame({"name": ["steppe"]}, geometry=[POINT], crs=4326)
        table.to_parquet(path) if suffix == ".parquet" else table.to_file(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".geojson", ".parquet", ".gpkg"])
def test_the_command_reads_places(tmp_path, suffix):
    done = run(write(tmp_path, suffix), "--out", tmp_path / "out", "--buffer-m", 320)
    assert done.exit_code == 0, done.output
    assert "1 places: 1 ok" in done.output
    with np.load(tmp_path / "out" / "steppe.npz") as held:
        assert held["embedding/mosaiks"].shape == (512,)
        assert held["input/mosaiks"].shape == (6, 64, 64)


def test_the_command_writes_one_table(tmp_path):
    out = tmp_path / "all.parquet"
    done = run(write(tmp_path, ".csv"), "--out", out, "--format", "geoparquet")
    assert done.exit_code == 0, done.output
    assert geopandas.read_parquet(out)["name"].tolist() == ["steppe"]


def test_the_command_tells_what_it_would_take(tmp_path):
    done = run(write(tmp_path, ".csv"), "--out", tmp_path / "out", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "requests      1" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x,y\n1,2\n", "it needs lon and lat"),
        ("lon,lat\n1,2\n", "--buffer-m"),
        ("lon,lat,buffer_m\na,2,3\n", "line 2"),
        ("lon,lat\n", "holds no places"),
    ],
)
def test_a_file_without_places_says_so(tmp_path, text, match):
    path = tmp_path / "places.csv"
    path.write_text(text)
    done = run(path, "--out", tmp_path / "out")
    assert isinstance(done.exception, SpecError)
    assert match in str(done.exception)
