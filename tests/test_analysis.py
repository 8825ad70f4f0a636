"""First looks at an embedding."""

from __future__ import annotations

import dask.array as da
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from affine import Affine

from rs_embed import OutputSpec, SpecError, sample_scene
from rs_embed.core.crs import project
from rs_embed.core.grid import Grid
from rs_embed.raster.embedding_array import grid_array
from tests.scenes import scene

mpl.use("Agg")
GRID = Grid("EPSG:32719", Affine(80, 0, 600_000, 0, -80, 4_700_000), (9, 7))
METHODS = {
    "pca": (), "similarity": (np.ones(5),), "sample": ([(-67, -47)],), "kmeans": (2,), "plot": (),
    "to_cog": ("out.tif",), "save": ("out.nc",),
}  # fmt: skip


@pytest.fixture
def cells():
    """Five features of known variances on nine rows and seven columns, two cells missing."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 9, 7)) * np.array([1, 9, 0.1, 4, 2])[:, None, None] + 3
    values[:, 0, 0] = np.nan
    values[2, 5, 4] = np.nan
    return grid_array(values.astype(np.float32), GRID, {"model": "made"})


@pytest.fixture(scope="module")
def real():
    return sample_scene().rsembed.embed("mosaiks")


def lonlat(row, col, grid=GRID):
    """Degrees of the centre of a cell, moved by a third of a cell."""
    x, y = grid.x()[col] + grid.resolution[0] / 3, grid.y()[row] - grid.resolution[1] / 3
    lon, lat = project(x, y, grid.crs, "EPSG:4326")
    return float(lon), float(lat)


def on_the_same_ground(found, array):
    assert found.rio.crs == array.rio.crs
    assert found.rio.transform() == found.rio.transform(recalc=True) == array.rio.transform()
    np.testing.assert_array_equal(found.y, array.y)
    np.testing.assert_array_equal(found.x, array.x)


# Components


def test_pca_is_the_singular_value_decomposition(cells):
    found = cells.rsembed.pca(3)
    assert found.dims == ("component", "y", "x")
    assert found.dtype == np.float32
    on_the_same_ground(found, cells)
    flat = cells.values.reshape(5, -1).T.astype(np.float64)
    valid = np.isfinite(flat).all(axis=1)
    centred = flat[valid] - flat[valid].mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(5), np.abs(axes).argmax(axis=1)])
    wanted = centred @ (axes * signs[:, None])[:3].T
    scores = found.values.reshape(3, -1).T
    np.testing.assert_allclose(scores[valid], wanted, rtol=1e-4, atol=1e-5)
    assert np.isnan(scores[~valid]).all()
    assert (~valid).sum() == 2
    variance = singular**2 / (valid.sum() - 1)
    np.testing.assert_allclose(found.attrs["explained_variance"], variance[:3], rtol=1e-6)
    np.testing.assert_allclose(
        found.attrs["explained_variance_ratio"], variance[:3] / variance.sum(), rtol=1e-6
    )
    assert found.attrs["model"] == "made"
    assert found.attrs["cells"] == 61


def test_pca_of_real_features(real):
    found = real.rsembed.pca(3)
    scores = found.values.reshape(3, -1)
    np.testing.assert_allclose(np.cov(scores), np.diag(found.explained_variance), atol=1e-5)
    assert found.explained_variance == sorted(found.explained_variance, reverse=True)
    xr.testing.assert_identical(found, real.rsembed.pca(3))
    first = real.rsembed.pca(1)
    np.testing.assert_array_equal(first[0], found[0])


def test_pca_does_not_depend_on_where_the_features_lie(cells):
    far = cells + 1000
    np.testing.assert_allclose(far.rsembed.pca(2), cells.rsembed.pca(2), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("n", [0, 6, -1, 1.5, True, "3"])
def test_pca_of_a_wrong_number(cells, n):
    with pytest.raises(SpecError, match=r"n must be 1\.\.5"):
        cells.rsembed.pca(n)


def test_pca_of_too_few_cells(cells):
    with pytest.raises(SpecError, match="the embedding has 2"):
        cells[:, 1:2, :2].rsembed.pca(3)
    with pytest.raises(SpecError, match="the embedding has 0"):
        (cells * np.nan).rsembed.pca(3)


def test_pca_over_dates(cells):
    both = xr.concat([cells, cells * 2], xr.Variable("time", [0, 1]))
    found = both.rsembed.pca(2)
    assert found.dims == ("time", "component", "y", "x")
    on_the_same_ground(found, cells)
    joined = np.concatenate([cells.values.reshape(5, -1), 2 * cells.values.reshape(5, -1)], axis=1)
    joined = joined[:, np.isfinite(joined).all(axis=0)]
    variance = np.linalg.eigvalsh(np.cov(joined.astype(float)))[::-1]
    np.testing.assert_allclose(found.explained_variance, variance[:2], rtol=1e-5)


# Likeness


def test_similarity_to_a_vector(cells):
    vector = np.array([1.0, -2, 3, 0, 1])
    found = cells.rsembed.similarity(vector)
    assert found.dims == ("y", "x")
    on_the_same_ground(found, cells)
    one = cells.values[:, 3, 2].astype(float)
    cosine = one @ vector / np.linalg.norm(one) / np.linalg.norm(vector)
    assert float(found[3, 2]) == pytest.approx(cosine, rel=1e-5)
    assert np.isnan(found[0, 0])
    assert int(np.isnan(found).sum()) == 2
    for same in (list(vector), xr.DataArray(vector, dims="feature"), vector.astype("float32")):
        np.testing.assert_allclose(cells.rsembed.similarity(same), found, rtol=1e-5)


def test_similarity_to_a_place(cells):
    found = cells.rsembed.similarity(lonlat(3, 2))
    assert float(found[3, 2]) == pytest.approx(1)
    np.testing.assert_allclose(found, cells.rsembed.similarity(cells.values[:, 3, 2]), rtol=1e-6)
    assert float(found.max()) <= 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ((0.0, 0.0), "outside"),
        ((200.0, 0.0), "degrees"),
        (("a", "b"), "not numbers"),
        (np.ones(4), "vector of 5 numbers"),
        (np.ones((5, 1)), "vector of 5 numbers"),
        ("abcde", "vector of 5 numbers"),
        (np.zeros(5), "not all zeros"),
        (np.full(5, np.nan), "finite"),
    ],
)
def test_similarity_to_what_cannot_be(cells, target, said):
    with pytest.raises(SpecError, match=said):
        cells.rsembed.similarity(target)


def test_similarity_to_a_missing_cell(cells):
    with pytest.raises(SpecError, match="missing"):
        cells.rsembed.similarity(lonlat(0, 0))


def test_a_cell_of_zeros_is_like_nothing(cells):
    cells[:, 4, 4] = 0
    assert np.isnan(cells.rsembed.similarity(np.ones(5))[4, 4])


# Points


def test_sample(cells):
    places = [lonlat(0, 1), lonlat(8, 6), (0.0, 0.0), lonlat(3, 2)]
    found = cells.rsembed.sample(places)
    assert found.dims == ("point", "feature")
    np.testing.assert_array_equal(found[0], cells[:, 0, 1])
    np.testing.assert_array_equal(found[1], cells[:, 8, 6])
    np.testing.assert_array_equal(found[3], cells[:, 3, 2])
    assert np.isnan(found[2]).all()
    assert found.attrs["points_outside"] == 1
    np.testing.assert_allclose(found.lon, [p[0] for p in places])


def test_sample_to_the_edge(cells):
    """A point belongs to the cell that holds it: a metre inside is in, a metre outside is not."""
    west, south, east, north = GRID.bounds
    corners = [
        (west + 1, north - 1), (east - 1, south + 1), (west - 1, north - 1), (east + 1, south + 1),
        (west + 1, north + 1), (east - 1, south - 1),
    ]  # fmt: skip
    places = [tuple(map(float, project(x, y, GRID.crs, "EPSG:4326"))) for x, y in corners]
    found = cells.rsembed.sample(places)
    np.testing.assert_array_equal(found[1], cells[:, 8, 6])
    assert found.attrs["points_outside"] == 4


def test_sample_of_rows_from_the_south(cells):
    turned = cells.isel(y=slice(None, None, -1))
    places = [lonlat(0, 1), lonlat(8, 6)]
    np.testing.assert_array_equal(turned.rsembed.sample(places), cells.rsembed.sample(places))


def test_sample_of_one_cell(cells):
    found = cells[:, 3:4, 2:3].rsembed.sample([lonlat(3, 2), lonlat(3, 3)])
    np.testing.assert_array_equal(found[0], cells[:, 3, 2])
    assert found.attrs["points_outside"] == 1


def test_sample_over_dates(cells):
    both = xr.concat([cells, cells * 2], xr.Variable("time", [0, 1]))
    found = both.rsembed.sample([lonlat(3, 2)])
    assert found.dims == ("time", "point", "feature")
    np.testing.assert_array_equal(found[1, 0], 2 * cells[:, 3, 2])


@pytest.mark.parametrize(
    "points", [[], [1, 2], [(1, 2, 3)], [(1, 95)], [(np.nan, 0)], "ab", None, [("a", "b")]]
)
def test_sample_at_no_points(cells, points):
    with pytest.raises(SpecError, match=r"list of \(lon, lat\) in degrees"):
        cells.rsembed.sample(points)


# Clusters


def test_kmeans_finds_what_is_apart():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, size=(20, 30))
    truth[:2] = 1  # the largest
    centres = rng.normal(size=(3, 6)) * 20 + 500
    values = centres[truth] + rng.normal(size=(20, 30, 6))
    array = grid_array(values.transpose(2, 0, 1).astype(np.float32), GRID.window(0, 0, 20, 30), {})
    found = array.rsembed.kmeans(3)
    on_the_same_ground(found, array)
    assert found.dims == ("y", "x")
    assert found.dtype == np.int32
    order = np.argsort(-np.bincount(truth.ravel()))
    np.testing.assert_array_equal(order[found.values], truth)
    assert found.attrs["converged"] == 1
    means = [values[truth == k] - values[truth == k].mean(axis=0) for k in range(3)]
    assert found.attrs["inertia"] == pytest.approx(sum((m**2).sum() for m in means), rel=1e-4)
    assert "_FillValue" not in found.attrs


def test_kmeans_is_seeded_and_leaves_missing_cells_out(cells):
    found = cells.rsembed.kmeans(4, seed=1)
    xr.testing.assert_identical(found, cells.rsembed.kmeans(4, seed=1))
    assert int((found == -1).sum()) == 2
    assert found.attrs["_FillValue"] == -1
    counts = np.bincount(found.values[found.values >= 0])
    assert (np.diff(counts) <= 0).all()
    assert len(counts) == 4


def test_kmeans_is_at_rest(cells):
    """Each cell is nearest to the mean of its own cluster."""
    labels = cells.rsembed.kmeans(3).values.ravel()
    flat = cells.values.reshape(5, -1).T.astype(float)
    means = np.array([flat[labels == k].mean(axis=0) for k in range(3)])
    ok = labels >= 0
    distances = ((flat[ok, None] - means[None]) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(distances.argmin(axis=1), labels[ok])


def test_kmeans_of_equal_cells():
    same = grid_array(np.ones((3, 4, 4), np.float32), GRID.window(0, 0, 4, 4), {})
    assert set(np.unique(same.rsembed.kmeans(2))) <= {0, 1}


@pytest.mark.parametrize(
    "arguments", [(0,), (62,), (2.0,), (True,), ("2",), (2, -1), (2, 0.5), (2, None)]
)
def test_kmeans_of_wrong_numbers(cells, arguments):
    with pytest.raises(SpecError, match="must be"):
        cells.rsembed.kmeans(*arguments)


# Pictures and files


def test_plot(real):
    from matplotlib import pyplot as plt

    try:
        axes = real.rsembed.plot()
        assert "mosaiks" in axes.get_title()
        assert axes.get_xlabel() == "easting, km"
        assert axes.get_aspect() == 1
        west, south, east, north = real.rio.bounds()
        assert axes.images[0].get_extent() == pytest.approx(
            [west / 1e3, east / 1e3, south / 1e3, north / 1e3]
        )
        image = axes.images[0].get_array()
        assert image.shape == (25, 37, 3)
        # The middle 96 of 100 of each component lie between black and full colour.
        for i in range(3):
            assert 0.03 <= ((image[..., i] <= 0) | (image[..., i] >= 1)).mean() <= 0.06
        _, own = plt.subplots()
        assert real.rsembed.plot(ax=own) is own
    finally:
        plt.close("all")


def test_plot_of_rows_from_the_south_is_the_same_map(cells):
    from matplotlib import pyplot as plt

    try:
        north = cells.rsembed.plot().images[0]
        south = cells.isel(y=slice(None, None, -1)).rsembed.plot().images[0]
        np.testing.assert_allclose(north.get_array(), south.get_array(), atol=1e-5)
        assert north.get_extent() == south.get_extent()
        np.testing.assert_allclose(north.get_array()[0, 0], 0.92)  # missing
    finally:
        plt.close("all")


def test_plot_without_matplotlib(cells, monkeypatch):
    import sys

    from rs_embed import ModelError

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delattr("matplotlib.pyplot", raising=False)
    with pytest.raises(ModelError, match="pip install matplotlib"):
        cells.rsembed.plot()


def test_cog_holds_every_feature_and_the_ground(real, tmp_path):
    import rioxarray

    few = real[::40]
    path = few.rsembed.to_cog(tmp_path / "out.tif")
    with rioxarray.open_rasterio(path) as back:
        np.testing.assert_array_equal(back, few)
        assert back.rio.crs == real.rio.crs
        assert back.rio.transform() == real.rio.transform()
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]
    with pytest.raises(SpecError, match=r"\.tif"):
        real.rsembed.to_cog(tmp_path / "out.png")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_files_round_trip(real, tmp_path, suffix):
    path = real.rsembed.save(tmp_path / f"out{suffix}")
    opened = (
        xr.open_dataarray(path, decode_coords="all")
        if suffix == ".nc"
        else xr.open_zarr(path, decode_coords="all")["mosaiks"]
    )
    with opened as back:
        xr.testing.assert_equal(back.compute(), real)
        assert back.attrs["rs_embed_meta"] == real.attrs["rs_embed_meta"]
        assert back.rsembed.grid == real.rsembed.grid
        np.testing.assert_allclose(back.rsembed.pca(2), real.rsembed.pca(2), atol=1e-5)
        np.testing.assert_array_equal(back.rsembed.kmeans(3), real.rsembed.kmeans(3))


def test_save_by_suffix(cells, tmp_path):
    for name in ("out.npz", "out.tif"):
        assert cells.rsembed.save(tmp_path / name) == tmp_path / name
        assert (tmp_path / name).exists()
    with pytest.raises(SpecError, match=r"\.csv"):
        cells.rsembed.save(tmp_path / "out.csv")


# What is no embedding


@pytest.mark.parametrize("method", METHODS)
def test_pixels_are_no_embedding(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="this is no embedding"):
        getattr(scene(16, 16).rsembed, method)(*METHODS[method])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["sample", "plot", "to_cog"])
def test_pooled_embeddings_have_no_ground(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pooled = scene(16, 16).rsembed.embed("mosaiks", output=OutputSpec.pooled())
    with pytest.raises(SpecError, match=r"pooled.*OutputSpec\.grid"):
        getattr(pooled.rsembed, method)(*METHODS[method])


def test_a_pooled_embedding_is_like_itself():
    pooled = scene(16, 16).rsembed.embed("mosaiks", output=OutputSpec.pooled())
    assert float(pooled.rsembed.similarity(pooled)) == pytest.approx(1)


def test_whole_numbers_are_no_embedding(cells):
    with pytest.raises(SpecError, match="floating-point"):
        cells.fillna(0).astype(int).rsembed.pca()


def test_an_embedding_without_a_crs(cells):
    bare = cells.drop_vars("spatial_ref")
    with pytest.raises(SpecError, match=r"rio\.write_crs"):
        bare.rsembed.sample([(-67, -47)])
    assert bare.rsembed.pca(2).shape == (2, 9, 7)


def test_dates_are_chosen_first(cells, tmp_path):
    both = xr.concat([cells, cells], xr.Variable("time", [0, 1]))
    for call in (both.rsembed.plot, lambda: both.rsembed.to_cog(tmp_path / "out.tif")):
        with pytest.raises(SpecError, match=r"isel\(time=0\)"):
            call()
    with pytest.raises(SpecError, match="select one entry"):
        both.rsembed.similarity(lonlat(3, 2))


def test_lazy_embeddings_are_walked_in_blocks(monkeypatch):
    """The covariance of an array that is larger than a block is that of the whole."""
    from rs_embed.analysis import cells as walked

    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 30, 20)).astype(np.float32) + np.arange(30)[:, None]
    array = grid_array(values.astype(np.float32), GRID.window(0, 0, 30, 20), {})
    whole = array.rsembed.pca(2)
    monkeypatch.setattr(walked, "BLOCK_VALUES", 4 * 20 * 7)
    assert len(list(walked.iter_cells(array))) > 4
    lazy = array.copy(data=da.from_array(array.values, chunks=(4, 5, 7)))
    np.testing.assert_allclose(lazy.rsembed.pca(2), whole, rtol=1e-4, atol=1e-4)


def test_dates_in_front_are_walked_in_blocks_too(cells, monkeypatch):
    """A block never holds more than its limit, or a row, however many dates there are."""
    from rs_embed.analysis import cells as walked

    series = xr.concat([cells, cells + 1, cells * 2], xr.Variable("time", [0, 1, 2]))
    whole = series.transpose("time", "y", "x", "feature").values.reshape(-1, 5)
    scores, labels = series.rsembed.pca(2), series.rsembed.kmeans(3)
    monkeypatch.setattr(walked, "BLOCK_VALUES", 2 * 7 * 5)
    blocks = list(walked.iter_cells(series))
    assert max(part.size for _, part in blocks) == 2 * 7 * 5
    np.testing.assert_array_equal(np.concatenate([part for _, part in blocks]), whole)
    assert [place.start for place, _ in blocks[1:]] == [place.stop for place, _ in blocks[:-1]]
    np.testing.assert_allclose(series.rsembed.pca(2), scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(series.rsembed.kmeans(3), labels)


def test_kmeans_holds_one_copy_of_the_cells(monkeypatch):
    import tracemalloc

    for name in ("rs_embed.analysis.cells", "rs_embed.analysis.kmeans"):
        monkeypatch.setattr(f"{name}.BLOCK_VALUES", 100_000)
    values = np.random.default_rng(0).random((64, 200, 300), dtype=np.float32)
    array = grid_array(values, GRID.window(0, 0, 200, 300), {})
    array.rsembed.kmeans(2)
    tracemalloc.start()
    array.rsembed.kmeans(2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * values.nbytes, peak / values.nbytes


def test_a_thousand_points_are_their_cells(cells):
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 9, 1000), rng.integers(0, 7, 1000)
    places = [lonlat(int(r), int(c)) for r, c in zip(rows, cols, strict=True)]
    np.testing.assert_array_equal(
        cells.rsembed.sample(places).values, cells.values[:, rows, cols].T
    )


def test_sample_of_longitudes_that_run_to_360():
    values = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    array = grid_array(values, Grid("EPSG:4326", Affine(1, 0, 178, 0, -1, 2), (2, 4)), {})
    found = array.rsembed.sample([(-179.5, 1.5), (178.5, 0.5), (-177.5, 1.5)])
    np.testing.assert_array_equal(found.values[:, 0], [2, 4, np.nan])
