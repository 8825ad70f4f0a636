"""What to install for what: one text for every package that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_TORCH = ("torch", "timm", "huggingface_hub", "safetensors")
EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "torch": _TORCH,
        "models": (*_TORCH, "pillow"),
        "gee": ("earthengine-api",),
        "plot": ("matplotlib",),
        "dask": ('"dask[array]"',),
        "vector": ("geopandas", "pyarrow"),
    }
)
"""The packages of each extra, as a shell takes them."""

_EXTRA_OF = {
    **dict.fromkeys((*_TORCH, "filelock"), "torch"),
    "PIL": "models",
    "ee": "gee",
    "matplotlib": "plot",
    "dask": "dask",
    "geopandas": "vector",
    "pyarrow": "vector",
}


def missing_text(what: str, extra: str, *missing: str) -> str:
    """One line on packages that are not installed: which, what to run, which extra they make.

    The packages are named one by one, since the project's own name need not be this project's on
    the index that pip asks.

    Examples
    --------
    >>> missing_text("plot()", "plot", "matplotlib")
    'plot() needs matplotlib: pip install matplotlib (extra `plot`)'
    """
    names = " and ".join(missing) or f"the packages of extra `{extra}`"
    return f"{what} needs {names}: pip install {' '.join(EXTRAS[extra])} (extra `{extra}`)"


def import_problem(what: str, error: ImportError) -> str | None:
    """`missing_text` of a module that could not be found; None where it belongs to no extra."""
    root = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or root not in _EXTRA_OF:
        return None
    return missing_text(what, _EXTRA_OF[root], root)
