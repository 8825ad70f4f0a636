"""Arrays as five libraries give them: numbers, rows, CRS and transform are those of the file."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rioxarray
import stackstac
import xarray as xr
from affine import Affine

from rs_embed.core.grid import Grid
from rs_embed.core.result import unwrap_or_raise
from rs_embed.providers.files import open_source
from rs_embed.raster import read_xarray
from rs_embed.raster.raster import Raster

pytestmark = [
    # odc-geo calls a shapely function that shapely 2.1 retires.
    pytest.mark.filterwarnings("ignore:The 'shapely.ops:DeprecationWarning"),
]

SCENE = Path(str(files("rs_embed.data"))) / "patagonia_s2_6band.tif"
GRID = Grid("EPSG:32719", Affine(10, 0, 600000, 0, -10, 4700020), (200, 300))
NAMES = ("B2", "B3", "B4", "B8", "B11", "B12")
X10000 = "reflectance_x10000"


def pixels(*bands: int) -> np.ndarray:
    """Bands of the file, counted from 1, as rasterio reads them."""
    with rasterio.open(SCENE) as source:
        return source.read(list(bands) or None)


def read(obj: xr.DataArray | xr.Dataset, **keywords: Any) -> Raster:
    return unwrap_or_raise(read_xarray(obj, **{"units": X10000, **keywords}))


def values(raster: Raster) -> np.ndarray:
    return raster.load(0, 0, *raster.grid.shape)


def write(path: Path, data: np.ndarray, transform: Affine, **profile: Any) -> Path:
    bands, height, width = data.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=data.dtype,
        crs=profile.pop("crs", "EPSG:32719"), transform=transform, **profile,
    ) as target:  # fmt: skip
        target.write(data)
    return path


class TestRioxarray:
    @pytest.mark.parametrize(
        "keywords",
        [
            {},
            {"masked": True},
            {"mask_and_scale": True},
            {"band_as_variable": True},
            {"chunks": {"y": 64, "x": 50}},
            {"band_as_variable": True, "chunks": {"y": 64, "x": 64}},
        ],
        ids=str,
    )
    def test_every_way_to_open_gives_the_pixels_of_the_file(self, keywords):
        with rioxarray.open_rasterio(SCENE, **keywords) as opened:
            raster = read(opened)
            assert raster.grid == GRID
            assert raster.bands == NAMES
            assert raster.intervals == ()
            assert raster.notes == {}
            loaded = values(raster)
        assert loaded.dtype == np.float32
        assert np.array_equal(loaded[0], pixels())

    def test_one_variable_of_a_dataset_has_the_name_in_its_long_name(self):
        with rioxarray.open_rasterio(SCENE, band_as_variable=True) as opened:
            assert read(opened["band_4"]).bands == ("B8",)

    def test_a_dataset_that_holds_one_array_with_bands(self):
        with xr.open_dataset(SCENE, engine="rasterio") as opened:
            raster = read(opened)
            assert raster.bands == NAMES
            assert np.array_equal(values(raster)[0], pixels())

    def test_nodata_becomes_nan(self, tmp_path):
        data = pixels(1)
        data[0, 3, 5] = 0
        path = write(tmp_path / "a.tif", data, GRID.transform, nodata=0)
        for keywords in ({}, {"masked": True}, {"chunks": {"y": 64, "x": 64}}):
            with rioxarray.open_rasterio(path, **keywords) as opened:
                loaded = values(read(opened, bands=["B2"]))
            assert np.argwhere(np.isnan(loaded)).tolist() == [[0, 0, 3, 5]]

    def test_scale_and_offset_of_integers_are_applied(self, tmp_path):
        path = write(tmp_path / "a.tif", pixels(1), GRID.transform)
        with rasterio.open(path, "r+") as target:
            target.scales, target.offsets = (1e-4,), (-0.1,)
        expected = (pixels(1).astype(np.float64) * 1e-4 - 0.1).astype(np.float32)
        # The library's own scaling subtracts in float32, which leaves the rounding of 0.1.
        for keywords, rounding in (({}, 0), ({"mask_and_scale": True}, 1e-8)):
            with rioxarray.open_rasterio(path, **keywords) as opened:
                loaded = values(read(opened, bands=["B2"], units="reflectance"))
            np.testing.assert_allclose(loaded[0], expected, rtol=1e-6, atol=rounding)

    def test_rows_from_south_to_north_are_turned(self, tmp_path):
        t = GRID.transform
        upward = Affine(t.a, 0, t.c, 0, -t.e, t.f + t.e * GRID.height)
        path = write(tmp_path / "a.tif", pixels(1, 2)[:, ::-1], upward)
        for keywords in ({}, {"chunks": {"y": 48, "x": 48}}):
            with rioxarray.open_rasterio(path, **keywords) as opened:
                assert float(opened.y[0]) < float(opened.y[-1])
                raster = read(opened, bands=["B2", "B3"])
                assert raster.grid == GRID
                assert raster.notes == {"south_up": True}
                assert np.array_equal(values(raster)[0], pixels(1, 2))
                assert np.array_equal(raster.load(7, 9, 5, 4)[0], pixels(1, 2)[:, 7:12, 9:13])

    def test_a_cut_keeps_to_the_lattice(self):
        with rioxarray.open_rasterio(SCENE) as opened:
            raster = read(opened.isel(y=slice(20, 60), x=slice(7, 9)))
            assert raster.grid == GRID.window(20, 7, 40, 2)
            assert np.array_equal(values(raster)[0], pixels()[:, 20:60, 7:9])

    def test_a_coarsened_array_is_where_its_coordinates_are(self):
        with rioxarray.open_rasterio(SCENE) as opened:
            coarse = opened.coarsen(y=4, x=4).mean()
        raster = read(coarse)
        assert raster.grid == GRID.coarsen(4)
        assert "(10, 0, 600000" in raster.notes["transform_ignored"]

    @pytest.mark.filterwarnings("ignore:It is recommended to use 'rio.write_crs:FutureWarning")
    def test_set_crs_keeps_a_crs_outside_of_the_data(self):
        bare = xr.DataArray(
            pixels(1).astype("float32"),
            dims=("band", "y", "x"),
            coords={"band": ["B2"], "y": GRID.y(), "x": GRID.x()},
        )
        assert read(bare.rio.set_crs("EPSG:32719")).grid == GRID


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[pystac.Item]:
    """Two dates of three bands as COGs; the second is 7 above the first and has one hole."""
    folder = tmp_path_factory.mktemp("stac")
    return [_item(folder, i, day) for i, day in enumerate(("2022-01-05", "2022-01-10"))]


def _item(folder: Path, index: int, day: str) -> pystac.Item:
    ring = [[-67.67, -47.86], [-67.62, -47.86], [-67.62, -47.83], [-67.67, -47.83]]
    item = pystac.Item(
        f"item{index}",
        geometry={"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
        bbox=[-67.67, -47.86, -67.62, -47.83],
        datetime=dt.datetime.fromisoformat(f"{day}T14:27:31+00:00"),
        properties={"proj:code": "EPSG:32719", "proj:epsg": 32719},
        stac_extensions=[
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
    )
    for name, band in (("blue", 1), ("red", 3), ("nir", 4)):
        data = pixels(band) + np.uint16(7 * index)
        if index:
            data[0, 11, 13] = 0
        path = folder / f"{index}_{name}.tif"
        with rasterio.open(
            path, "w", driver="COG", count=1, height=200, width=300, dtype="uint16", nodata=0,
            crs=GRID.crs, transform=GRID.transform,
        ) as target:  # fmt: skip
            target.write(data)
        extra = {
            "proj:shape": [200, 300],
            "proj:transform": [10, 0, 600000, 0, -10, 4700020, 0, 0, 1],
            "raster:bands": [{"nodata": 0, "data_type": "uint16"}],
        }
        asset = pystac.Asset(str(path), media_type=pystac.MediaType.COG, extra_fields=extra)
        item.add_asset(name, asset)
    return item


def expected_series() -> np.ndarray:
    first = pixels(1, 3, 4).astype(np.float32)
    second = first + 7
    second[:, 11, 13] = np.nan
    return np.stack([first, second])


FRAMES = (("2022-01-05", "2022-01-06"), ("2022-01-10", "2022-01-11"))


class TestOdcStac:
    @pytest.mark.parametrize("chunks", [None, {"y": 64, "x": 64}], ids=["eager", "dask"])
    def test_load(self, items, chunks):
        ds = odc.stac.load(
            items, bands=["blue", "red", "nir"], crs="EPSG:32719", resolution=10, chunks=chunks
        )
        raster = read(ds)
        assert raster.grid == GRID
        assert raster.bands == ("blue", "red", "nir")
        assert raster.intervals == FRAMES
        assert raster.notes == {}
        assert np.array_equal(values(raster), expected_series(), equal_nan=True)

    def test_bottom_up_geobox_and_median(self, items):
        from odc.geo.geobox import GeoBox

        upward = Affine(10, 0, 600000, 0, 10, 4698020)
        box = GeoBox((200, 300), upward, "EPSG:32719")
        ds = odc.stac.load(items, bands=["blue"], geobox=box)
        raster = read(ds.median("time"))
        assert raster.grid == GRID
        assert raster.notes["south_up"] is True
        np.testing.assert_array_equal(values(raster)[0, 0, 0], pixels(1)[0, 0] + 3.5)


class TestStackstac:
    def test_top_left_coordinates(self, items):
        da = stackstac.stack(items, assets=["blue", "red", "nir"], epsg=32719, resolution=10)
        assert float(da.x[0]) == 600000  # the corner, not the centre
        raster = read(da)
        assert raster.grid == GRID
        assert raster.bands == ("blue", "red", "nir")
        assert raster.intervals == FRAMES
        assert raster.notes == {"coordinates": "corners"}
        assert np.array_equal(values(raster), expected_series(), equal_nan=True)

    def test_centre_coordinates(self, items):
        da = stackstac.stack(items, assets=["blue"], epsg=32719, resolution=10, xy_coords="center")
        raster = read(da)
        assert raster.grid == GRID
        assert "coordinates" not in raster.notes

    def test_a_cut_of_it(self, items):
        da = stackstac.stack(items, assets=["blue"], epsg=32719, resolution=10)
        raster = read(da.isel(time=0, y=slice(30, 50), x=slice(40, 41)))
        assert raster.grid == GRID.window(30, 40, 20, 1)
        assert raster.intervals == FRAMES[:1]
        assert np.array_equal(values(raster)[0, 0], pixels(1)[0, 30:50, 40:41])

    def test_cells_of_several_pixels(self, items):
        da = stackstac.stack(items, assets=["blue"], epsg=32719, resolution=10)
        raster = read(da.coarsen(y=4, x=4).mean())
        assert raster.grid == GRID.coarsen(4)
        assert raster.notes == {"coordinates": "corners"}


class TestCubo:
    """cubo takes the transform off stackstac's arrays and writes attributes of its own."""

    @staticmethod
    def cube(items: list[pystac.Item], **stack: Any) -> xr.DataArray:
        da = stackstac.stack(
            items, assets=["blue", "red", "nir"], epsg=32719, resolution=10, **stack
        )
        da.attrs = {
            "collection": "sentinel-2-l2a", "stac": "https://example.com/v1", "epsg": 32719,
            "resolution": 10, "edge_size": 300, "central_lat": -47.845, "central_lon": -67.645,
            "time_coverage_start": "2022-01-01", "time_coverage_end": "2022-02-01",
        }  # fmt: skip
        da.name = "sentinel-2-l2a"
        return da.drop_vars(["epsg", "proj:code", "proj:epsg", "proj:transform"])

    def test_top_left_coordinates(self, items):
        raster = read(self.cube(items))
        assert raster.grid == GRID
        assert raster.bands == ("blue", "red", "nir")
        assert raster.notes == {"coordinates": "corners"}
        assert np.array_equal(values(raster), expected_series(), equal_nan=True)

    def test_centre_coordinates(self, items):
        assert read(self.cube(items, xy_coords="center")).grid == GRID


