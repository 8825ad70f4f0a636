"""One file per model family. This is the list of those in the catalogue, one a line, sorted."""

FAMILIES = (
    "anysat",
    "clay",
    "croma",
    "dofa",
    "galileo",
    "gse_annual",
    "mosaiks",
    "olmoearth",
    "panopticon",
    "presto",
    "prithvi",
    "remoteclip",
    "satmae",
    "satmae_s2",
    "scalemae",
    "terrafm",
    "terramind",
)
"""Modules of this package that hold a ``SPEC``, or several ``SPECS``."""
