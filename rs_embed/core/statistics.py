"""Published means and deviations of Sentinel-1, Sentinel-2 and elevation.

TerraMind's own, which families whose authors publish none take too: v1_pretraining_mean and
v1_pretraining_std in terratorch 1.2.13, terratorch/models/backbones/terramind.
"""

from __future__ import annotations

TERRAMIND: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "S2L2A": (
        (1390.458, 1503.317, 1718.197, 1853.91, 2199.1, 2779.975, 2987.011, 3083.234, 3132.22,
         3162.988, 2424.884, 1857.648),
        (2106.761, 2141.107, 2038.973, 2134.138, 2085.321, 1889.926, 1820.257, 1871.918, 1753.829,
         1797.379, 1434.261, 1334.311),
    ),
    "S2L1C": (
        (2357.089, 2137.385, 2018.788, 2082.986, 2295.651, 2854.537, 3122.849, 3040.56, 3306.481,
         1473.847, 506.07, 2472.825, 1838.929),
        (1624.683, 1675.806, 1557.708, 1833.702, 1823.738, 1733.977, 1732.131, 1679.732, 1727.26,
         1024.687, 442.165, 1331.411, 1160.419),
    ),
    "RGB": ((87.271, 80.931, 66.667), (58.767, 47.663, 42.631)),
    "S1GRD": ((-12.599, -20.293), (5.195, 5.89)),
    "S1RTC": ((-10.93, -17.329), (4.391, 4.459)),
    "DEM": ((670.665,), (951.272,)),
}  # fmt: skip
"""Mean and standard deviation of each modality, by band, in TerraMind's order and units."""
