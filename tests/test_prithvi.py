"""Prithvi's branches: dates, codes, windows, holes, bands, keys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rs_embed import ModelChoice, OutputSpec, PointBuffer, TemporalSpec, get_embedding, load_model
from rs_embed.core.errors import ModelError
from rs_embed.core.prepare import Windows
from rs_embed.core.result import unwrap_or_raise
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import prithvi
from rs_embed.embedders.runtime import LoadedModel, encode, prepare, unload_models
from rs_embed.parity import write_checkpoint
from rs_embed.parity.checkpoint import filled

ID = prithvi.SPEC.id
SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """The smallest variant's file as the authors lay it out, with recipe weights."""
    return str(
        write_checkpoint((prithvi.SPEC, "tiny_tl"), tmp_path_factory.mktemp("w") / "tiny.pt")
    )


@pytest.fixture(scope="module", autouse=True)
def _free():
    yield
    unload_models()


def choice(weights: str, **options) -> ModelChoice:
    return ModelChoice(ID, "tiny_tl", options=options, weights=weights)


def loaded(weights: str, **options) -> LoadedModel:
    return load_model(choice(weights, **options), device="cpu")


def windows(side=64, frames=1, seed=0, batch=1, dated=True) -> Windows:
    pixels = np.random.default_rng(seed).uniform(0, 4000, (batch, frames, 6, side, side))
    dates = tuple((f"2022-0{1 + t}-01", f"2022-0{2 + t}-01") for t in range(frames))
    lonlat = np.array([[121.5, 31.2], [-70.0, -45.0]])[:batch]
    return Windows(
        pixels.astype(np.float32), prithvi.SPEC.modalities["s2"][0].bands,
        (dates if dated else (),) * batch, lonlat, 30.0,
    )  # fmt: skip


def grid(weights: str, given: Windows, **options) -> np.ndarray:
    options = {"window_px": given.pixels.shape[-1], **options}
    ready = loaded(weights, **options)
    model = unwrap_or_raise(find_model(choice(weights, **options)))
    return encode(ready, prepare(model, given), model).grid


def test_every_variant_is_pinned() -> None:
    names = [variant.name for variant in prithvi.SPEC.variants]
    assert names == ["tiny_tl", "100m_tl", "300m", "300m_tl", "600m", "600m_tl", "v1_100m"]
    for variant in prithvi.SPEC.variants:
        record = variant.weights
        assert len(record.revision) == 40
        assert len(record.sha256) == 64
        assert record.size or record.approx_size
    assert unwrap_or_raise(find_model("Prithvi ")).variant.name == "300m_tl"


@pytest.mark.parametrize("variant", prithvi.SPEC.variants, ids=lambda v: v.name)
def test_parameters_are_as_many_as_published(variant) -> None:
    model = unwrap_or_raise(find_model(f"{ID}:{variant.name}"))
    with torch.device("meta"):
        network = prithvi.build(model)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(variant.params_m, abs=0.06)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("coords", ["none", "both"])
def test_any_number_of_dates(weights, frames, coords) -> None:
    given = windows(frames=frames)
    cells = grid(weights, given, frames=frames, coords=coords)
    assert cells.shape == (1, 4, 4, 192)
    assert np.isfinite(cells).all()
    # The last date counts.
    other = given.pixels.copy()
    other[:, -1] += 500
    assert not np.allclose(
        cells, grid(weights, replace(given, pixels=other), frames=frames, coords=coords), atol=1e-4
    )


def test_each_code_adds_something_of_its_own(weights) -> None:
    given = windows()
    each = {c: grid(weights, given, coords=c) for c in ("none", "time", "location", "both", "auto")}
    assert np.array_equal(each["both"], each["auto"])
    for a, b in [("none", "time"), ("none", "location"), ("time", "location"), ("time", "both")]:
        assert np.abs(each[a] - each[b]).max() > 1e-3


def test_codes_are_the_middle_of_the_dates_and_of_the_window() -> None:
    model = unwrap_or_raise(find_model(f"{ID}:tiny_tl"))
    arrays = prithvi.prepare(windows(frames=2, batch=2), model)
    assert arrays["temporal"].tolist() == [[[2022, 16], [2022, 46]]] * 2
    assert arrays["location"].tolist() == [[pytest.approx(31.2), 121.5], [-45, -70]]


def test_undated_imagery_has_no_time_code(weights) -> None:
    given = windows(dated=False)
    assert np.array_equal(grid(weights, given), grid(weights, given, coords="location"))
    with pytest.raises(ModelError, match="needs dates"):
        grid(weights, given, coords="both")


