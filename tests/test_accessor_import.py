"""What importing the package does, and does not."""

from __future__ import annotations

import subprocess
import sys

FRESH = """
import sys
import rs_embed
heavy = {"torch", "timm", "ee", "rasterio", "rioxarray", "dask", "matplotlib", "pyproj"}
print(" ".join(sorted(heavy & set(sys.modules))))
import xarray as xr
assert isinstance(xr.DataArray(0).rsembed, rs_embed.accessors.DataArrayAccessor)
assert isinstance(xr.Dataset().rsembed, rs_embed.accessors.DatasetAccessor)
print(" ".join(sorted({"torch", "timm", "ee", "rasterio"} & set(sys.modules))))
"""


def test_import_registers_the_accessors_and_loads_nothing_heavy():
    bare = "import sys, xarray; print(' '.join(sys.modules))"
    with_xarray = set(_run(bare).split())
    loaded, later = _run(FRESH).split("\n")[:2]
    # dask comes with xarray itself where it is installed.
    assert set(loaded.split()) <= with_xarray & {"dask"}
    assert later == ""


def test_looking_at_an_array_loads_no_torch():
    code = """
import sys, numpy as np, xarray as xr, rs_embed
array = xr.DataArray(
    np.ones((3, 16, 16)), dims=("band", "y", "x"),
    coords={"band": ["B4", "B3", "B2"], "y": -10.0 * np.arange(16), "x": 10.0 * np.arange(16)},
    attrs={"units": "reflectance", "crs": "EPSG:32631"},
)
choice = rs_embed.ModelChoice("mosaiks", modality="s2_rgb")
assert array.rsembed.check(choice).ok
array.rsembed.embed(choice)
for model in ("prithvi", "remoteclip"):
    array.rsembed.check(model)
print(" ".join(sorted({"torch", "timm", "ee"} & set(sys.modules))))
"""
    assert _run(code).strip() == ""


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
