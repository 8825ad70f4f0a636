"""The command line: its words, its results, its errors; a terminal and a pipe see their own."""

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pexpect
import pytest
import rioxarray
import xarray as xr

import rs_embed
from rs_embed.cli.app import run as command

PROGRAM = [sys.executable, "-m", "rs_embed"]
ENV = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}
DN = "reflectance_x10000"


@pytest.fixture
def call(monkeypatch, capfd):
    """Standard output and standard error of a command in this process, and its exit code."""

    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["rs-embed", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            command()
        out, err = capfd.readouterr()
        assert left.value.code == code, err
        return out, err

    return run


def piped(*words, code=0, **environment):
    """The same in a process of its own, with pipes at both ends."""
    done = subprocess.run(
        [*PROGRAM, *map(str, words)],
        env={**ENV, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def terminal(*words, **environment):
    """The same on a pseudo-terminal of 30 lines and 100 columns."""
    return pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], *map(str, words)],
        env={**ENV, **environment}, encoding="utf-8", timeout=120, dimensions=(30, 100),
    )  # fmt: skip


@pytest.fixture(scope="module")
def pixels():
    return rs_embed.sample_scene().isel(y=slice(0, 96), x=slice(0, 128))


@pytest.fixture(scope="module")
def scene(pixels, tmp_path_factory):
    """A part of the bundled scene as a GeoTIFF with band names."""
    path = tmp_path_factory.mktemp("cli") / "scene.tif"
    named = pixels.drop_attrs().assign_attrs(long_name=tuple(map(str, pixels.band.values)))
    named.drop_vars("band").rio.write_crs(pixels.rio.crs).rio.to_raster(path)
    return path


# What is told


def test_models_are_listed_with_their_default_variant(call):
    out, _ = call("models")
    head, *rows = [line.split("\t") for line in out.splitlines()]
    assert head[:2] == ["model", "variants"]
    told = {row[0]: row for row in rows}
    assert told["mosaiks"][1] == "512*, 1024, 4096"
    assert told["mosaiks"][-1] == "numpy"
    assert all(len(row) == len(head) for row in rows)


def test_info_tells_all_of_a_model(call):
    out, _ = call("info", "mosaiks")
    for word in ("reflectance", "seed=0", "licence", "citation", "none needed", "s2_rgb"):
        assert word in out
    out, _ = call("info", "galileo:nano")
    assert re.search(r"variant +nano \(others: tiny, base\)", out)
    for word in ("SHA-256", "rs-embed weights fetch", "arXiv"):
        assert word in out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), ("models", "info", "embed", "check", "weights", "verify", "demo", "--debug", "130")),
        (("embed",), ("rs-embed embed scene.tif -m mosaiks -o grid.tif", "--units", "--overlap")),
        (("check",), ("rs-embed check scene.tif -m galileo",)),
        (("info",), ("rs-embed info prithvi",)),
        (("verify",), ("rs-embed verify galileo",)),
        (("demo",), ("rs-embed demo --out",)),
        (("weights",), ("list", "fetch", "verify")),
        (("weights", "fetch"), ("rs-embed weights fetch",)),
    ],
    ids=lambda words: " ".join(words) if words and len(words) < 3 else "",
)
def test_help_shows_examples(call, words, wanted):
    out, _ = call(*words, "--help")
    plain = " ".join(out.split())
    assert all(word in plain for word in wanted)


def test_version(call):
    out, _ = call("--version")
    assert out == f"rs-embed {rs_embed.__version__}\n"


# Embedding


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr", ".npz"])
def test_embed_writes_each_format(call, scene, pixels, tmp_path, suffix):
    target = tmp_path / f"grid{suffix}"
    out, _ = call("embed", scene, "-m", "mosaiks", "--units", DN, "-o", target)
    assert out == f"{target}  mosaiks:512, 512 x 12 x 16 float32\n"
    want = pixels.rsembed.embed("mosaiks")
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


