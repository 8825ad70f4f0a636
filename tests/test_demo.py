"""The demo: its files open, lie where the scene lies, and show what is on the ground."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray
import xarray as xr

import rs_embed
from rs_embed.cli.demo import CLASSES, MODEL, run_demo

ROOT = Path(__file__).parent.parent
IMAGERY = ROOT.parent / "shared" / "imagery"
STEP = 4  # pixels a side of a cell of the demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    seen = []
    written = dict(run_demo(folder, progress=lambda done, total: seen.append((done, total))))
    assert seen[-1][0] == seen[-1][1] > 1, "progress ends at its total"
    return folder, written


@pytest.fixture(scope="module")
def cells():
    """Mean reflectance of each cell of 40 m, by band."""
    scene = rs_embed.sample_scene().astype("float32") / 1e4
    means = scene.coarsen(y=STEP, x=STEP, boundary="exact").mean()
    return {str(band): means.sel(band=band).values for band in means.band.values}


def test_every_file_is_told_and_opens(demo):
    folder, written = demo
    names = {"embedding.tif", "embedding.nc", "classes.tif", "components.png", "classes.png"}
    assert {path.name for path in written} == {path.name for path in folder.iterdir()} == names
    assert all(written.values())
    want = rs_embed.sample_scene().rsembed.embed(MODEL)
    with rioxarray.open_rasterio(folder / "embedding.tif") as cog:
        np.testing.assert_array_equal(cog.values, want.values)
    with xr.open_dataset(folder / "embedding.nc", engine="h5netcdf", decode_coords="all") as stored:
        np.testing.assert_array_equal(stored["mosaiks"].values, want.values)
    from matplotlib.image import imread

    for name in ("components.png", "classes.png"):
        picture = imread(folder / name)[..., :3]
        assert picture.shape[1] > 1000
        assert picture.std() > 0.1, "a picture is not blank"


def test_georeference_is_the_scenes_own(demo):
    folder, _ = demo
    scene = rs_embed.sample_scene()
    for name in ("embedding.tif", "classes.tif"):
        with rioxarray.open_rasterio(folder / name) as stored:
            assert stored.rio.crs == scene.rio.crs
            assert stored.rio.bounds() == scene.rio.bounds()
            assert stored.rio.resolution() == (10 * STEP, -10 * STEP)
    with xr.open_dataset(folder / "embedding.nc", engine="h5netcdf", decode_coords="all") as stored:
        assert stored.rio.crs == scene.rio.crs
        assert stored.rio.bounds() == scene.rio.bounds()


def test_clusters_agree_with_band_thresholds(demo, cells):
    """k-means of the embedding and classes of simple thresholds find the same ground."""
    folder, _ = demo
    with rioxarray.open_rasterio(folder / "classes.tif") as stored:
        clusters = stored.values[0].astype(int).ravel()
    assert set(clusters) == set(range(CLASSES))
    classes = ground_classes(cells).ravel()
    assert np.bincount(classes, minlength=4).min() > 0.05 * classes.size, "no class is empty"
    found = adjusted_rand(classes, clusters)
    rng = np.random.default_rng(0)
    chance = [adjusted_rand(classes, rng.permutation(clusters)) for _ in range(200)]
    assert max(chance) < 0.02
    assert found > 0.25
    assert found > 20 * max(chance)


def test_the_greenest_cluster_is_the_vegetation(demo, cells):
    """One cluster holds most of the cells whose NDVI stands out, and little else."""
    folder, _ = demo
    with rioxarray.open_rasterio(folder / "classes.tif") as stored:
        clusters = stored.values[0]
    green = ndvi(cells) > 0.11
    inside = [float(green[clusters == k].mean()) for k in range(CLASSES)]
    best = int(np.argmax(inside))
    assert inside[best] > 0.25
    assert inside[best] > 5 * max(v for k, v in enumerate(inside) if k != best)
    assert (clusters[green] == best).mean() > 0.6


def test_the_scene_holds_no_water(cells):
    """Why no class of the demo is water; the flooded scene below has it."""
    ndwi = (cells["B3"] - cells["B8"]) / (cells["B3"] + cells["B8"])
    assert ndwi.max() < 0


@pytest.mark.shared
@pytest.mark.skipif(not IMAGERY.is_dir(), reason="the larger sets are not beside the checkout")
def test_water_is_told_from_land_in_a_flood():
    """On a flooded plain, clusters of the embedding agree with a hand-drawn mask."""
    with rioxarray.open_rasterio(IMAGERY / "spain_20190918_s2_l1c.tif") as scene:
        grid = scene.load().rsembed.embed(MODEL, units="reflectance_x10000")
    with rioxarray.open_rasterio(IMAGERY / "spain_20190918_water_label.tif") as stored:
        label = stored.load().squeeze("band", drop=True)
    mask = label.where(label >= 0).astype("float32").rio.write_nodata(np.nan)
    target = grid.isel(feature=0, drop=True)
    share = mask.rio.reproject_match(target, resampling=5).values  # 5 averages
    clusters = grid.rsembed.kmeans(CLASSES).values
    clear = np.isfinite(share) & (clusters >= 0) & ((share < 0.1) | (share > 0.9))
    wet = share > 0.5
    watery = [wet[clear & (clusters == k)].mean() > 0.5 for k in range(CLASSES)]
    agreement = float((np.array(watery)[clusters] == wet)[clear].mean())
    majority = float(max(wet[clear].mean(), 1 - wet[clear].mean()))
    assert clear.mean() > 0.6
    assert majority < 0.85
    assert agreement > 0.95


def test_pictures_of_the_documentation_are_the_demos_own(demo):
    """`python docs/generate.py` draws them; a new run gives the same pictures."""
    from matplotlib.image import imread

    folder, _ = demo
    for name in ("components.png", "classes.png"):  # those for a narrow screen: the same panels
        fresh, kept = imread(folder / name), imread(ROOT / "docs" / "assets" / name)
        assert fresh.shape == kept.shape
        # Another version of matplotlib draws letters a little differently, and nothing else.
        assert np.abs(fresh - kept).mean() < 0.01


def ndvi(cells):
    return (cells["B8"] - cells["B4"]) / (cells["B8"] + cells["B4"])


def ground_classes(cells):
    """Plain steppe 0, dark slopes 1, bright dry ground 2, vegetation 3."""
    classes = np.zeros(cells["B8"].shape, dtype=int)
    classes[cells["B8"] < 0.15] = 1
    classes[cells["B11"] > 0.22] = 2
    classes[ndvi(cells) > 0.10] = 3
    return classes


def adjusted_rand(first, second):
    """Agreement of two partitions: 1 where equal, 0 as by chance (Hubert & Arabie 1985)."""
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)

    def pairs(counts):
        return float((counts * (counts - 1) / 2).sum())

    rows, columns = pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / pairs(np.array([first.size]))
    return (pairs(table) - expected) / ((rows + columns) / 2 - expected)
