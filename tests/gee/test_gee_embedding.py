"""From a place to an embedding through Earth Engine, and the checks on the way."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from rs_embed import (
    ModelChoice,
    ModelError,
    PointBuffer,
    ProviderError,
    SensorSpec,
    SpecError,
    TemporalSpec,
    get_embedding,
    get_embeddings_batch,
    register_provider,
)
from rs_embed.embedders.runtime import unload_models
from rs_embed.providers.gee import GeeProvider
from tests.earth_engine import Server
from tests.gee.plans import S2

PLACE = PointBuffer(3.6, 41.0, 320)
SUMMER = TemporalSpec.range("2022-06-01", "2022-07-01")
BANDS = ("B2", "B3", "B4", "B8", "B11", "B12")


def sensor(**more) -> SensorSpec:
    """Sentinel-2 for mosaiks."""
    return SensorSpec(S2, BANDS, **more)


def test_one_fetch_and_one_list_of_scenes(server: Server) -> None:
    embedding = get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER)
    assert embedding.data.shape == (512,)
    assert server.counters == {"requests": 2, "compute": 1, "value": 1, "200": 2}
    meta = embedding.meta
    assert meta["backend"] == "gee"
    assert meta["input"]["scenes"][S2]["dates"] == ["2022-06-01", "2022-06-11", "2022-06-21"]
    assert meta["input"]["valid_fraction"] == 1.0
    assert meta["input"]["cloud_filter"] == "CLOUDY_PIXEL_PERCENTAGE <= 30"
    json.dumps(meta, allow_nan=False)


def test_many_places_share_one_list_of_scenes(server: Server) -> None:
    places = [PointBuffer(3.5 + 0.02 * i, 41.0, 320) for i in range(5)]
    embeddings = get_embeddings_batch("mosaiks", spatials=[*places, places[0]], temporal=SUMMER)
    assert len(embeddings) == 6
    assert server.counters["compute"] == 5
    assert server.counters["value"] == 1
    assert np.array_equal(embeddings[0].data, embeddings[5].data)
    one = get_embedding("mosaiks", spatial=places[2], temporal=SUMMER)
    assert np.allclose(embeddings[2].data, one.data, rtol=1e-5)


def test_a_list_of_scenes_that_fails_takes_no_embedding_with_it(server: Server) -> None:
    server.fail("403", path="value")
    embedding = get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER)
    told = embedding.meta["input"]["scenes"][S2]
    assert told["ids"] is None
    assert "permission" in told["error"]


def test_an_image_id_is_a_collection_of_one(server: Server) -> None:
    image = f"{S2}/20220611T105631_20220611T105631_T31TEF"
    ours = get_embedding(
        "mosaiks", spatial=PLACE, temporal=TemporalSpec.year(2022),
        sensor=SensorSpec(image, BANDS),
    )  # fmt: skip
    day = TemporalSpec.range("2022-06-11", "2022-06-12")
    assert np.allclose(ours.data, get_embedding("mosaiks", spatial=PLACE, temporal=day).data)
    assert ours.meta["collection"] == image
    assert ours.meta["input"]["scenes"][image]["dates"] == ["2022-06-11"]


def test_auto_takes_earth_engine(server: Server) -> None:
    embedding = get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER, backend="auto")
    assert embedding.meta["backend"] == "gee"


def test_a_provider_of_ones_own_under_another_name(server: Server) -> None:
    from rs_embed.providers import base

    try:
        register_provider("gee_local", GeeProvider(url=server.url, name="gee_local"))
        embedding = get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER, backend="gee_local")
        assert embedding.meta["backend"] == "gee_local"
    finally:
        base._FACTORIES.pop("gee_local", None)


def test_a_source_is_not_for_earth_engine(server: Server) -> None:
    with pytest.raises(SpecError, match="takes no source="):
        get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER, source="scene.tif")


def test_no_temporal_no_guess(server: Server) -> None:
    with pytest.raises(SpecError, match="imagery needs a temporal"):
        get_embedding("mosaiks", spatial=PLACE)
    assert server.counters == {}


def test_a_collection_that_cannot_serve_is_told_before_any_request(server: Server) -> None:
    radar = SensorSpec("COPERNICUS/S1_GRD", ("VV", "VH"))
    with pytest.raises(ModelError, match="no band B2"):
        get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER, sensor=radar)
    assert server.counters == {}


def test_an_empty_collection_names_its_filter(server: Server) -> None:
    with pytest.raises(ProviderError, match="filter: dates"):
        get_embedding("mosaiks", spatial=PLACE, temporal=TemporalSpec.year(2010))


def test_a_coarser_sensor_averages_its_pixels(server: Server) -> None:
    from rs_embed.plugins.notices import forget

    forget()
    with pytest.warns(UserWarning, match="trained at 10 m"):
        embedding = get_embedding(
            "mosaiks", spatial=PLACE, temporal=SUMMER, sensor=sensor(scale_m=20)
        )
    assert embedding.meta["input"]["reading"] == "area average"
    assert embedding.meta["scale_m"] == 20


def test_one_unusable_place_of_many_is_named(server: Server) -> None:
    with pytest.raises(ProviderError, match=r"spatials\[1\].*filter: bounds"):
        get_embeddings_batch("mosaiks", spatials=[PLACE, PointBuffer(100, 0, 320)], temporal=SUMMER)


# --- checks of the input


def test_a_checked_input_runs_and_tells(server: Server, tmp_path: Path) -> None:
    embedding = get_embedding(
        "mosaiks", spatial=PLACE, temporal=SUMMER,
        sensor=sensor(check_input=True, check_save_dir=str(tmp_path)),
    )  # fmt: skip
    check = embedding.meta["input"]["check"]
    assert check["ok"]
    # Constant scenes: odd, but no reason to refuse them.
    assert "band B2 is 2010 everywhere" in check["warnings"]
    assert {Path(p).name.rsplit("_", 1)[-1] for p in check["artifacts"].values()} == {
        *(f"{band}.png" for band in BANDS), "rgb.png",
    }  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 7


def _edge() -> dict[str, object]:
    """A place of which a fifth has pixels: beyond the east edge of the only tile of the south."""
    return {
        "spatial": PointBuffer(-67.8083, -33.9026, 640),
        "temporal": SUMMER,
    }


def test_a_bad_input_is_refused(server: Server) -> None:
    with pytest.raises(ProviderError, match=r"is unfit: band B2 misses \d+% of its pixels"):
        get_embedding("mosaiks", **_edge(), sensor=sensor(check_input=True))


def test_a_bad_input_can_be_run_all_the_same(server: Server) -> None:
    told = get_embedding("mosaiks", **_edge(), sensor=sensor(check_input=True, check_raise=False))
    check = told.meta["input"]["check"]
    assert not check["ok"]
    assert "misses" in check["problems"][0]


def test_without_check_input_nothing_is_checked(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "looks"
    told = get_embedding("mosaiks", **_edge(), sensor=sensor(check_save_dir=str(folder)))
    assert "check" not in told.meta["input"]
    assert not folder.exists()


def test_nothing_is_loaded_for_a_source_that_cannot_be_used(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing account is told before weights are."""
    from returns.result import Failure

    from rs_embed.providers import gee

    missing = ProviderError("no account")
    monkeypatch.setattr(gee, "connect", lambda settings: Failure(missing))
    unload_models()
    choice = ModelChoice("mosaiks", weights=str(tmp_path / "not_there.npy"))
    with pytest.raises(ProviderError, match="no account"):
        get_embedding(choice, spatial=PLACE, temporal=SUMMER)


def test_no_warning_on_the_plain_path(server: Server) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_embedding("mosaiks", spatial=PLACE, temporal=SUMMER)
