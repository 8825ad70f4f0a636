"""Exports in every format, opened again by the tools that their users have."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rioxarray
import xarray as xr

import rs_embed
from rs_embed import BBox, OutputSpec, PointBuffer, SpecError, TemporalSpec, load_export
from rs_embed.core.model import Cadence
from rs_embed.embedders import catalog, runtime
from rs_embed.providers import base
from tests import toys
from tests.counting import CountingProvider

YEAR = TemporalSpec.year(2022)
PLACES = [PointBuffer(10, 50, 160), BBox(10.1, 50, 10.105, 50.004), PointBuffer(-70, -30, 160)]
TOY = toys.toy("toy")
WIDE = toys.toy("wide", cadence=Cadence("months", 12))
NARROW = toys.toy("narrow", encode="tests.test_export_formats:narrow", variants=(
    rs_embed.core.model.Variant("three", 3),
), default_variant="three")  # fmt: skip
GRID = OutputSpec.grid()
SUFFIX = {"npz": ".npz", "netcdf": ".nc", "zarr": ".zarr", "geoparquet": ".parquet", "cog": ".tif"}


def narrow(network, arrays, model):
    tokens = toys.encode(network, arrays, model)
    return toys.Tokens(tokens.grid[..., :3])


@pytest.fixture
def source(monkeypatch) -> CountingProvider:
    provider = CountingProvider(workers=2)
    monkeypatch.setattr(catalog, "_REGISTERED", {m.id: m for m in (TOY, WIDE, NARROW)})
    monkeypatch.setattr(base, "_FACTORIES", {"counting": lambda source: provider})
    runtime.unload_models()
    yield provider
    runtime.unload_models()


def export(path, form, models=("toy",), places=PLACES, **keywords):
    given = {
        "temporal": YEAR, "backend": "counting", "show_progress": False,
        "save_inputs": form in ("npz", "netcdf", "zarr"), "names": ["a", "b", "c"][: len(places)],
    }  # fmt: skip
    where = {"out_path": str(path)} if path.suffix else {"out_dir": str(path)}
    return rs_embed.export_batch(
        spatials=list(places), models=list(models), format=form, **{**where, **given, **keywords}
    )


def alone(spatial, model="toy", **keywords):
    return rs_embed.get_embedding(
        model, spatial=spatial, temporal=YEAR, backend="counting", **keywords
    ).data


TABLES = ["npz", "netcdf", "zarr", "geoparquet"]


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("form", TABLES)
def test_vectors_come_back_as_a_dataset(source, tmp_path, form, layout):
    path = tmp_path / ("out" if layout == "folder" else f"all{SUFFIX[form]}")
    export(path, form, ["toy", "narrow"])
    found = load_export(str(path))
    assert found["place"].values.tolist() == ["a", "b", "c"]
    assert dict(found.sizes) == {"place": 3, "model": 2, "feature_10": 10, "feature_3": 3}
    assert (found["status"] == "ok").all()
    np.testing.assert_allclose(found["lon"], [10, 10.1025, -70])
    for model in ("toy", "narrow"):
        for i, place in enumerate(PLACES):
            np.testing.assert_array_equal(found[model].values[i], alone(place, model))


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("form", ["npz", "netcdf", "zarr", "cog"])
def test_grids_come_back_where_they_were(source, tmp_path, form, layout):
    if form == "cog" and layout == "file":
        with pytest.raises(SpecError, match="a cog holds one grid"):
            export(tmp_path / "all.tif", form, output=GRID)
        return
    path = tmp_path / ("out" if layout == "folder" else f"all{SUFFIX[form]}")
    export(path, form, output=GRID)
    found = load_export(str(path))
    assert len(found) == 3
    for place, grids in zip(PLACES, found, strict=True):
        wanted = alone(place, output=GRID)
        np.testing.assert_array_equal(grids["toy"].values, wanted.values)
        assert grids["toy"].rio.transform() == wanted.rio.transform()
        assert grids["toy"].rio.crs == wanted.rio.crs


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("form", TABLES)
def test_failed_places_stay_in_place(source, tmp_path, form, layout):
    gone = rs_embed.core.grid.roi_grid(PLACES[1], 10).unwrap().crs
    far = rs_embed.core.grid.roi_grid(PLACES[2], 10).unwrap().crs
    assert gone != far
    source.fails = lambda plan: plan.grid.crs == far
    path = tmp_path / ("out" if layout == "folder" else f"all{SUFFIX[form]}")
    export(path, form, continue_on_error=True)
    found = load_export(str(path))
    assert found["status"].values[:, 0].tolist() == ["ok", "ok", "failed"]
    assert np.isnan(found["toy"].values[2]).all()
    np.testing.assert_array_equal(found["toy"].values[1], alone(PLACES[1]))


@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("form", [*TABLES, "cog"])
def test_every_format_is_resumed(source, tmp_path, form, layout):
    if form == "cog" and layout == "file":
        return
    output = GRID if form == "cog" else OutputSpec.pooled()
    path = tmp_path / ("out" if layout == "folder" else f"all{SUFFIX[form]}")
    export(path, form, places=PLACES[:2], output=output)
    source.fetch_window.clear()
    export(path, form, ["toy", "narrow"], resume=True, output=output)
    # The new place once for both, the old ones for the new model alone; it sees the same pixels.
    assert len(source.fetch_window) == 3
    source.fetch_window.clear()
    told = export(path, form, ["toy", "narrow"], resume=True, output=output)
    assert source.fetch_window == []
    places = told["places"] if isinstance(told, dict) else told
    assert [place["status"] for place in places] == ["ok"] * 3
    found = load_export(str(path))
    if form == "cog":
        np.testing.assert_array_equal(found[0]["toy"], alone(PLACES[0], output=GRID))
    else:
        np.testing.assert_array_equal(found["narrow"].values[0], alone(PLACES[0], "narrow"))
        np.testing.assert_array_equal(found["toy"].values[0], alone(PLACES[0]))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
@pytest.mark.parametrize("layout", ["folder", "file"])
@pytest.mark.parametrize("form", TABLES)
def test_smaller_types_in_every_format(source, tmp_path, form, layout, dtype):
    path = tmp_path / ("out" if layout == "folder" else f"all{SUFFIX[form]}")
    told = export(path, form, dtype=dtype)
    places = told["places"] if isinstance(told, dict) else told
    found = load_export(str(path))
    for i, place in enumerate(PLACES):
        off = np.abs(found["toy"].values[i] - alone(place)).max()
        assert off == pytest.approx(places[i]["models"][0]["error_max"], rel=1e-4)


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_groups_open_in_xarray(source, tmp_path, form):
    export(tmp_path / "out", form, ["wide"], places=PLACES[:1], output=GRID)
    path = tmp_path / "out" / f"a{SUFFIX[form]}"
    opened = xr.open_dataset if form == "netcdf" else xr.open_zarr
    grid = opened(path, group="embedding/wide", decode_coords="all")["values"].load()
    wanted = alone(PLACES[0], "wide", output=GRID)
    np.testing.assert_array_equal(grid.values, wanted.values)
    assert grid.rio.crs == wanted.rio.crs
    assert grid.rio.transform() == wanted.rio.transform()
    pixels = opened(path, group="input/wide", decode_coords="all")["values"].load()
    assert pixels.dims == ("time", "band", "y", "x")
    assert pixels["band"].values.tolist() == ["B4", "B3", "B2"]


def test_a_store_says_what_readers_of_embeddings_look_for(source, tmp_path):
    import zarr

    export(tmp_path / "all.zarr", "zarr", output=GRID, dtype="int8")
    root = zarr.open_group(str(tmp_path / "all.zarr"), mode="r")
    attrs = dict(root.attrs)
    assert attrs["geoemb:type"] == "pixel"
    assert attrs["geoemb:dimensions"] == 10
    assert attrs["geoemb:source_data"] == ["TOY/S2"]
    assert attrs["geoemb:quantization"]["quantized_dtype"] == "int8"
    assert {one["uuid"] for one in attrs["zarr_conventions"]} >= {
        "61c12cc5-0e28-4056-999a-480cf3fb7e4c"
    }
    wanted = alone(PLACES[2], output=GRID)
    grid = dict(root["places/c/embedding/toy"].attrs)
    assert grid["proj:code"] == f"EPSG:{wanted.rio.crs.to_epsg()}"
    assert grid["spatial:transform"] == list(wanted.rio.transform())[:6]
    assert grid["spatial:shape"] == list(wanted.shape[1:])
    assert grid["spatial:bbox"] == list(wanted.rio.bounds())


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_parquet_opens_in_duckdb_and_geopandas(source, tmp_path, layout):
    import duckdb
    import geopandas
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / ("out" if layout == "folder" else "all.parquet")
    export(path, "geoparquet")
    files = path / "*.parquet" if layout == "folder" else path
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"select name, label, status, embedding from '{files}' order by name"
        ).fetchall()
    assert [row[:3] for row in rows] == [(name, "toy", "ok") for name in "abc"]
    np.testing.assert_array_equal(np.float32(rows[1][3]), alone(PLACES[1]))
    one = path / "b.parquet" if layout == "folder" else path
    assert pq.read_schema(one).field("embedding").type == pa.list_(pa.float32(), 10)
    table = geopandas.read_parquet(one)
    assert table.crs == "OGC:CRS84"
    box = table.set_index("name").geometry["b"]
    assert box.bounds == (10.1, 50, 10.105, 50.004)
    assert box.is_valid


def test_a_table_becomes_a_geodataframe_in_one_line(source, tmp_path):
    import geopandas

    export(tmp_path / "all.npz", "npz")
    ds = load_export(str(tmp_path / "all.npz"))
    table = geopandas.GeoDataFrame(
        ds["toy"].to_pandas(), geometry=geopandas.points_from_xy(ds.lon, ds.lat), crs=4326
    )
    assert table.shape == (3, 11)
    assert table.geometry["c"].x == -70


def test_a_cog_is_one_file_a_model(source, tmp_path):
    told = export(tmp_path / "out", "cog", ["toy:ten", "narrow"], places=PLACES[:1], output=GRID)
    names = [file["name"] for file in told[0]["files"]]
    assert names == ["a.toy_ten.tif", "a.narrow.tif"]
    with rioxarray.open_rasterio(tmp_path / "out" / names[0]) as opened:
        wanted = alone(PLACES[0], output=GRID)
        np.testing.assert_array_equal(opened.values, wanted.values)
        assert opened.rio.crs == wanted.rio.crs
        assert opened.rio.transform() == wanted.rio.transform()


def test_every_format_tells_of_itself(source, tmp_path):
    for form in TABLES:
        from rs_embed.export.places import format_named

        path = tmp_path / f"all{SUFFIX[form]}"
        told = export(path, form)
        inside = format_named(form).read_manifest(path)
        assert inside == {**json.loads((tmp_path / "all.json").read_text()), "files": []}
        assert told["request"]["format"] == form


@pytest.mark.parametrize("name", ["nothing", "empty", "broken.npz", "broken.nc", "broken.parquet"])
def test_what_is_no_export_says_so(tmp_path, name):
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif "." in name:
        path.write_bytes(b"not an export")
    with pytest.raises(SpecError, match=r"export|exist"):
        load_export(str(path))
