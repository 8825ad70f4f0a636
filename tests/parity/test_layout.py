"""How a network's output is laid out as the fixture's: places picked, the rest cut off."""

from __future__ import annotations

import numpy as np

from rs_embed.parity.runner import lay_out

TENSOR = np.arange(2 * 3 * 4).reshape(1, 2, 3, 4)


def test_places_are_picked_along_letters_of_the_layout() -> None:
    rule = {"tensor": "x", "layout": "btcw->tcw", "pick": {"t": [1], "c": [2, 0]}}
    found = lay_out({"x": TENSOR}, rule, [1, 2, 4])
    np.testing.assert_array_equal(found, TENSOR[0, 1:, [2, 0]].transpose(1, 0, 2))


def test_what_the_fixture_has_not_is_cut_off_behind() -> None:
    rule = {"tensor": "x", "sample": 0, "cut": True}
    found = lay_out({"x": TENSOR}, rule, [2, 2, 4])
    np.testing.assert_array_equal(found, TENSOR[0, :, :2])
