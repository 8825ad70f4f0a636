"""What an installation of the core alone must be: run away from the checkout."""

import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import rs_embed

site = Path(sysconfig.get_paths()["purelib"])
heavy = {"torch", "timm", "ee", "rasterio", "matplotlib", "dask"} & set(sys.modules)
packages = sorted({d.metadata["Name"].lower() for d in distributions()} - {"pip", "setuptools"})
megabytes = sum(f.stat().st_size for f in site.rglob("*") if f.is_file()) / 1e6

assert Path(rs_embed.__file__).is_relative_to(site), rs_embed.__file__
assert not heavy, f"import rs_embed loaded {heavy}"
assert not (site / "accessors").exists(), "a package called accessors was installed"
assert (site / "rs_embed" / "accessors" / "__init__.py").is_file()
assert (site / "rs_embed" / "py.typed").is_file()
assert len(packages) <= 40, f"{len(packages)} packages: {packages}"
assert megabytes <= 500, f"{megabytes:.0f} MB"

scene = rs_embed.sample_scene()
grid = scene.rsembed.embed("mosaiks")
assert grid.dims == ("feature", "y", "x"), grid.dims
assert grid.rio.crs.to_epsg() == 32719
print(f"core alone: {len(packages)} packages, {megabytes:.0f} MB, embedding {grid.shape}")
