"""The scenes every server starts with: generated ones known by hand, and real ones.

`PLACES` says where they are. In the generated Sentinel-2 scenes the value of a band is
``level + 10 * position``, its position counted in `S2_BANDS`, so that B4 of a level-2000 scene
is 2030 and a composite that swaps bands is seen at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .geometry import SINUSOIDAL
from .scenes import (
    Block,
    Checkerboard,
    Constant,
    Layer,
    Pattern,
    Ramp,
    Scene,
    Stripes,
    Values,
    tif_scene,
)

PLACES: dict[str, tuple[float, float]] = {
    "main": (3.6, 41.0),  # the tile of all collections, zone 31N
    "between_zones": (6.0, 41.2),  # 31N (level 1000) and 32N (level 2000) overlap
    "south": (-68.5, -33.9),  # 19S
    "antimeridian_west": (179.999, 0.5),  # 60N, level 1000
    "antimeridian_east": (-179.999, 0.5),  # 1N, level 2000
    "arctic": (0.0, 85.0),  # UPS north
    "north_pole": (0.0, 90.0),
    "antarctic": (0.0, -85.0),  # UPS south
}
"""Name -> (lon, lat) well inside a scene."""

S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12", "B10")
"""The order that positions are counted in; B10 exists in level 1C only."""

_S2_PIXEL = dict.fromkeys(S2_BANDS, 20.0) | dict.fromkeys(("B2", "B3", "B4", "B8"), 10.0)
_S2_PIXEL |= dict.fromkeys(("B1", "B9", "B10"), 60.0)

S2_SIZE = 109800.0
MAIN_CORNER = (499980.0, 4600020.0)
CLOUD_BLOCK = ((0, 2000), (0, 2000))
"""Rows and columns, in 20 m pixels, of the cloud of 2022-06-11: the tile's upper-left 40 km."""


def s2_layers(
    pattern: Mapping[str, Pattern] | float,
    scl: Pattern | None,
    *,
    bands: Sequence[str] = S2_BANDS[:-1],
    valid: Values | None = None,
) -> tuple[Layer, ...]:
    """Sentinel-2 bands at their native pixel sizes, from a level or a pattern per band."""
    layers = [
        Layer(
            name,
            pattern[name] if isinstance(pattern, Mapping) else Constant(pattern + 10 * position),
            "uint16",
            _S2_PIXEL[name],
            valid,
        )
        for position, name in enumerate(S2_BANDS)
        if name in bands
    ]
    if scl is not None:
        layers.append(Layer("SCL", scl, "uint8", 20.0, valid, "mode"))
    layers.append(Layer("QA60", Constant(0), "uint16", 60.0, valid, "sample"))
    return tuple(layers)


def s2_scene(
    date: str,
    tile: str,
    crs: str,
    corner: tuple[float, float],
    pattern: Mapping[str, Pattern] | float,
    *,
    scl: Pattern | None = None,
    cloudy_pct: float = 0.0,
    valid: Values | None = None,
) -> Scene:
    """A whole Sentinel-2 level 2A tile; `date` is a day (then 10:56:31) or a date-time."""
    moment = date if "T" in date else f"{date}T10:56:31"
    stamp = moment.replace("-", "").replace(":", "")
    layers = s2_layers(pattern, scl or Constant(4), valid=valid)
    properties = {"CLOUDY_PIXEL_PERCENTAGE": cloudy_pct, "MGRS_TILE": tile}
    index = f"{stamp}_{stamp}_T{tile}"
    return Scene(
        "COPERNICUS/S2_SR_HARMONIZED", index, moment, crs, *corner, S2_SIZE, S2_SIZE, layers,
        properties, moment,
    )  # fmt: skip


def _main_tile() -> list[Scene]:
    def scene(date: str, pattern: Mapping[str, Pattern] | float, **more: object) -> Scene:
        return s2_scene(date, "31TEF", "EPSG:32631", MAIN_CORNER, pattern, **more)  # type: ignore[arg-type]

    ramps = {name: Ramp(10.0 * i, 1.0, 1.0, 10000.0) for i, name in enumerate(S2_BANDS)}
    boards = {name: Checkerboard(1000, 3000, 1) for name in S2_BANDS}
    cloud = Block(4, 9, *CLOUD_BLOCK)
    return [
        scene("2022-06-01", 1000),
        scene("2022-06-11", 2000, scl=cloud, cloudy_pct=13.0),
        scene("2022-06-16", 9000, scl=Constant(9), cloudy_pct=80.0),
        scene("2022-06-21", 3000, cloudy_pct=5.0),
        scene("2022-07-01T00:00:00", 4000),
        scene("2022-08-05", ramps),
        scene("2022-09-01", 1000),
        scene("2022-09-11", 2000),
        scene("2022-10-01", 1500, valid=Stripes(4, 1)),
        scene("2022-11-01", boards),
    ]