@pytest.mark.parametrize("coords", ["time", "location", "both"])
@pytest.mark.parametrize("variant", ["300m", "v1_100m"])
def test_codes_that_a_variant_never_saw_are_refused(variant, coords) -> None:
    model = unwrap_or_raise(find_model(ModelChoice(ID, variant, options={"coords": coords})))
    with pytest.raises(ModelError, match="ends in _tl"):
        prithvi.prepare(windows(), model)
    with pytest.raises(ModelError, match="ends in _tl"), torch.device("meta"):
        prithvi.build(model)
    plain = unwrap_or_raise(find_model(f"{ID}:{variant}"))
    assert set(prithvi.prepare(windows(), plain)) == {"image"}


@pytest.mark.parametrize("side", [32, 112, 224])
def test_windows_of_other_sizes(weights, side) -> None:
    cells = grid(weights, windows(side))
    assert cells.shape == (1, side // 16, side // 16, 192)
    assert np.isfinite(cells).all()


def test_a_window_that_is_no_whole_number_of_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match="96 would do"):
        unwrap_or_raise(find_model(ModelChoice(ID, options={"window_px": 100})))
    assert unwrap_or_raise(find_model(f"{ID}:600m_tl")).token_px == 14


def test_positions_are_the_formula() -> None:
    table = prithvi.position_table(192, 3, 14, 14, 14)
    assert table.shape == (3, 196, 192)
    assert table.dtype == np.float32

    def code(width: int, place: float) -> np.ndarray:
        angles = place / 10000 ** (np.arange(width // 2) / (width / 2))
        return np.concatenate([np.sin(angles), np.cos(angles)])

    frame, row, col = 2, 5, 11
    wanted = np.concatenate([code(72, col), code(72, row), code(48, frame)])
    np.testing.assert_allclose(table[frame, row * 14 + col], wanted, atol=1e-7)
    # Corners stay where they are when the grid is resized.
    resized = prithvi.position_table(192, 3, 6, 8, 14)
    np.testing.assert_allclose(resized[1, [0, 7, -8, -1]], table[1, [0, 13, -14, -1]], atol=1e-6)


def test_missing_values_are_the_authors_own(weights) -> None:
    model = unwrap_or_raise(find_model(f"{ID}:tiny_tl"))
    given = windows()
    given.pixels[0, 0, 2, 5, 7] = np.nan
    image = prithvi.prepare(given, model)["image"]
    assert image[0, 2, 0, 5, 7] == np.float32(1e-4)
    assert np.isfinite(image).all()
    first = given.pixels[0, 0, :, 0, 0]
    mean, std = model.variant.config["mean"], model.variant.config["std"]
    np.testing.assert_allclose(image[0, :, 0, 0, 0], (first - mean) / std, rtol=1e-6)


def test_the_first_version_has_its_own_statistics() -> None:
    v1 = unwrap_or_raise(find_model(f"{ID}:v1_100m"))
    flat = np.broadcast_to(np.float32(775), (1, 1, 6, 64, 64))
    image = prithvi.prepare(replace(windows(), pixels=flat), v1)["image"]
    assert image[0, 0, 0, 0, 0] == 0
    assert image[0, 1, 0, 0, 0] == pytest.approx((775 - 1081) / 1270)


def test_a_date_without_pixels_is_left_out_of_its_window(weights) -> None:
    given = windows(frames=3, batch=2)
    given.pixels[0, 1] = np.nan
    cells = grid(weights, given, frames=3)
    left = windows(frames=3, batch=2)
    whole = grid(weights, left, frames=3)
    dates = given.intervals[0]
    two = Windows(
        given.pixels[:1, [0, 2]], given.bands, ((dates[0], dates[2]),), given.lonlat[:1], 30.0
    )
    np.testing.assert_allclose(cells[:1], grid(weights, two, frames=2), atol=1e-5)
    np.testing.assert_allclose(cells[1:], whole[1:], atol=1e-5)
    assert np.abs(cells[0] - whole[0]).max() > 1e-3


def test_a_window_without_pixels_does_not_break_its_batch(weights) -> None:
    given = windows(frames=2, batch=2)
    whole = grid(weights, given, frames=2)
    given.pixels[0] = np.nan
    cells = grid(weights, given, frames=2)
    np.testing.assert_allclose(cells[1], whole[1], atol=1e-5)
    assert np.isfinite(cells).all()


def test_a_batch_equals_one_by_one(weights) -> None:
    given = windows(batch=2)
    both = grid(weights, given)
    for i in range(2):
        one = replace(
            given,
            pixels=given.pixels[i : i + 1],
            intervals=given.intervals[i : i + 1],
            lonlat=given.lonlat[i : i + 1],
        )
        np.testing.assert_allclose(both[i : i + 1], grid(weights, one), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_a_bright_corner_lights_that_corner(weights, corner) -> None:
    """Rows stay rows and columns columns: against the same window without the corner."""
    plain = np.full((1, 1, 6, 112, 112), 1500, dtype=np.float32)
    bright = plain.copy()
    tokens = bright[0, 0].reshape(6, 7, 16, 7, 16)
    tokens[:, corner[0], :, corner[1]] = 9000
    base, lit = (
        grid(weights, replace(windows(), pixels=pixels), coords="none")
        for pixels in (plain, bright)
    )
    change = np.linalg.norm(lit - base, axis=-1)[0]
    assert np.unravel_index(change.argmax(), change.shape) == (corner[0] % 7, corner[1] % 7)
    assert change.max() > 3 * np.sort(change.ravel())[-2]


def test_the_published_layout_loads_strictly(weights) -> None:
    state = torch.load(weights, weights_only=True)
    assert "encoder.pos_embed" in state
    assert "decoder.decoder_embed.weight" in state
    assert all(key.startswith(("encoder.", "decoder.")) for key in state)
    network = loaded(weights).network
    assert torch.equal(network.cls_token, state["encoder.cls_token"])
    assert sum(key.startswith("encoder.") for key in state) == len(network.state_dict()) + 1


def test_an_older_file_without_prefix_loads(tmp_path) -> None:
    path = write_checkpoint((prithvi.SPEC, "tiny_tl"), tmp_path / "new.pt")
    state = torch.load(path, weights_only=True)
    old = {key.split(".", 1)[1]: value for key, value in state.items()}
    assert {"pos_embed", "decoder_pos_embed", "mask_token"} <= set(old)
    torch.save(old, tmp_path / "old.pt")
    given = windows()
    new, older = (grid(str(tmp_path / name), given) for name in ("new.pt", "old.pt"))
    assert np.array_equal(new, older)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda s: s.pop("encoder.blocks.3.norm1.bias"), "1 missing.*blocks.3.norm1.bias"),
        (lambda s: s.pop("encoder.temporal_embed_enc.scale"), "missing.*temporal_embed_enc.scale"),
        (
            lambda s: s.update({"encoder.head.bias": torch.zeros(3)}),
            "in the file only: encoder.head.bias",
        ),
        (lambda s: s.update({"encoder.cls_token": torch.zeros(3)}), "another shape.*cls_token"),
    ],
)
def test_a_key_missing_or_added_is_named(weights, tmp_path, spoil, said) -> None:
    state = torch.load(weights, weights_only=True)
    spoil(state)
    torch.save(state, tmp_path / "spoilt.pt")
    with pytest.raises(ModelError, match=said):
        loaded(str(tmp_path / "spoilt.pt"))


