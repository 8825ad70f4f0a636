"""inspect_gee_patch: a report that can be read, stored and trusted."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from rs_embed import (
    PointBuffer,
    ProviderError,
    SensorSpec,
    SpecError,
    TemporalSpec,
    inspect_gee_patch,
)
from rs_embed.pipeline.inspect import png
from rs_embed.pipeline.quality import check_pixels, quicklook
from tests.earth_engine import Server
from tests.gee.plans import S2

PLACE = PointBuffer(3.6, 41.0, 320)
SUMMER = TemporalSpec.range("2022-06-01", "2022-07-01")
RGB = SensorSpec(S2, ("B4", "B3", "B2"))


def test_the_documented_call(server: Server, tmp_path: Path) -> None:
    found = inspect_gee_patch(
        spatial=PLACE, temporal=SUMMER,
        sensor=SensorSpec(
            collection=S2, bands=("B4", "B3", "B2"), scale_m=10, cloudy_pct=30,
            composite="median", check_input=True, check_save_dir=str(tmp_path / "artifacts"),
        ),
        return_array=False,
    )  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ok"] is True
    report = found["report"]
    assert report["shape"] == [3, 64, 64]
    assert report["dtype"] == "float32"
    assert report["nan_fraction"] == 0
    assert [band["name"] for band in report["bands"]] == ["B4", "B3", "B2"]
    red = report["bands"][0]
    assert (red["min"], red["max"], red["mean"], red["std"]) == (2030, 2030, 2030, 0)
    assert red["percentiles"] == dict.fromkeys(("2", "25", "50", "75", "98"), 2030)
    assert (red["fill_fraction"], red["saturated_fraction"]) == (0, 0)
    assert report["scenes"]["dates"] == ["2022-06-01", "2022-06-11", "2022-06-21"]
    assert found["temporal"] == {"mode": "range", "start": "2022-06-01", "end": "2022-07-01"}
    assert found["backend"] == "gee"
    assert found["sensor"]["bands"] == ["B4", "B3", "B2"]
    assert sorted(found["artifacts"]) == ["B2", "B3", "B4", "rgb"]
    for path in found["artifacts"].values():
        assert Path(path).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert Path(found["artifacts"]["rgb"]).name == "gee_patch_rgb.png"
    assert len(list((tmp_path / "artifacts").iterdir())) == 4


def test_the_array_on_request(server: Server) -> None:
    found = inspect_gee_patch(spatial=PLACE, temporal=SUMMER, sensor=RGB, return_array=True)
    assert found["array_chw"].shape == (3, 64, 64)
    assert np.unique(found["array_chw"][2]).tolist() == [2010]


def test_a_range_of_the_callers(server: Server) -> None:
    def asked(low: float, high: float):
        return inspect_gee_patch(
            spatial=PLACE, temporal=SUMMER, sensor=RGB, value_range=(low, high)
        )

    assert asked(0, 10000)["ok"]
    outside = asked(0, 2025)
    assert not outside["ok"]
    assert outside["report"]["problems"] == ["100% of band B4 lies outside 0..2025 (value_range)"]
    full = asked(0, 2030)
    assert full["report"]["problems"] == ["100% of band B4 is saturated at 2030"]
    assert full["report"]["bands"][0]["saturated_fraction"] == 1


def test_a_bad_patch_is_told_not_raised(server: Server) -> None:
    found = inspect_gee_patch(
        spatial=PLACE, temporal=TemporalSpec.range("2022-06-01", "2022-06-12"),
        sensor=SensorSpec(S2, ("B2",), cloud_mask="cloud_score_plus", cloud_threshold=0.95),
    )  # fmt: skip
    assert not found["ok"]
    assert found["report"]["problems"] == ["band B2 has no valid pixel"]
    assert found["report"]["nan_fraction"] == 1
    assert found["report"]["bands"][0]["min"] is None
    json.dumps(found, allow_nan=False)


def test_nothing_to_report_on_is_raised(server: Server) -> None:
    with pytest.raises(ProviderError, match="filter: dates"):
        inspect_gee_patch(spatial=PLACE, temporal=TemporalSpec.year(2010), sensor=RGB)
    with pytest.raises(SpecError, match="imagery needs a temporal"):
        inspect_gee_patch(spatial=PLACE, sensor=RGB)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden"])
def test_a_name_never_leaves_the_folder(server: Server, name: str) -> None:
    with pytest.raises(SpecError, match="name becomes a file name"):
        inspect_gee_patch(spatial=PLACE, temporal=SUMMER, sensor=RGB, name=name)


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (1,), "ab", (0, float("nan"))])
def test_a_range_that_is_none(server: Server, limits) -> None:
    with pytest.raises(SpecError, match="value_range must be"):
        inspect_gee_patch(spatial=PLACE, temporal=SUMMER, sensor=RGB, value_range=limits)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(SpecError, match="cannot be written"):
        inspect_gee_patch(
            spatial=PLACE, temporal=SUMMER,
            sensor=SensorSpec(S2, ("B4",), check_save_dir=str(blocked)),
        )  # fmt: skip


def test_elevation_needs_no_time_and_may_be_zero(server: Server) -> None:
    found = inspect_gee_patch(
        spatial=PLACE, sensor=SensorSpec("COPERNICUS/DEM/GLO30_2024_1", ("DEM",), scale_m=30)
    )
    assert found["ok"]
    assert found["temporal"] is None
    zeros = check_pixels(np.zeros((1, 1, 4, 4), np.float32), ("DEM",), ("metres",), fill_value=0)
    assert zeros.ok
    assert zeros.report["fill_fraction"] == 1


def test_fill_is_missing_where_light_is_measured() -> None:
    pixels = np.full((1, 1, 4, 4), 500, np.float32)
    pixels[..., :3, :] = 0
    found = check_pixels(pixels, ("B4",), ("reflectance_x10000",), fill_value=0)
    assert found.problems == ("band B4 misses 75% of its pixels",)
    assert found.report["bands"][0]["min"] == 500
    undeclared = check_pixels(pixels, ("B4",), ("reflectance_x10000",), fill_value=None)
    assert "0 in every band" in undeclared.problems[0]
    assert check_pixels(pixels, ("height",), ("metres",), fill_value=None).ok


def test_statistics_by_hand() -> None:
    values = np.arange(100, dtype=np.float32).reshape(1, 1, 10, 10)
    values[0, 0, 0, 0] = np.nan
    found = check_pixels(values, ("x",), ("1",))
    band = found.report["bands"][0]
    assert band["nan_fraction"] == 0.01
    assert (band["min"], band["max"], band["mean"]) == (1, 99, 50)
    assert band["std"] == pytest.approx(np.sqrt((99**2 - 1) / 12))
    assert band["percentiles"]["50"] == 50
    assert band["value_range"] is None
    assert found.ok


def test_a_quicklook_can_be_decoded() -> None:
    pixels = np.stack([np.linspace(0, 1, 12).reshape(3, 4)] * 3).astype(np.float32)
    pixels[:, 0, 0] = np.nan
    shown = quicklook(pixels)
    assert shown.shape == (3, 4, 4)
    assert shown[0, 0, 3] == 0
    assert shown[1, 0, 3] == 255
    assert shown[2, 3, 0] == 255
    data = png(shown)
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(data[start : start + length]), np.uint8).reshape(3, 17)
    assert np.array_equal(rows[:, 1:].reshape(3, 4, 4), shown)