def _other_tiles() -> Iterator[Scene]:
    tiles = [
        ("31TGF", "EPSG:32631", (699960.0, 4600020.0), 1000),
        ("32TKL", "EPSG:32632", (199980.0, 4600020.0), 2000),
        ("60NZF", "EPSG:32660", (799980.0, 100020.0), 1000),
        ("01NAA", "EPSG:32601", (99960.0, 100020.0), 2000),
        ("UPSN", "EPSG:32661", (1945080.0, 1499940.0), 1000),
        ("POLE", "EPSG:32661", (1945080.0, 2054940.0), 2000),
        ("UPSS", "EPSG:32761", (1945080.0, 2609940.0), 1000),
    ]
    for tile, crs, corner, level in tiles:
        yield s2_scene("2022-06-01", tile, crs, corner, level)
    for day, level in ((1, 1000), (11, 2000), (21, 3000)):
        yield s2_scene(f"2022-06-{day:02d}", "19HEC", "EPSG:32719", (499980.0, 6300040.0), level)


def _sentinel2_relatives(scenes: Sequence[Scene]) -> Iterator[Scene]:
    """Level 1C, cloud scores and Dynamic World of the main tile's June, by the same index."""
    classes = [
        "water",
        "trees",
        "grass",
        "flooded_vegetation",
        "crops",
        "shrub_and_scrub",
        "built",
        "bare",
        "snow_and_ice",
    ]
    for scene in scenes:
        if not scene.start.startswith("2022-06"):
            continue
        first = scene.layers[0].values
        level = first.value if isinstance(first, Constant) else 0.0
        yield replace(
            scene,
            collection="COPERNICUS/S2_HARMONIZED",
            layers=s2_layers(level + 100, None, bands=S2_BANDS),
        )
        clear = 0.1 if scene.properties["CLOUDY_PIXEL_PERCENTAGE"] == 80.0 else 0.9
        scores = (
            Layer("cs", Constant(clear), "float64"),
            Layer("cs_cdf", Constant(clear), "float64"),
        )
        yield replace(
            scene,
            collection="GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
            layers=scores,
            properties={},
        )
        if clear < 0.5:
            continue
        shares = {name: 0.6 if name == "built" else 0.05 for name in classes}
        world = tuple(Layer(name, Constant(v), "float64") for name, v in shares.items())
        label = Layer("label", Constant(6), "uint8", pyramid="mode")
        yield replace(
            scene, collection="GOOGLE/DYNAMICWORLD/V1", layers=(*world, label), properties={}
        )


def _sentinel1() -> Iterator[Scene]:
    passes = [
        ("2022-06-03", "DESCENDING", "IW", {"VV": -10.0, "VH": -17.0}, 10),
        ("2022-06-15", "DESCENDING", "IW", {"VV": -12.0, "VH": -19.0}, 10),
        ("2022-06-05", "ASCENDING", "IW", {"VV": -8.0, "VH": -15.0}, 10),
        ("2022-06-07", "DESCENDING", "EW", {"HH": -14.0, "HV": -22.0}, 40),
    ]
    for date, direction, mode, values, metres in passes:
        layers = [Layer(n, Constant(v), "float64", float(metres)) for n, v in values.items()]
        layers.append(Layer("angle", Constant(38.5), "float32", 18300.0))
        properties = {
            "instrumentMode": mode,
            "transmitterReceiverPolarisation": list(values),
            "orbitProperties_pass": direction,
            "relativeOrbitNumber_start": 110,
            "resolution_meters": metres,
        }
        moment = f"{date}T06:05:00"
        index = f"S1A_{mode}_GRDH_1SDV_{moment.replace('-', '').replace(':', '')}"
        yield Scene(
            "COPERNICUS/S1_GRD", index, moment, "EPSG:32631", *MAIN_CORNER, S2_SIZE, S2_SIZE,
            tuple(layers), properties, moment,
        )  # fmt: skip


