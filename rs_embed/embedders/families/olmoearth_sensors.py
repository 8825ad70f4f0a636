"""The sensors of OlmoEarth: bands in the authors' order, statistics, and how tokens share them.

From olmoearth-pretrain-minimal 0.1.5: norm_configs/computed.json and utils/constants.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from rs_embed.core.model import InputSpec

S2 = InputSpec(
    "s2",
    ("B2", "B3", "B4", "B8", "B5", "B6", "B7", "B8A", "B11", "B12", "B1", "B9"),
    "reflectance_x10000",
    "COPERNICUS/S2_SR_HARMONIZED",
)
S1 = InputSpec("s1", ("VV", "VH"), "db", "COPERNICUS/S1_GRD", cloudy_pct=100)
# Numbers of Collection 2, level 1, as stored, which no collection of the table holds.
LANDSAT = InputSpec(
    "landsat",
    (
        "pan", "coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "cirrus", "lwir11",
        "lwir12",
    ),
    "1",
)  # fmt: skip
INPUTS: Mapping[str, InputSpec] = {"sentinel2_l2a": S2, "sentinel1": S1, "landsat": LANDSAT}
"""By the authors' name."""

MEAN: Mapping[str, tuple[float, ...]] = {
    "sentinel2_l2a": (
        1188.9412572078477, 1407.7739105458452, 1513.0573882432757, 2755.481305028308,
        1890.9893042634167, 2483.7812315422448, 2722.728248756412, 2885.570263047681,
        2562.852607796968, 1914.1383249044113, 1115.8494388252218, 3269.812554170875,
    ),
    "sentinel1": (-11.648990747328444, -17.745436133270044),
    "landsat": (
        10132.090998288624, 11000.959519415692, 10493.416292898208, 10146.318478942761,
        10236.446029167704, 14427.021492873682, 12164.08145353199, 9712.032951062303,
        4585.469566989013, 21347.89356940543, 19686.23205859348,
    ),
}  # fmt: skip
STD: Mapping[str, tuple[float, ...]] = {
    "sentinel2_l2a": (
        1859.1923971769581, 1727.7387413631088, 1740.7757298757895, 1612.2565699990187,
        1754.7320388511766, 1622.1172720635755, 1621.8226170190276, 1611.3587521042082,
        1441.5471830655151, 1328.8914382756407, 1955.6991794280914, 2651.088425085525,
    ),
    "sentinel1": (10.840350299936597, 10.216274681392647),
    "landsat": (
        7788.7282476413675, 7857.9205791510285, 7872.392135393957, 7676.2774595217115,
        8038.218121686258, 9302.431605916356, 7442.390533225441, 6037.712185433222,
        2549.745355740949, 10957.2815012006, 9911.421224126807,
    ),
}  # fmt: skip

SETS_V1: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "sentinel2_l2a": ((0, 1, 2, 3), (4, 5, 6, 7, 8, 9), (10, 11)),
    "sentinel1": ((0, 1),),
    "landsat": ((0,), tuple(range(1, 11))),
}
SETS = {name: (tuple(range(len(item.bands))),) for name, item in INPUTS.items()}
"""Bands that make one token together, by sensor: of the first version, and since."""
NEAREST_V1 = (("B1", "B2"), ("B9", "B8A"))
"""(missing band, the one nearest in wavelength), which the first version is given in its place."""