@pytest.fixture(scope="module")
def earth_engine() -> Iterator[Any]:
    import ee

    from tests.earth_engine import connected, serve, tif_scene

    scenes = [
        tif_scene(
            "COPERNICUS/S2_SR_HARMONIZED", f"scene{i}", f"2022-01-{day}T14:27:31", SCENE,
            names=NAMES,
        )
        for i, day in enumerate(("05", "10"))
    ]  # fmt: skip
    with serve(scenes) as server, connected(server):
        yield ee


class TestXee:
    @pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
    def test_open_dataset(self, earth_engine, chunks):
        collection = earth_engine.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
        with xr.open_dataset(
            collection.select(["B2", "B8"]), engine="ee", crs="EPSG:32719", chunks=chunks,
            crs_transform=(10, 0, 600100, 0, -10, 4699920), shape_2d=(40, 30),
        ) as ds:  # fmt: skip
            assert "spatial_ref" not in ds.coords
            raster = read(ds)
            assert raster.grid == GRID.window(10, 10, 30, 40)
            assert raster.bands == ("B2", "B8")
            assert raster.intervals == FRAMES
            assert raster.notes == {}
            # Its encoding calls the pixel size "scale_factor": 10 here, and not to be applied.
            expected = pixels(1, 4)[:, 10:40, 10:50]
            assert np.array_equal(values(raster), np.stack([expected, expected]))
            assert np.array_equal(raster.load(3, 4, 5, 6)[0], expected[:, 3:8, 4:10])

    def test_float_values_have_no_assumed_units(self, earth_engine):
        collection = earth_engine.ImageCollection("COPERNICUS/S2_SR_HARMONIZED")
        with xr.open_dataset(
            collection.select(["B2"]), engine="ee", crs="EPSG:32719",
            crs_transform=(10, 0, 600100, 0, -10, 4699920), shape_2d=(4, 3),
        ) as ds:  # fmt: skip
            error = read_xarray(ds).failure()
        assert "units='reflectance'" in str(error)


