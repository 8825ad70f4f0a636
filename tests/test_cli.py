"""The command line: what a person sees on a terminal, and what a pipe sees."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pexpect
import pytest
import rioxarray
import xarray as xr

import rs_embed

COMMAND = [sys.executable, "-m", "rs_embed"]
ENV = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}


def run(*arguments, cwd=None, code=0):
    """Standard output and standard error of a command in a pipe."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=ENV, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The bundled scene as a GeoTIFF with band names."""
    path = tmp_path_factory.mktemp("cli") / "scene.tif"
    array = rs_embed.sample_scene().isel(y=slice(0, 96), x=slice(0, 128))
    named = array.drop_attrs().assign_attrs(long_name=tuple(map(str, array.band.values)))
    named.drop_vars("band").rio.write_crs(array.rio.crs).rio.to_raster(path)
    return path


def test_models_and_info():
    out, _ = run("models")
    assert "mosaiks" in out
    out, _ = run("info", "mosaiks")
    for word in ("reflectance", "seed=0", "licence", "citation", "none needed"):
        assert word in out


def test_help_has_examples():
    out, _ = run("embed", "--help")
    assert "rs-embed embed scene.tif" in out
    out, _ = run("--help")
    for name in ("models", "info", "embed", "check", "weights", "verify", "demo"):
        assert name in out


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr", ".npz"])
def test_embed_writes_each_format(scene, tmp_path, suffix):
    target = tmp_path / f"grid{suffix}"
    out, err = run("embed", scene, "-m", "mosaiks", "--units", "reflectance_x10000", "-o", target)
    assert str(target) in out
    assert "\x1b" not in out + err, "a pipe gets no colours and no progress"
    want = rs_embed.sample_scene().isel(y=slice(0, 96), x=slice(0, 128)).rsembed.embed("mosaiks")
    if suffix == ".npz":
        with np.load(target) as stored:
            got = stored["embedding"]
    elif suffix == ".tif":
        with rioxarray.open_rasterio(target) as stored:
            got = stored.values
            assert stored.rio.transform() == want.rio.transform()
    else:
        engine = "zarr" if suffix == ".zarr" else "h5netcdf"
        with xr.open_dataset(target, engine=engine, decode_coords="all") as stored:
            got = stored["mosaiks"].values
            assert stored.rio.crs == want.rio.crs
    np.testing.assert_allclose(got, want.values, rtol=1e-6)


def test_embed_reads_netcdf_and_zarr(tmp_path):
    array = rs_embed.sample_scene().isel(y=slice(0, 64), x=slice(0, 64))
    data = array.to_dataset("band")
    for name, write in (("scene.nc", data.to_netcdf), ("scene.zarr", data.to_zarr)):
        options = {"engine": "h5netcdf"} if name.endswith("nc") else {"consolidated": False, "zarr_format": 2}
        write(tmp_path / name, **options)
        run("embed", tmp_path / name, "-m", "mosaiks", "--pooled", "-o", tmp_path / f"{name}.npz")
        with np.load(tmp_path / f"{name}.npz") as stored:
            assert stored["embedding"].shape == (512,)


def test_embed_a_place(tmp_path):
    target = tmp_path / "place.nc"
    run(
        "embed", "-67.645,-47.852", "-m", "mosaiks", "--backend", "sample", "--buffer-m", "320",
        "-o", target,
    )  # fmt: skip
    with xr.open_dataset(target, engine="h5netcdf") as stored:
        assert stored["mosaiks"].shape == (512, 8, 8)


def test_check_tells_problems_by_exit_code(scene, tmp_path):
    out, _ = run("check", scene, "-m", "mosaiks", "--units", "reflectance_x10000")
    assert "window" in out
    unnamed = tmp_path / "unnamed.tif"
    with rioxarray.open_rasterio(scene) as stored:
        stored.drop_attrs().isel(band=[0]).rio.write_crs(stored.rio.crs).rio.to_raster(unnamed)
    out, _ = run("check", unnamed, "-m", "mosaiks", code=1)
    assert "band" in out


def test_an_error_is_one_line(tmp_path):
    _, err = run("info", "mosaik", code=1)
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert "mosaiks" in err
    _, err = run("embed", tmp_path / "no.tif", "-m", "mosaiks", code=1)
    assert len(err.strip().splitlines()) == 1
    _, err = run("embed", "1,2", "-m", "mosaiks", "-o", "x.doc", code=1)
    assert ".npz" in err


def test_debug_shows_the_trace():
    _, err = run("info", "mosaik", "--debug", code=1)
    assert "Traceback" in err
    assert "ModelError" in err


def test_wrong_usage_is_exit_code_2():
    _, err = run("embed", code=2)
    assert "Missing" in err


def test_options_reach_the_model(scene, tmp_path):
    target = tmp_path / "fine.nc"
    run(
        "embed", scene, "-m", "mosaiks", "--units", "reflectance_x10000",
        "--option", "token_px=16", "-o", target,
    )  # fmt: skip
    with xr.open_dataset(target, engine="h5netcdf") as stored:
        assert stored["mosaiks"].shape == (512, 6, 8)
    _, err = run("embed", scene, "-m", "mosaiks", "--option", "token=16", code=1)
    assert "token_px" in err


def test_weights_list_names_every_variant():
    out, _ = run("weights", "list")
    assert "mosaiks:512" in out
    assert "needs none" in out


def test_weights_verify_says_what_is_missing(tmp_path):
    env_home = {**ENV, "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [*COMMAND, "weights", "verify", "galileo:nano"], env=env_home, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "rs-embed weights fetch galileo:nano" in done.stderr


def test_verify_prints_a_line_a_fixture():
    out, _ = run("verify", "galileo")
    assert out.count("ok") >= 2
    assert "largest difference" in out


def test_version_and_completion():
    out, _ = run("--version")
    assert out.strip() == f"rs-embed {rs_embed.__version__}"
    done = subprocess.run(
        [*COMMAND], env={**ENV, "_RS_EMBED_COMPLETE": "source_bash"}, capture_output=True, text=True
    )
    assert "complete" in done.stdout


def test_a_terminal_gets_progress_and_colour(tmp_path):
    child = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "demo", "--out", str(tmp_path / "demo"), "--no-pictures"],
        env=ENV, encoding="utf-8", timeout=120, dimensions=(30, 120),
    )  # fmt: skip
    child.expect(pexpect.EOF)
    seen = child.before
    child.close()
    assert child.exitstatus == 0, seen
    assert "mosaiks over Patagonia" in seen
    assert "embedding.tif" in seen


def test_ctrl_c_is_clean(tmp_path):
    """Interrupted anywhere, the command says one word, leaves no half file, exits with 130."""
    big = xr.DataArray(
        np.ones((6, 3000, 3000), dtype="float32"), dims=("band", "y", "x"),
        coords={
            "band": ["B2", "B3", "B4", "B8", "B11", "B12"],
            "y": 5_000_000 - 10.0 * np.arange(3000), "x": 500_000 + 10.0 * np.arange(3000),
        },
    ).rio.write_crs("EPSG:32631")  # fmt: skip
    big.to_dataset("band").to_netcdf(tmp_path / "big.nc", engine="h5netcdf")
    process = subprocess.Popen(
        [*COMMAND, "embed", tmp_path / "big.nc", "-m", "mosaiks:4096", "--units", "reflectance",
         "-o", tmp_path / "big_out.nc"],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.nc"]