def _harmonised() -> Iterator[Scene]:
    """HLS over the main tile: reflectance 0.1 and 0.2, a cloud in the second S30 scene."""
    s30 = [*S2_BANDS[:10], "B10", "B11", "B12"]
    l30 = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"]
    cloud = Block(64, 66, (0, 1000), (0, 1000))
    made = [
        ("NASA/HLS/HLSS30/v002", "T31TEF_20220602T105631", "2022-06-02", s30, 0.1, Constant(64)),
        ("NASA/HLS/HLSS30/v002", "T31TEF_20220612T105631", "2022-06-12", s30, 0.2, cloud),
        ("NASA/HLS/HLSL30/v002", "T31TEF_20220604T103000", "2022-06-04", l30, 0.3, Constant(64)),
    ]
    for collection, index, date, bands, level, fmask in made:
        layers = [
            Layer(name, Constant(round(level + 0.001 * i, 6)), "float32", 30.0)
            for i, name in enumerate(bands)
        ]
        layers.append(Layer("Fmask", fmask, "uint8", 30.0, pyramid="sample"))
        yield Scene(
            collection, index, f"{date}T10:30:00", "EPSG:32631", *MAIN_CORNER, S2_SIZE, S2_SIZE,
            tuple(layers), {"CLOUD_COVERAGE": 8.0 if fmask is cloud else 0.0},
        )  # fmt: skip


def _landsat() -> Iterator[Scene]:
    """DN 10000 + 100 per band; corners on odd multiples of 15 m."""
    for collection, index, date in (
        ("LANDSAT/LC08/C02/T1_L2", "LC08_197031_20220608", "2022-06-08"),
        ("LANDSAT/LC09/C02/T1_L2", "LC09_197031_20220616", "2022-06-16"),
    ):
        layers = [Layer(f"SR_B{i}", Constant(10000 + 100 * i), "uint16", 30.0) for i in range(1, 8)]
        layers += [
            Layer("ST_B10", Constant(44000), "uint16", 30.0),
            Layer(
                "QA_PIXEL", Block(21824, 22280, (0, 500), (0, 500)), "uint16", 30.0, None, "sample"
            ),
            Layer("QA_RADSAT", Constant(0), "uint16", 30.0, None, "sample"),
        ]
        yield Scene(
            collection, index, f"{date}T10:30:00", "EPSG:32631", 450015.0, 4650015.0, 228000.0,
            231000.0, tuple(layers), {"CLOUD_COVER": 3.0, "CLOUD_COVER_LAND": 2.0},
        )  # fmt: skip


MODIS_TILE = 1111950.519667
MODIS_PIXEL = MODIS_TILE / 2400


def _modis() -> Iterator[Scene]:
    """Tile h18v04 of the sinusoidal grid, two days."""
    corner = (0.0, 5 * MODIS_TILE)
    for day, level in ((5, 1000), (6, 2000)):
        start = f"2022-06-{day:02d}"
        index = start.replace("-", "_")
        bands = [
            Layer(f"sur_refl_b{i:02d}", Constant(level + 10 * i), "int16", MODIS_PIXEL)
            for i in range(1, 8)
        ]
        coarse = 2 * MODIS_PIXEL
        bands += [
            Layer("state_1km", Constant(0), "uint16", coarse, None, "sample"),
            Layer("SolarZenith", Constant(2500), "int16", coarse),
        ]
        heat = [Layer("LST_1KM", Constant(290.0 + day), "float64", coarse)]
        heat += [Layer(f"Emis_{n}", Constant(0.98), "float64", coarse) for n in (29, 31, 32)]
        heat.append(Layer("QC", Constant(0), "uint16", coarse, None, "sample"))
        for collection, layers in (("MODIS/061/MOD09GA", bands), ("MODIS/061/MOD21A1D", heat)):
            yield Scene(
                collection, index, start, SINUSOIDAL, *corner, MODIS_TILE, MODIS_TILE, tuple(layers)
            )


