"""Scenes for the tests of the provider: the standard ones, and what those lack."""

from __future__ import annotations

import numpy as np

from tests.earth_engine import Scene, array_scene, real, standard

SIDE = 64
CORNER = (549960.0, 4540020.0)
S2 = "COPERNICUS/S2_SR_HARMONIZED"


def ramp(start: float, dtype: str = "uint16", step: float = 1) -> np.ndarray:
    """``start + step * (64 row + column)``: every pixel has a value of its own."""
    return (start + step * np.arange(SIDE * SIDE).reshape(SIDE, SIDE)).astype(dtype)


def _layers(collection: str, bands: dict[str, np.ndarray], **more: object) -> Scene:
    settings: dict[str, object] = {"corner": CORNER, "pixel": 10.0, **more}
    return array_scene(collection, "one", "2022-06-01", bands, **settings)  # type: ignore[arg-type]


_RADAR = {"VV": -10, "VH": -17}


def _power(decibel: float) -> np.ndarray:
    return np.full((SIDE, SIDE), 10 ** (decibel / 10))


def _missing() -> list[Scene]:
    """One scene of each row that the standard catalogue does not serve."""
    radar = {
        "instrumentMode": "IW",
        "transmitterReceiverPolarisation": ["VV", "VH"],
        "orbitProperties_pass": "ASCENDING",
        "resolution_meters": 10,
    }
    tm = {f"SR_B{i}": np.full((SIDE, SIDE), 10000 + 100 * i, "uint16") for i in (1, 2, 3, 4, 5, 7)}
    tm["ST_B6"] = np.full((SIDE, SIDE), 44000, "uint16")
    clear = {"CLOUD_COVER": 3.0}
    unknown = np.full((SIDE, SIDE), 65535, "uint16")
    return [
        _layers(
            "COPERNICUS/S1_GRD_FLOAT",
            {name: _power(level) for name, level in _RADAR.items()},
            properties=radar,
        ),
        # And where every model is run, wide enough for a window.
        array_scene(
            "COPERNICUS/S1_GRD_FLOAT", "two", "2022-06-01",
            {name: np.full((900, 900), 10 ** (level / 10)) for name, level in _RADAR.items()},
            corner=(546960.0, 4499040.0), pixel=10.0, properties=radar,
        ),
        _layers("LANDSAT/LE07/C02/T1_L2", tm, pixel=30.0, properties=clear),
        # Its cloud cover was not computed: not a clear scene.
        array_scene(
            "LANDSAT/LE07/C02/T1_L2", "two", "2022-06-09", dict.fromkeys(tm, unknown),
            corner=CORNER, pixel=30.0, properties={"CLOUD_COVER": -1.0},
        ),
        _layers("LANDSAT/LT05/C02/T1_L2", tm, pixel=30.0, properties=clear),
        _layers("COPERNICUS/S2_CLOUD_PROBABILITY", {"probability": ramp(7, "uint8", 0)}),
        _layers(
            "IDAHO_EPSCOR/TERRACLIMATE",
            {"def": ramp(657, step=0), "soil": ramp(692, step=0), "aet": ramp(562, step=0)},
            pixel=4638.3,
            corner=(500000.0, 4600000.0),
        ),
        _layers(
            "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG",
            {"avg_rad": ramp(1.5, "float32", 0)},
            pixel=463.83,
            corner=(540000.0, 4550000.0),
        ),
    ]  # fmt: skip


def _unknown() -> list[Scene]:
    """Assets that no table lists: a collection, and an image by itself."""
    return [
        _layers("users/someone/drone", {"red": ramp(0, "float32"), "nir": ramp(9000, "float32")}),
        _layers("users/someone", {"height": ramp(100, "int16")}),
    ]


def _zones() -> list[Scene]:
    """Annual embeddings of 31N (along A00) and 32N (A01) over the same ground at 6 E, 41 N."""
    made = []
    zero, one = np.zeros((1000, 1000)), np.ones((1000, 1000))
    for zone, axis, left in (("32N", 1, 245000.0), ("31N", 0, 750000.0)):
        bands = {f"A{k:02d}": one if k == axis else zero for k in range(64)}
        made.append(
            array_scene(
                "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", f"{zone}_2020", "2020-01-01", bands,
                crs=f"EPSG:326{zone[:2]}", corner=(left, 4546000.0),
                properties={"UTM_ZONE": zone},
            )
        )  # fmt: skip
    return made


def _native() -> list[Scene]:
    """Sentinel-2 pixels of random values in both hemispheres and at the antimeridian."""
    random = np.random.default_rng(5)
    places = [
        ("EPSG:32631", (549960.0, 4540020.0), "N"),
        ("EPSG:32719", (549960.0, 6240040.0), "S"),
        ("EPSG:32701", (165960.0, 8000040.0), "A"),
        ("EPSG:32660", (830040.0, 1000020.0), "B"),
    ]
    bands = ("B2", "B3", "B4")
    return [
        array_scene(
            S2, f"random{name}", "2023-01-05T10:00:00",
            {band: random.integers(1, 10000, (SIDE, SIDE)).astype("uint16") for band in bands},
            crs=crs, corner=corner, properties={"CLOUDY_PIXEL_PERCENTAGE": 0.0},
        )
        for crs, corner, name in places
    ]  # fmt: skip


def scenes() -> list[Scene]:
    """Everything that the tests of the provider ask for."""
    return [*standard(), *real(), *_missing(), *_unknown(), *_zones(), *_native()]
