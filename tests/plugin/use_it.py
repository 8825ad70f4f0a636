"""Every door, walked through with the plug-in installed; run in a process of its own.

``python use_it.py FOLDER`` asserts what it sees and leaves its files in the folder.
"""

import sys
import threading
from pathlib import Path

import numpy as np
import rs_embed_plain
import xarray as xr

import rs_embed
from rs_embed import ModelChoice, OutputSpec, PointBuffer
from rs_embed.cli import main
from rs_embed.core.crs import project
from rs_embed.core.prepare import Windows
from rs_embed.core.registry import list_models
from rs_embed.embedders.catalog import MODEL_SPECS

GRID = OutputSpec.grid()


def place(east: float, buffer_m: float) -> PointBuffer:
    """A place whose pixels lie within one period of the source's slope."""
    lon, lat = project(east, 3_455_000.0, "EPSG:32651", "EPSG:4326")
    return PointBuffer(float(lon), float(lat), buffer_m)


PLACES = [place(552_000 + 2000 * i, 320.0 * (i + 1)) for i in range(3)]
WINDOWS = [4, 16, 36]


def slope(grid: xr.DataArray) -> np.ndarray:
    """What the cells must hold: the mean of a plane over a cell is its value in the middle."""
    x, y = grid.x.values % 1e4, grid.y.values % 1e4
    plane = x[None, :] / 1e5 + y[:, None] / 1e5
    return np.stack([plane / (i + 1) for i in range(3)])


def found_by_threads() -> None:
    """Threads that all look for the plug-in at once all find it."""
    found, ready = [], threading.Barrier(4)

    def look() -> None:
        ready.wait()
        found.append(rs_embed.get_embedding("plain", spatial=PLACES[0], backend="slope"))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4


def in_the_catalogue() -> None:
    assert MODEL_SPECS["plain"] is rs_embed_plain.MODEL
    assert "plain" in list(MODEL_SPECS)
    assert "plain" in list_models()


def one_place() -> None:
    for spot in PLACES:
        grid = rs_embed.get_embedding("plain", spatial=spot, backend="slope", output=GRID)
        cells = int(spot.buffer_m / 40)
        assert grid.data.shape == (3, cells, cells)
        np.testing.assert_allclose(grid.data.values, slope(grid.data), atol=1e-6)
        pooled = rs_embed.get_embedding(
            ModelChoice("plain", "means"), spatial=spot, backend="slope"
        )
        np.testing.assert_allclose(pooled.data, grid.data.values.mean(axis=(1, 2)), atol=1e-6)
        assert (grid.meta["model"], grid.meta["backend"]) == ("plain", "slope")


def many_places() -> None:
    """The model's batched encode gets windows of several places; each patch is fetched once."""
    sizes, fetch_window = [], []
    encode, fetch = rs_embed_plain.encode, rs_embed_plain.Slope.fetch
    rs_embed_plain.encode = lambda network, arrays, model: (
        sizes.append(len(arrays["pixels"])) or encode(network, arrays, model)
    )
    rs_embed_plain.Slope.fetch = lambda self, plan: (
        fetch_window.append(plan.fingerprint) or fetch(self, plan)
    )
    asked = [PLACES[i] for i in (2, 0, 1, 0)]
    batch = rs_embed.get_embeddings_batch(
        "plain", spatials=asked, backend="slope", output=GRID, batch_size=10
    )
    rs_embed_plain.encode, rs_embed_plain.Slope.fetch = encode, fetch
    assert sizes == [10] * 5 + [6]
    assert sum(sizes) == sum(WINDOWS)
    assert len(fetch_window) == len(set(fetch_window)) == 3
    for spot, one in zip(asked, batch, strict=True):
        assert one.data.shape[1] == spot.buffer_m / 40
        np.testing.assert_allclose(one.data.values, slope(one.data), atol=1e-6)


def source_argument() -> None:
    """What the caller passes as source= reaches the source and tells one content from another."""
    plans = {
        rs_embed.get_embedding("plain", spatial=PLACES[0], backend="slope", source=source).meta[
            "plan"
        ]
        for source in (None, "a", "b")
    }
    assert len(plans) == 3


def bare_model() -> None:
    loaded = rs_embed.load_model("plain")
    pixels = np.random.default_rng(0).random((2, 1, 3, 32, 32), dtype=np.float32)
    windows = Windows(pixels, ("B4", "B3", "B2"), ((), ()), np.zeros((2, 2)), 10.0)
    assert loaded.prepare(windows)["pixels"].shape == (2, 3, 32, 32)
    assert loaded.network is None
    assert loaded.device == "cpu"


def array() -> xr.DataArray:
    """What the source would give, as an array of the user's own, bands in another order."""
    x = 552_000 + 10 * np.arange(64) + 5.0
    y = 3_455_000 - 10 * np.arange(96) - 5.0
    plane = (x % 1e4)[None, :] / 1e5 + (y % 1e4)[:, None] / 1e5
    values = np.stack([plane / 3, plane / 2, plane]).astype("float32")
    coords = {"band": ["B2", "B3", "B4"], "y": y, "x": x}
    made = xr.DataArray(values, coords, ("band", "y", "x"), attrs={"units": "reflectance"})
    return made.rio.write_crs("EPSG:32651")


def accessor() -> None:
    made = array().rsembed.embed("plain")
    assert made.shape == (3, 12, 8)
    np.testing.assert_allclose(made.values, slope(made), atol=1e-6)
    pooled = array().rsembed.embed("plain", output=OutputSpec.pooled())
    np.testing.assert_allclose(np.asarray(pooled), made.values.mean(axis=(1, 2)), atol=1e-6)
    assert array().rsembed.check("plain").ok


def command_line(folder: Path) -> None:
    scene = array().assign_attrs(long_name=("B2", "B3", "B4"))
    scene.rio.to_raster(folder / "scene.tif")
    lon, lat = PLACES[0].lon, PLACES[0].lat
    for words in (
        ["models"],
        ["info", "plain"],
        ["embed", f"{lon},{lat}", "-m", "plain", "--backend", "slope", "--buffer-m", "320",
         "-o", str(folder / "place.npz")],
        ["embed", str(folder / "scene.tif"), "-m", "plain", "--units", "reflectance",
         "-o", str(folder / "scene.nc")],
    ):  # fmt: skip
        sys.argv = ["rs-embed", *words]
        code = None
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        assert not code, (words, code)
    from_place = np.load(folder / "place.npz", allow_pickle=False)
    assert any(from_place[name].shape == (3, 8, 8) for name in from_place.files)
    with xr.open_dataset(folder / "scene.nc") as written:
        assert any(one.shape == (3, 12, 8) for one in written.data_vars.values())


if __name__ == "__main__":
    import rioxarray  # noqa: F401  # registers .rio

    found_by_threads()
    in_the_catalogue()
    one_place()
    many_places()
    source_argument()
    bare_model()
    accessor()
    command_line(Path(sys.argv[1]))
    print("every door")