def test_embed_reads_netcdf_and_zarr(call, pixels, tmp_path):
    data = pixels.isel(y=slice(0, 64), x=slice(0, 64)).to_dataset("band")
    data.to_netcdf(tmp_path / "scene.nc", engine="h5netcdf")
    data.to_zarr(tmp_path / "scene.zarr", consolidated=False, zarr_format=2)
    want = data.rsembed.embed("mosaiks", units=DN, output=rs_embed.OutputSpec.pooled("max"))
    for name in ("scene.nc", "scene.zarr"):
        target = tmp_path / f"{name}.npz"
        words = ("embed", tmp_path / name, "-m", "mosaiks", "--units", DN, "-o", target)
        call(*words, "--pooled", "--pooling", "max")
        with np.load(target) as stored:
            np.testing.assert_allclose(stored["embedding"], want.values, rtol=1e-6)


def test_embed_a_place_west_of_greenwich(call, tmp_path):
    target = tmp_path / "place.nc"
    place = "-67.645,-47.852"
    call("embed", place, "-m", "mosaiks", "--backend", "sample", "--buffer-m", "320", "-o", target)
    want = rs_embed.get_embedding(
        "mosaiks", spatial=rs_embed.PointBuffer(-67.645, -47.852, 320), backend="sample",
        output=rs_embed.OutputSpec.grid(),
    )  # fmt: skip
    with xr.open_dataset(target, engine="h5netcdf") as stored:
        np.testing.assert_array_equal(stored["mosaiks"].values, want.data.values)


def test_options_modality_and_overlap_reach_the_model(call, scene, pixels, tmp_path):
    target = tmp_path / "fine.nc"
    call(
        "embed", scene, "-m", "mosaiks:1024", "--units", DN, "--option", "token_px=16",
        "--modality", "s2_rgb", "--overlap", "2", "--batch-size", "3", "-o", target,
    )  # fmt: skip
    choice = rs_embed.ModelChoice("mosaiks", "1024", "s2_rgb", {"token_px": 16})
    want = pixels.rsembed.embed(choice, overlap=2)
    with xr.open_dataset(target, engine="h5netcdf") as stored:
        # Another batch size rounds otherwise.
        np.testing.assert_allclose(stored["mosaiks"].values, want.values, rtol=1e-5, atol=1e-8)


def test_unnamed_bands_are_named_and_stood_in_for(call, pixels, tmp_path):
    bare = tmp_path / "bare.tif"
    pixels.drop_attrs().drop_vars("band").rio.write_crs(pixels.rio.crs).rio.to_raster(bare)
    words = ("embed", bare, "-m", "mosaiks", "--units", DN)
    _, err = call(*words, "-o", tmp_path / "a.npz", code=1)
    assert "band" in err
    call(*words, "--bands", "B2,B3,B4,B8,B11,B12", "-o", tmp_path / "a.npz")
    named = pixels.isel(band=[0, 1, 2, 3, 4]).to_dataset("band")
    named.to_netcdf(tmp_path / "five.nc", engine="h5netcdf")
    words = ("embed", tmp_path / "five.nc", "-m", "mosaiks", "--units", DN)
    call(*words, "--bands", "B12=B11", "-o", tmp_path / "b.npz")
    want = pixels.isel(band=[0, 1, 2, 3, 4, 4]).assign_coords(band=pixels.band)
    with np.load(tmp_path / "a.npz") as stored:
        np.testing.assert_allclose(
            stored["embedding"], pixels.rsembed.embed("mosaiks").values, rtol=1e-6
        )
    with np.load(tmp_path / "b.npz") as stored:
        np.testing.assert_allclose(
            stored["embedding"], want.rsembed.embed("mosaiks", units=DN).values, rtol=1e-6
        )


def test_check_tells_problems_by_exit_code(call, scene, tmp_path):
    out, _ = call("check", scene, "-m", "mosaiks", "--units", DN)
    assert "ready" in out
    assert "512 x 12 x 16" in out
    out, _ = call("check", scene, "-m", "prithvi", "--units", DN, code=1)
    assert "not ready" in out
    assert "B8A" in out
    _, err = call("embed", scene, "-m", "prithvi", "--units", DN, "-o", tmp_path / "x.nc", code=1)
    assert err.rstrip().endswith("(in a shell: --bands WANTED=HAVE)")
    out, _ = call("check", scene, "-m", "prithvi", "--units", DN, "--bands", "B8A=B8")
    assert "B8A = B8" in out