def masked_file(path, kind: str):
    """A file of whose 8 rows the first 4 are marked as missing; how is ``kind``."""
    values = np.arange(1, 129, dtype="uint16").reshape(2, 8, 8)
    valid = np.full((8, 8), 255, "uint8")
    valid[:4] = 0
    keys = {
        "driver": "GTiff", "height": 8, "width": 8, "count": 2, "dtype": "uint16",
        "crs": "EPSG:32719", "transform": Affine(10, 0, 600000, 0, -10, 4700020),
    }  # fmt: skip
    if kind == "nodata":
        values[:, :4] = 0
        keys["nodata"] = 0
    names = ["B2", "B4"]
    if kind == "alpha":  # the last of four bands, as beside three colours
        values = np.concatenate([values, values[:1], valid[None].astype("uint16") * 257])
        keys |= {"count": 4, "photometric": "RGB", "alpha": "YES"}
        names += ["B3", ""]
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"),
        rasterio.open(path, "w", **keys) as file,
    ):
        file.write(values)
        file.descriptions = names
        if kind in ("internal", "external"):
            file.write_mask(valid)
    if kind == "by band":
        return _vrt_by_band(path)
    return path


def _vrt_by_band(path):
    """A VRT over a file whose bands have a nodata value of their own each."""
    with rasterio.open(path) as file:
        place = ", ".join(f"{v:g}" for v in file.transform.to_gdal())
        wkt = file.crs.to_wkt().replace('"', "&quot;")
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{i}"><Description>{name}</Description>'
        f"<NoDataValue>{nodata}</NoDataValue><SimpleSource>"
        f"<SourceFilename>{path}</SourceFilename><SourceBand>{i}</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
        for i, name, nodata in ((1, "B2", 5), (2, "B4", 70))
    )
    vrt = path.with_suffix(".vrt")
    vrt.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>{wkt}</SRS>'
        f"<GeoTransform>{place}</GeoTransform>{bands}</VRTDataset>"
    )
    return vrt


