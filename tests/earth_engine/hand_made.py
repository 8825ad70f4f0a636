"""Small scenes from arrays whose composites the tests work out by hand."""

from __future__ import annotations

import numpy as np

from tests.earth_engine import Scene, array_scene, real, standard

CORNER = (500000.0, 4600000.0)
ROW, COL = np.mgrid[0:8, 0:8]


def _stack() -> list[Scene]:
    """Values 1, 2, 10, 20 by day; the second scene lacks its left half, the third its top."""
    left, top = np.uint8(COL >= 4), np.uint8(ROW >= 4)
    values = [(1, None), (2, left), (10, top), (20, None)]
    return [
        array_scene(
            "HAND/STACK",
            f"day{day}",
            f"2022-01-0{day}",
            {"B1": np.full((8, 8), value, "uint16"), "Q": np.full((8, 8), 5 - day, "uint8")},
            valid=valid,
            properties={"day": day, "tags": ["odd" if day % 2 else "even", "all"]},
        )
        for day, (value, valid) in enumerate(values, 1)
    ]


def scenes() -> list[Scene]:
    """The standard catalogue, the real scenes, and the hand-made ones."""
    ramp = {"row": ROW.astype("int16"), "col": (10 * COL).astype("uint16")}
    ramp["mixed"] = (100.5 * ROW + COL).astype("float32")
    classes = {"classes": np.where(COL < 5, 4, 9).astype("uint8")}
    sinusoidal = {"row": np.repeat(np.arange(100, dtype="uint16")[:, None], 100, axis=1)}
    return [
        *standard(),
        *real(),
        *_stack(),
        array_scene("HAND/RAMP", "one", "2022-01-01", ramp),
        array_scene("HAND/CLASSES", "one", "2022-01-01", classes, pyramid="mode"),
        array_scene(
            "HAND/SINUSOIDAL",
            "one",
            "2022-01-01",
            sinusoidal,
            crs="SR-ORG:6974",
            corner=(53000.0, 4600000.0),
            pixel=1000.0,
        ),
    ]