def test_weights_of_another_variant_are_refused(weights) -> None:
    with pytest.raises(ModelError, match="another shape"):
        load_model(ModelChoice(ID, "100m_tl", weights=weights), device="cpu")


def test_a_file_with_codes_is_refused_by_a_variant_without(weights) -> None:
    model = unwrap_or_raise(find_model(f"{ID}:tiny_tl"))
    config = {**model.variant.config, "coords_encoding": ()}
    plain = replace(model, variant=replace(model.variant, config=config))
    state = torch.load(weights, weights_only=True)
    with pytest.raises(ModelError, match=r"in the file only: encoder\.location_embed_enc\.scale"):
        filled(plain, state)


def test_a_network_can_be_fine_tuned(weights) -> None:
    network = loaded(weights, coords="none").network
    image = torch.zeros(1, 6, 1, 64, 64)
    with torch.inference_mode():
        network(image)  # fills the cache of positions
    image.requires_grad_(True)
    network(image)["grid"].sum().backward()
    assert image.grad.abs().max() > 0


@pytest.mark.parametrize("frames", [1, 3])
def test_the_front_door(weights, frames) -> None:
    result = get_embedding(
        choice(weights, frames=frames),
        spatial=PointBuffer(121.5, 31.2, 3360),
        temporal=SUMMER,
        output=OutputSpec.grid(),
        backend="memory",
        device="cpu",
    )
    assert result.data.shape == (192, 14, 14)
    assert (np.diff(result.data.x) == 480).all()
    assert (np.diff(result.data.y) == -480).all()
    assert len(result.meta["intervals"]) == frames
    assert result.meta["weights"] == {"weights": "local file"}


def test_no_image_level_vector(weights) -> None:
    with pytest.raises(ModelError, match="no image-level vector"):
        get_embedding(
            choice(weights),
            spatial=PointBuffer(121.5, 31.2, 3360),
            temporal=SUMMER,
            output=OutputSpec.pooled(pooling="model"),
            backend="memory",
        )