def _elevation() -> Iterator[Scene]:
    """Four one-degree tiles around the main place; elevation is 100 m + the row."""
    for west in (3, 4):
        for south in (40, 41):
            layers = [Layer("DEM", Ramp(100.0, 1.0, 0.0), "float32", 1 / 3600)]
            layers += [
                Layer(name, Constant(0), "uint8", 1 / 3600, None, "sample")
                for name in ("EDM", "FLM", "HEM", "WBM")
            ]
            yield Scene(
                "COPERNICUS/DEM/GLO30_2024_1", f"N{south}_00_E{west:03d}_00", "2010-12-01",
                "EPSG:4326", float(west), float(south + 1), 1.0, 1.0, tuple(layers),
            )  # fmt: skip


def _climate() -> Iterator[Scene]:
    """ERA5-Land, every month of 2022: 280 K + month, sea (masked) from 60 W to 20 W."""
    sea = Block(1, 0, (0, 1801), (1200, 1600))
    for month in range(1, 13):
        values = {
            "temperature_2m": 280.0 + month,
            "dewpoint_temperature_2m": 270.0 + month,
            "total_precipitation_sum": 0.01 * month,
            "surface_pressure": 100000.0,
        }
        layers = tuple(Layer(n, Constant(v), "float64", 0.1, sea) for n, v in values.items())
        yield Scene(
            "ECMWF/ERA5_LAND/MONTHLY_AGGR", f"2022{month:02d}", f"2022-{month:02d}-01",
            "EPSG:4326", -180.05, 90.05, 360.1, 180.1, layers, {"month": month, "year": 2022},
        )  # fmt: skip


def _embeddings() -> Iterator[Scene]:
    """AlphaEarth tiles: 64 values of +-1/8, hence unit vectors, whose signs tell the place."""
    side = 163840.0
    for year, sign in ((2022, 1), (2023, -1)):
        for zone, corner in (("31N", (3 * side, 28 * side)), ("32N", (side, 28 * side))):
            layers = tuple(
                Layer(f"A{k:02d}", Checkerboard(sign / 8, -sign / 8, k + 1), "float64")
                for k in range(64)
            )
            yield Scene(
                "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", f"{zone}_{year}", f"{year}-01-01",
                f"EPSG:326{zone[:2]}", *corner, side, side, layers, {"UTM_ZONE": zone},
                f"{year + 1}-01-01",
            )  # fmt: skip


def standard() -> list[Scene]:
    """All generated scenes."""
    main = _main_tile()
    return [
        *main,
        *_other_tiles(),
        *_sentinel2_relatives(main),
        *_sentinel1(),
        *_harmonised(),
        *_landsat(),
        *_modis(),
        *_elevation(),
        *_climate(),
        *_embeddings(),
    ]


def real() -> list[Scene]:
    """Real scenes from the shared folder beside the checkout, or from the package's sample.

    The date of the Patagonia scene is not known; 2020-01-15 stands in for it.
    """
    root = Path(__file__).resolve().parents[2]
    shared = root.parent / "shared" / "imagery"
    scenes = []
    places = (shared, root / "rs_embed" / "data")
    found = (folder / "patagonia_s2_6band.tif" for folder in places)
    patagonia = next((path for path in found if path.exists()), None)
    if patagonia:
        scenes.append(
            tif_scene(
                "COPERNICUS/S2_SR_HARMONIZED", "20200115T142731_20200115T143730_T19GCM",
                "2020-01-15T14:27:31", patagonia, names=("B2", "B3", "B4", "B8", "B11", "B12"),
                properties={"CLOUDY_PIXEL_PERCENTAGE": 0.0},
            )
        )  # fmt: skip
    if (shared / "spain_20190918_s2_l1c.tif").exists():
        scenes += _spain(shared)
    return scenes


def _spain(folder: Path) -> list[Scene]:
    radar = {
        "instrumentMode": "IW",
        "transmitterReceiverPolarisation": ["VV", "VH"],
        "orbitProperties_pass": "DESCENDING",
        "relativeOrbitNumber_start": 110,
        "resolution_meters": 10,
    }
    return [
        tif_scene(
            "COPERNICUS/S2_HARMONIZED", "20190918T105631_20190918T105631_T30SXG",
            "2019-09-18T10:56:31", folder / "spain_20190918_s2_l1c.tif",
            properties={"CLOUDY_PIXEL_PERCENTAGE": 0.0},
        ),
        tif_scene(
            "COPERNICUS/S1_GRD", "S1A_IW_GRDH_1SDV_20190917T060500",
            "2019-09-17T06:05:00", folder / "spain_20190917_s1_grd.tif",
            names=("VV", "VH"), properties=radar,
        ),
    ]  # fmt: skip