# Errors

OF_USAGE = ("NAME=VALUE", "--end", "--pooled", "a raster", "LON,LAT")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("info", "mosaik"), "mosaiks"),
        (("embed", "no.tif", "-m", "mosaiks"), "no.tif"),
        (("embed", "1,2", "-m", "mosaiks", "-o", "x.doc"), ".npz"),
        (("embed", "1,2", "-m", "mosaiks", "--pooled", "-o", "x.tif"), ".npz"),
        (("embed", "1,2", "-m", "mosaiks", "--option", "token=16"), "token_px"),
        (("embed", "1,2", "-m", "mosaiks", "--option", "token_px=many"), "int"),
        (("embed", "1,2", "-m", "mosaiks", "--option", "16"), "NAME=VALUE"),
        (("embed", "1,2", "-m", "mosaiks", "--start", "2022-01-01"), "--end"),
        (("embed", "1,2", "-m", "mosaiks", "--pooling", "max"), "--pooled"),
        (("embed", "1,2", "-m", "mosaiks", "--bands", "B8A=B8"), "a raster"),
        (("embed", "x.tif", "-m", "mosaiks", "--backend", "gee"), "LON,LAT"),
        (("embed", "1,2", "-m", "mosaiks", "--backend", "moon"), "sample"),
        (("embed", "1,2", "-m", "mosaiks", "--backend", "sample"), "outside the source"),
        (("embed", "1,2", "-m", "mosaiks", "--backend", "memory"), "--start and --end"),
        (("verify", "mosaiks"), "mosaiks"),
        (("verify", "galileo", "--fixtures", "/nowhere"), "--fixtures"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_an_error_is_one_line_that_says_what_to_do(call, words, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, err = call(*words, code=2 if wanted in OF_USAGE else 1)
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert wanted in err
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_debug_shows_the_trace_wherever_it_stands():
    for words in (("info", "mosaik", "--debug"), ("--debug", "info", "mosaik")):
        _, err = piped(*words, code=1)
        assert "Traceback" in err
        assert "ModelError" in err


@pytest.mark.parametrize(
    "words",
    [
        ("embed",),
        ("nonsense",),
        ("models", "--all"),
        ("info",),
        ("embed", "1,2", "-m", "mosaiks", "--time", "never"),
        ("embed", "1,2", "-m", "mosaiks", "--input-prep", "stretch"),
        ("embed", "1,2", "-m", "mosaiks", "--pooled", "--pooling", "median"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(call, words):
    _, err = call(*words, code=2)
    assert "Usage" in err


# Weights


def test_weights_list_names_every_variant(call):
    out, _ = call("weights", "list")
    rows = {line.split("\t")[0]: line.split("\t") for line in out.splitlines()}
    from rs_embed.embedders.catalog import MODEL_SPECS

    names = {f"{s.id}:{v.name}" for s in MODEL_SPECS.values() for v in s.variants}
    assert set(rows) == names | {"weights"}
    assert rows["mosaiks:512"][1] == "needs none"


def test_verify_prints_a_line_a_fixture(call):
    from rs_embed.parity import DATA, fixtures_of

    out, _ = call("verify", "prithvi")
    lines = out.splitlines()
    assert len(lines) == len(fixtures_of("prithvi_eo_v2_s2_6b", DATA)) >= 5
    assert all(re.match(r"ok    \S+  largest difference \d\.\de-\d\d, \d+% of", x) for x in lines)


def test_verify_fails_where_a_number_is_off(call, tmp_path):
    import json

    from rs_embed.parity import DATA

    data = json.loads((DATA / "prithvi_eo_v2_s2_6b-tiny.json").read_text())
    first = next(iter(data["outputs"].values()))
    first["values"][0] += 1e-3
    (tmp_path / "off.json").write_text(json.dumps(data))
    out, _ = call("verify", "prithvi", "--fixtures", tmp_path, code=1)
    assert out.startswith("FAIL  off  largest difference 1.0e-03")


# Processes of their own: pipes, terminals, interruptions


def test_a_pipe_gets_no_colours_and_no_progress(scene, tmp_path):
    target = tmp_path / "grid.npz"
    out, err = piped("embed", scene, "-m", "mosaiks", "--units", DN, "-o", target)
    assert out == f"{target}  mosaiks:512, 512 x 12 x 16 float32\n"
    assert err == ""


def test_a_reader_that_leaves_is_no_error():
    """As `head` does: nothing on standard error, whenever it leaves."""
    script = f"{' '.join(PROGRAM)} weights list | head -c 1"
    done = subprocess.run(
        ["bash", "-c", script], env=ENV, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("w", "")
    process = subprocess.Popen(
        [*PROGRAM, "models"], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


def test_a_terminal_gets_progress_and_colour(scene, tmp_path):
    target = tmp_path / "grid.npz"
    child = terminal("embed", scene, "-m", "mosaiks", "--units", DN, "-o", target)
    child.expect(pexpect.EOF)
    seen = child.before
    child.close()
    assert child.exitstatus == 0, seen
    assert "windows" in seen
    assert "\x1b[" in seen
    assert str(target.name) in seen
    child = terminal("models")
    child.expect(pexpect.EOF)
    assert "\x1b[1m" in child.before
    assert "\t" not in child.before
    widest = max(len(re.sub(r"\x1b\[[0-9;]*m", "", x).rstrip()) for x in child.before.splitlines())
    assert widest <= 100


WAITING = """
import sys, threading
from dataclasses import replace
from rs_embed.cli import main
from rs_embed.embedders.catalog import add_model
from rs_embed.embedders.families import mosaiks

def encode(network, arrays, model, seen=[]):
    seen.append(1)
    if len(seen) > 2:
        threading.Event().wait()
    return mosaiks.encode(network, arrays, model)

spec = replace(mosaiks.SPEC, id="waits", aliases=(), encode="__main__:encode")
add_model(spec).unwrap()
main()
"""
"""``rs-embed`` with a model that runs two windows and then never ends."""


def test_ctrl_c_on_a_terminal_is_clean(pixels, tmp_path):
    """One word, no trace, no half file, exit code 130; the run cannot end before it."""
    (tmp_path / "in").mkdir()
    pixels.to_dataset("band").to_netcdf(tmp_path / "in" / "scene.nc", engine="h5netcdf")
    out = tmp_path / "out"
    words = ("embed", tmp_path / "in" / "scene.nc", "-m", "waits", "--units", DN)
    words += ("--batch-size", "1", "--option", "window_px=32", "-o", out / "a.nc")
    child = pexpect.spawn(
        sys.executable, ["-c", WAITING, *map(str, words)],
        env=ENV, encoding="utf-8", timeout=120, dimensions=(30, 100),
    )  # fmt: skip
    child.expect(r"2/\d+")
    child.sendintr()
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    assert "Traceback" not in child.before
    child.close()
    assert child.exitstatus == 130
    assert not out.exists()


def test_an_interrupt_that_a_library_swallows_is_not_lost():
    from rs_embed.cli import console, interrupts

    before = signal.getsignal(signal.SIGINT)
    try:
        interrupts.watch()
        with console.progress("x") as report:
            report(1, 2)
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)  # as a reader of netCDF does
            assert interrupts.came()
            with pytest.raises(KeyboardInterrupt):
                report(2, 2)
    finally:
        interrupts.watch()
        signal.signal(signal.SIGINT, before)
    assert not interrupts.came()


def test_an_output_that_is_closed_is_quiet():
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(PROGRAM)} models >&- 2>/dev/null"], env=ENV, timeout=120
    )
    assert done.returncode == 0


def test_no_variant_is_broken_across_lines():
    child = pexpect.spawn(
        PROGRAM[0], [*PROGRAM[1:], "models"],
        env={**ENV, "COLUMNS": "80"}, encoding="utf-8", timeout=120, dimensions=(30, 80),
    )  # fmt: skip
    child.expect(pexpect.EOF)
    words = re.sub(r"\x1b\[[0-9;]*m", "", child.before).split()
    from rs_embed.embedders.catalog import MODEL_SPECS

    own = [spec for spec in MODEL_SPECS.values() if (spec.module or "").startswith("rs_embed.")]
    assert len(own) > 15  # other tests register toys in this process
    for spec in own:
        assert spec.id in words
        for variant in spec.variants:
            assert {f"{variant.name}{end}" for end in ("", ",", "*", "*,")} & set(words)


def test_models_that_fit_a_raster_are_told(call, scene, pixels):
    out, _ = call("models", "--for", scene, "--units", DN)
    head, *rows = [line.split("\t") for line in out.splitlines()]
    assert head == ["model", "fits", "why not"]
    told = {row[0]: row[1:] for row in rows}
    assert told["mosaiks"] == ["yes", ""]
    assert told["remoteclip_s2rgb"] == ["yes", ""]
    assert told["prithvi_eo_v2_s2_6b"][0] == "no"
    assert "B8A" in told["prithvi_eo_v2_s2_6b"][1]
    fits = {one.model: one for one in rs_embed.models_for(pixels, units=DN)}
    assert {name for name, one in fits.items() if one.fits} == {
        name for name, row in told.items() if row[0] == "yes"
    }
    assert fits["mosaiks"].modality == "s2"
    call("models", "--units", DN, code=2)


def test_what_is_no_single_raster_is_told_with_a_remedy(call, scene, tmp_path):
    import shutil

    safe = tmp_path / "S2A_MSIL2A.SAFE"
    safe.mkdir()
    shutil.copy(scene, safe / "T19_B02_10m.tif")
    _, err = call("check", safe, "-m", "mosaiks", code=1)
    for word in ("T19_B02_10m.tif", "xr.concat", "odc.stac.load"):
        assert word in err
    _, err = call("check", "https://example.org/scene.tif", "-m", "mosaiks", code=1)
    assert "open_rasterio(url)" in err


def test_completion_in_a_real_shell(tmp_path):
    """Installed by the command itself, then asked for with the tab key."""
    shim = tmp_path / "bin" / "rs-embed"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    shim.chmod(0o755)
    here = {"HOME": str(tmp_path), "PATH": f"{shim.parent}:{ENV['PATH']}", "PS1": "$ "}
    shell = pexpect.spawn(
        "bash", ["--norc", "-i"],
        env={**ENV, **here}, encoding="utf-8", timeout=60, dimensions=(40, 160),
    )  # fmt: skip
    shell.sendline("rs-embed --install-completion && . ~/.bashrc && echo re''ady")
    shell.expect_exact("completion installed")
    shell.expect_exact("ready")
    shell.send("rs-embed weig\t")
    shell.expect_exact("weights ")
    shell.send("fet\t")
    shell.expect_exact("fetch ")
    shell.send("prith\t")
    shell.expect_exact("prithvi_eo_v2_s2_6b")
    shell.close(force=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_and_answers(shell):
    out, _ = piped(_RS_EMBED_COMPLETE=f"source_{shell}")
    assert "_RS_EMBED_COMPLETE" in out
    words = "rs-embed info galileo:"
    asked = {"COMP_WORDS": words, "COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": words}
    if shell == "fish":
        asked["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    out, _ = piped(_RS_EMBED_COMPLETE=f"complete_{shell}", **asked)
    assert all(
        f"galileo:{variant}" in out.replace("\\", "") for variant in ("nano", "tiny", "base")
    )


# A hub on this machine


def toy_program(record):
    """``rs-embed`` with one more model in its catalogue, whose weights are the record's."""
    program = (
        "from dataclasses import replace\n"
        "from rs_embed.core.model import Variant, WeightRecord\n"
        "from rs_embed.embedders.families import mosaiks\n"
        "from rs_embed.embedders.catalog import add_model\n"
        f"one = Variant('one', 8, weights=WeightRecord(**{record!r}))\n"
        "add_model(replace(mosaiks.SPEC, id='toy', variants=(one,), default_variant='one'))\n"
        "from rs_embed.cli import main; main()\n"
    )
    return [sys.executable, "-c", program]


def hub_environment(served, paths, home):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE_"))}
    local = "127.0.0.1,localhost"
    own = {"HF_ENDPOINT": served.url, "HF_HOME": str(home), "TERM": "xterm"}
    return kept | paths | own | {"NO_PROXY": local, "no_proxy": local}


@pytest.fixture
def hub():
    """A hub with a small file and one that says it is huge; a program that wants the first."""
    from tests.hub import CHECKOUT, serve

    body = bytes(range(256)) * 4096
    commit = "c" * 40
    record = {
        "filename": "lfs/net.bin", "repo": "own/net", "revision": commit,
        "sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "licence": "MIT",
    }  # fmt: skip
    files = {"own/net/lfs/net.bin": body, "own/net/lfs/huge.bin": body[:4096]}
    with serve(files, commit=commit) as served:
        yield served, toy_program(record), {"PYTHONPATH": str(CHECKOUT)}, record


def test_weights_are_fetched_listed_and_verified(hub, tmp_path):
    served, program, paths, record = hub
    env = hub_environment(served, paths, tmp_path)

    def done(*words):
        return subprocess.run(
            [*program, *words], env=env, capture_output=True, text=True, timeout=120
        )

    missing = done("weights", "verify", "toy")
    assert missing.returncode == 1
    assert "rs-embed weights fetch toy:one" in missing.stderr
    child = pexpect.spawn(
        program[0], [*program[1:], "weights", "fetch", "toy"], env=env, encoding="utf-8",
        timeout=120, dimensions=(30, 200),
    )  # fmt: skip
    child.expect(pexpect.EOF)
    seen = child.before
    child.close()
    assert child.exitstatus == 0, seen
    assert "net.bin" in seen
    assert "%" in seen, "a terminal gets the download's progress"
    assert record["sha256"] in seen
    assert "toy:one\t1.0 MB\trevision, SHA-256\tyes" in done("weights", "list").stdout
    requests = len(served.requests())
    again = done("weights", "fetch", "toy")
    assert again.returncode == 0
    assert again.stderr == "", "a pipe gets no progress"
    assert len(served.requests()) == requests, "what is here is not asked for again"
    verified = done("weights", "verify", "toy")
    assert "these are the published bytes" in verified.stdout
    blob = next((tmp_path / "hub").rglob(f"blobs/{record['sha256']}"))
    blob.write_bytes(b"x" * record["size"])
    damaged = done("weights", "verify", "toy")
    assert damaged.returncode == 1
    assert "damaged" in damaged.stderr
    assert len(damaged.stderr.splitlines()) == 1


def test_a_large_download_is_asked_for(hub, tmp_path):
    """Over 2 GB: a question on a terminal, an error that names --yes in a pipe; nothing fetched."""
    served, _, paths, _ = hub
    record = {"filename": "lfs/huge.bin", "repo": "own/net", "revision": "c" * 40}
    program = toy_program(record)
    env = hub_environment(served, paths, tmp_path)
    piped = subprocess.run(
        [*program, "weights", "fetch", "toy"], env=env, capture_output=True, text=True, timeout=120
    )
    assert piped.returncode == 1
    assert "rs-embed weights fetch toy:one --yes" in piped.stderr
    child = pexpect.spawn(
        program[0], [*program[1:], "weights", "fetch", "toy"], env=env, encoding="utf-8",
        timeout=120, dimensions=(30, 200),
    )  # fmt: skip
    child.expect(r"3\.0 GB\. Download it\? \[y/N\] ")
    child.sendline("n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert "without consent" in child.before
    assert not any(line.startswith("GET") and "/blobs/" in line for line in served.requests())


def test_a_crs_may_say_that_it_overrides_the_rasters_own():
    from rs_embed.cli.work import _crs

    assert _crs("override=EPSG:32719") == ("override", "EPSG:32719")
    assert _crs("EPSG:32719") == "EPSG:32719"
    assert _crs("+proj=utm +zone=19 +south") == "+proj=utm +zone=19 +south"
    assert _crs(None) is None