class TestMasksOfFiles:
    @pytest.mark.parametrize("kind", ["nodata", "internal", "external", "alpha"])
    def test_what_a_file_marks_is_missing(self, tmp_path, kind):
        path = masked_file(tmp_path / "scene.tif", kind)
        raster = unwrap_or_raise(unwrap_or_raise(open_source(path)).read("reflectance_x10000"))
        assert raster.bands == ("B2", "B4", "B3")[: 3 if kind == "alpha" else 2]
        found = raster.load(0, 0, 8, 8)[0]
        assert np.isnan(found[:, :4]).all()
        assert np.array_equal(found[:2, 4:], np.arange(1, 129).reshape(2, 8, 8)[:, 4:])

    def test_a_nodata_value_of_each_band(self, tmp_path):
        path = masked_file(tmp_path / "scene.tif", "by band")
        raster = unwrap_or_raise(unwrap_or_raise(open_source(path)).read("reflectance_x10000"))
        found = raster.load(0, 0, 8, 8)[0]
        assert np.argwhere(np.isnan(found)).tolist() == [[0, 0, 4], [1, 0, 5]]

    @pytest.mark.parametrize("kind", ["internal", "external", "alpha", "by band"])
    def test_an_array_whose_mask_was_not_read_is_refused(self, tmp_path, kind):
        path = masked_file(tmp_path / "scene.tif", kind)
        bare = rioxarray.open_rasterio(path)
        outcome = read_xarray(bare.isel(x=slice(0, 4)), units="reflectance_x10000")
        assert "masked=True" in str(outcome.failure())
        if kind != "alpha":
            masked = rioxarray.open_rasterio(path, masked=True)
            whole = unwrap_or_raise(read_xarray(masked, units="reflectance_x10000"))
            assert np.isnan(whole.load(0, 0, 8, 8)).any()

    def test_a_file_with_a_nodata_value_needs_no_mask(self, tmp_path):
        path = masked_file(tmp_path / "scene.tif", "nodata")
        bare = rioxarray.open_rasterio(path)
        found = unwrap_or_raise(read_xarray(bare, units="reflectance_x10000"))
        assert np.isnan(found.load(0, 0, 8, 8)[0, :, :4]).all()


