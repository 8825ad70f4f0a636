"""Random convolutional features: what they are, and that they are the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from rs_embed import ModelChoice, ModelError, OutputSpec, PointBuffer, TemporalSpec, get_embedding
from rs_embed.core.prepare import Windows
from rs_embed.embedders.catalog import find_model
from rs_embed.embedders.families import mosaiks

SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
MODEL = find_model("mosaiks").unwrap()


def pixels_of(side=16, bands=6, batch=1, seed=3):
    return np.random.RandomState(seed).uniform(0, 0.6, (batch, 1, bands, side, side)).astype("f4")


def windows_of(pixels, model=MODEL):
    batch = len(pixels)
    return Windows(pixels, model.bands, ((),) * batch, np.zeros((batch, 2)), 10.0)


def tokens_of(pixels, model=MODEL, filters=None):
    network = mosaiks.build(model) if filters is None else filters
    return mosaiks.encode(network, mosaiks.prepare(windows_of(pixels, model), model), model).grid


def by_hand(cell, filters):
    """(D,) of one cell (C, p, p), in float64 and by the definition."""
    bands, p, _ = cell.shape
    responses = []
    for row in range(p - 2):
        for col in range(p - 2):
            view = cell[:, row : row + 3, col : col + 3].astype(np.float64)
            weights = filters.T.reshape(-1, bands, 3, 3).astype(np.float64)
            responses.append((weights * view).sum(axis=(1, 2, 3)))
    responses = np.array(responses)
    positive, negative = np.maximum(responses, 0), np.maximum(-responses, 0)
    return np.concatenate([positive.mean(axis=0), negative.mean(axis=0)])


def test_filters_have_zero_mean_and_unit_norm():
    filters = mosaiks.build(MODEL)
    assert filters.shape == (54, 256)
    assert filters.dtype == np.float32
    np.testing.assert_allclose(filters.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(filters, axis=0), 1, rtol=1e-6)
    # Gaussian directions: hardly any two alike.
    cosines = filters.T @ filters - np.eye(256)
    assert np.abs(cosines).max() < 0.75


def test_a_cell_is_the_mean_of_both_signs_of_its_responses():
    pixels = pixels_of()
    grid = tokens_of(pixels)
    assert grid.shape == (1, 2, 2, 512)
    filters = mosaiks.build(MODEL)
    for row in range(2):
        for col in range(2):
            cell = pixels[0, 0, :, row * 8 : row * 8 + 8, col * 8 : col * 8 + 8]
            np.testing.assert_allclose(
                grid[0, row, col], by_hand(cell, filters), rtol=1e-5, atol=1e-8
            )


# (feature, value) of the first cell of the seeded pixels, in float64 by the definition.
FILTERS = [
    ((0, 0), 0.205354127),
    ((1, 0), 0.038105911),
    ((53, 255), 0.0378528676),
    ((27, 100), -0.0924208231),
]
FEATURES = [
    (0, 0.0501606379),
    (1, 0.0785929443),
    (100, 0.0608877218),
    (255, 0.027710786),
    (256, 0.0823271946),
    (300, 0.0641368643),
    (511, 0.0872614452),
]


def test_the_same_on_every_machine():
    filters = mosaiks.build(MODEL)
    for (row, col), value in FILTERS:
        assert filters[row, col] == pytest.approx(value, rel=1e-5)
    cell = tokens_of(pixels_of())[0, 0, 0]
    for index, value in FEATURES:
        assert cell[index] == pytest.approx(value, rel=1e-5)


def test_a_constant_image_has_no_features():
    flat = np.full((1, 1, 6, 8, 8), 0.3, dtype=np.float32)
    np.testing.assert_allclose(tokens_of(flat), 0, atol=1e-6)


def test_a_cell_depends_on_its_own_pixels_alone():
    pixels = pixels_of(64)
    whole = tokens_of(pixels)
    other = pixels.copy()
    other[..., 8:, :] = 0.1
    other[..., :, 8:] = 0.1
    np.testing.assert_array_equal(tokens_of(other)[0, 0, 0], whole[0, 0, 0])
    assert not np.allclose(tokens_of(other)[0, 1, 1], whole[0, 1, 1])


def test_batches_blocks_and_single_windows_agree(monkeypatch):
    pixels = pixels_of(64, batch=5)
    together = tokens_of(pixels)
    apart = np.concatenate([tokens_of(pixels[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-8)
    monkeypatch.setattr(mosaiks, "_BLOCK", 1)
    np.testing.assert_allclose(tokens_of(pixels[:1]), together[:1], rtol=1e-5, atol=1e-8)


def test_seed_and_width_are_choices():
    one = find_model(ModelChoice("mosaiks", options={"seed": 1})).unwrap()
    assert not np.allclose(mosaiks.build(one), mosaiks.build(MODEL))
    wide = find_model("mosaiks:4096").unwrap()
    assert mosaiks.build(wide).shape == (54, 2048)
    with pytest.raises(ModelError, match="seed must be"):
        get_embedding(
            ModelChoice("mosaiks", options={"seed": -1}),
            spatial=PointBuffer(5, 52, 320), temporal=SUMMER, backend="memory",
        )  # fmt: skip


def test_missing_pixels_are_their_cells_mean():
    pixels = pixels_of()
    holed = pixels.copy()
    holed[0, 0, 2, 1, 1] = np.nan
    filled = pixels.copy()
    cell = holed[0, 0, 2, :8, :8]
    filled[0, 0, 2, 1, 1] = np.nanmean(cell.astype(np.float64))
    np.testing.assert_allclose(tokens_of(holed), tokens_of(filled), rtol=1e-5, atol=1e-8)
    # A band that is missing altogether is flat, which no zero-mean filter sees at its inside.
    holed[0, 0, 2, :8, :8] = np.nan
    assert np.isfinite(tokens_of(holed)).all()


def test_bands_are_taken_by_name():
    rgb = ModelChoice("mosaiks", modality="s2_rgb")
    place = {"spatial": PointBuffer(5, 52, 320), "temporal": SUMMER, "backend": "memory"}
    three = get_embedding(rgb, **place)
    six = get_embedding("mosaiks", **place)
    assert three.data.shape == six.data.shape == (512,)
    assert three.meta["bands"] == ["B4", "B3", "B2"]
    # Either modality after the other: each has filters of its own shape in memory.
    np.testing.assert_array_equal(get_embedding(rgb, **place).data, three.data)
    np.testing.assert_array_equal(get_embedding("mosaiks", **place).data, six.data)


def test_cell_and_window_sizes_are_options():
    choice = ModelChoice("mosaiks", options={"token_px": 16, "window_px": 128})
    embedding = get_embedding(
        choice, spatial=PointBuffer(5, 52, 640), temporal=SUMMER, backend="memory",
        output=OutputSpec.grid(),
    )  # fmt: skip
    assert embedding.data.shape == (512, 8, 8)
    assert (embedding.meta["window_px"], embedding.meta["token_px"]) == (128, 16)
    odd = find_model(ModelChoice("mosaiks", options={"token_px": 24}))
    assert type(odd.failure()) is ModelError
    assert "window_px 64 must be a multiple of the 24 px" in str(odd.failure())
    assert "48 would do" in str(odd.failure())


def test_windows_do_not_show_in_the_grid():
    place = {"spatial": PointBuffer(5, 52, 640), "temporal": SUMMER, "backend": "memory"}
    small = ModelChoice("mosaiks", options={"window_px": 8})
    a = get_embedding("mosaiks", output=OutputSpec.grid(), **place)
    b = get_embedding(small, output=OutputSpec.grid(), **place)
    np.testing.assert_allclose(a.data, b.data, rtol=1e-5, atol=1e-8)


# --- empirical filters --------------------------------------------------------------------------


def correlated(bands=6, side=80, seed=5):
    """Smooth imagery with bands that go together, as real ones do."""
    rng = np.random.RandomState(seed)
    common = rng.uniform(0, 0.4, (side + 4, side + 4))
    smooth = sum(common[i : i + side, j : j + side] for i in range(4) for j in range(4)) / 16
    return np.stack([(0.5 + 0.1 * b) * smooth for b in range(bands)]).astype("f4") + rng.normal(
        0, 0.003, (bands, side, side)
    ).astype("f4")


def test_empirical_filters_are_whitened_patches_of_the_image():
    filters = mosaiks.empirical_filters(correlated(), 256, seed=1)
    assert filters.shape == (256, 54)
    assert filters.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(filters, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(filters, mosaiks.empirical_filters(correlated(), 256, seed=1))
    assert not np.allclose(filters, mosaiks.empirical_filters(correlated(), 256, seed=2))
    # Whitening: neighbouring weights of a filter are far less alike than the image's pixels.
    raw = correlated()
    along_image = np.corrcoef(raw[0, :, :-1].ravel(), raw[0, :, 1:].ravel())[0, 1]
    kernels = filters.reshape(256, 6, 3, 3)
    along_filter = np.corrcoef(kernels[..., :-1].ravel(), kernels[..., 1:].ravel())[0, 1]
    assert along_image > 0.5
    assert abs(along_filter) < 0.3


def test_empirical_filters_as_weights(tmp_path):
    path = tmp_path / "filters.npy"
    np.save(path, mosaiks.empirical_filters(correlated(), 256))
    choice = ModelChoice("mosaiks", weights=str(path))
    place = {"spatial": PointBuffer(5, 52, 320), "temporal": SUMMER, "backend": "memory"}
    own = get_embedding(choice, **place)
    assert own.meta["weights"]["weights"] == "local file"
    assert str(tmp_path) not in str(own.meta)
    assert not np.allclose(own.data, get_embedding("mosaiks", **place).data)


@pytest.mark.parametrize("wrong", ["shape", "text", "gone"])
def test_filters_that_cannot_be_used(tmp_path, wrong):
    path = tmp_path / "filters.npy"
    if wrong == "shape":
        np.save(path, np.ones((256, 27), dtype=np.float32))
    elif wrong == "text":
        path.write_text("no array")
    with pytest.raises(ModelError, match="filters"):
        get_embedding(
            ModelChoice("mosaiks", weights=str(path)),
            spatial=PointBuffer(5, 52, 320), temporal=SUMMER, backend="memory",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("pixels", "count"),
    [
        (np.ones((6, 2, 9), dtype="f4"), 8),
        (np.ones((9, 9), dtype="f4"), 8),
        (np.full((6, 9, 9), np.nan, dtype="f4"), 8),
    ],
)
def test_empirical_filters_need_whole_imagery(pixels, count):
    with pytest.raises(ModelError, match="without missing values"):
        mosaiks.empirical_filters(pixels, count)


def test_the_spec_is_complete():
    spec = mosaiks.SPEC
    assert spec.licence
    assert "10.1038/s41467-021-24638-z" in spec.citation
    assert not spec.device