class TestEveryThirdPixel:
    """Cells of several pixels, by a stride or a mean, lie where their coordinates say."""

    @staticmethod
    def lattice(step_x, step_y, first_x, first_y, shape):
        """Cells of these steps about the middles ``first_x``, ``first_y``."""
        left, top = first_x - step_x / 2, first_y + step_y / 2
        return Grid(GRID.crs, Affine(step_x, 0, left, 0, -step_y, top), shape)

    @pytest.mark.parametrize(("y", "x"), [(1, 2), (2, 1), (2, 2), (3, 3), (1, 3), (4, 2)])
    @pytest.mark.parametrize("first", [0, 1])
    def test_of_a_file(self, y, x, first):
        with rioxarray.open_rasterio(SCENE) as opened:
            raster = read(opened[:, first::y, first::x])
        rows, cols = len(range(first, 200, y)), len(range(first, 300, x))
        wanted = self.lattice(10 * x, 10 * y, GRID.x()[first], GRID.y()[first], (rows, cols))
        assert raster.grid == wanted
        assert "coordinates" not in raster.notes
        np.testing.assert_array_equal(values(raster)[0], pixels()[:, first::y, first::x])

    @pytest.mark.parametrize(("y", "x"), [(1, 2), (2, 1), (3, 3), (1, 3)])
    def test_of_corners(self, items, y, x):
        da = stackstac.stack(items, assets=["blue"], epsg=32719, resolution=10)
        raster = read(da[..., ::y, ::x])
        rows, cols = len(range(0, 200, y)), len(range(0, 300, x))
        wanted = self.lattice(10 * x, 10 * y, GRID.x()[0], GRID.y()[0], (rows, cols))
        assert raster.grid == wanted
        assert raster.notes == {"coordinates": "corners"}

    def test_of_what_may_be_either(self, items):
        da = stackstac.stack(items, assets=["blue"], epsg=32719, resolution=10)
        text = re.escape("da.assign_coords(x=da.x + 5, y=da.y - 5)")
        assert re.search(text, str(read_xarray(da[..., ::2, ::2]).failure()))
        mended = da[..., ::2, ::2]
        mended = mended.assign_coords(x=mended.x + 5, y=mended.y - 5)
        mended.attrs.pop("transform")
        assert read(mended).grid == self.lattice(20, 20, GRID.x()[0], GRID.y()[0], (100, 150))
