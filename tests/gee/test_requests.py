"""Requests partition a plan: no gap, no overlap, each within Earth Engine's limits, and few."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rs_embed.providers.requests import (
    MAX_BANDS,
    MAX_BYTES,
    MAX_SIDE_PX,
    VALUE_BYTES,
    Part,
    halves,
    split,
)

SIDES = st.integers(1, 3000)


def bytes_of(part: Part, bands: int, factor: int) -> int:
    """What Earth Engine counts for a request."""
    return part.height * part.width * factor**2 * part.intervals * bands * VALUE_BYTES


def within(part: Part, bands: int, factor: int) -> bool:
    """Whether Earth Engine takes a request."""
    return (
        bytes_of(part, bands, factor) <= MAX_BYTES
        and max(part.height, part.width) * factor <= MAX_SIDE_PX
        and part.intervals * bands <= MAX_BANDS
    )


@given(SIDES, SIDES, st.integers(1, 60), st.integers(1, 64), st.integers(1, 6))
def test_parts_partition_the_plan(
    rows: int, cols: int, intervals: int, bands: int, factor: int
) -> None:
    parts = split((rows, cols), intervals, bands, factor=factor)
    assert sum(p.height * p.width * p.intervals for p in parts) == rows * cols * intervals
    assert len({(p.row, p.col, p.first) for p in parts}) == len(parts)
    for part in parts:
        assert within(part, bands, factor)
        assert part.row + part.height <= rows
        assert part.col + part.width <= cols
        assert part.first + part.intervals <= intervals


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5), st.integers(400, 1024))
def test_every_value_is_brought_once(rows: int, cols: int, intervals: int, bands: int) -> None:
    seen = np.zeros((intervals, rows, cols), dtype=int)
    for p in split((rows, cols), intervals, bands, factor=9):
        seen[
            p.first : p.first + p.intervals, p.row : p.row + p.height, p.col : p.col + p.width
        ] += 1
    assert (seen == 1).all()


@given(SIDES, SIDES, st.integers(1, 30), st.integers(1, 30))
def test_what_fits_is_one_request(rows: int, cols: int, intervals: int, bands: int) -> None:
    whole = Part(0, 0, rows, cols, 0, intervals)
    parts = split((rows, cols), intervals, bands)
    assert (len(parts) == 1) == within(whole, bands, 1)


@given(st.integers(500, 3000), st.integers(500, 3000), st.integers(1, 12), st.integers(1, 12))
def test_there_are_few(rows: int, cols: int, intervals: int, bands: int) -> None:
    # Whole rows and columns cost at most a little more than the bytes demand.
    minimum = math.ceil(rows * cols * intervals * bands * VALUE_BYTES / MAX_BYTES)
    assert len(split((rows, cols), intervals, bands)) <= math.ceil(minimum * 1.34) + 1


def test_a_long_thin_place_is_cut_by_its_side() -> None:
    assert [p.height for p in split((40000, 3), 1, 1)] == [20000, 20000]
    assert [p.width for p in split((3, 40000), 1, 1)] == [20000, 20000]


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 9))
def test_halves_are_the_whole(rows: int, cols: int, intervals: int) -> None:
    part = Part(7, 11, rows, cols, 2, intervals)
    found = halves(part)
    if found is None:
        assert max(rows, cols) < 32
        assert intervals == 1
        return
    first, second = found
    assert (first.row, first.col, first.first) == (7, 11, 2)
    sizes = [p.height * p.width * p.intervals for p in found]
    assert sum(sizes) == rows * cols * intervals
    assert min(sizes) * 3 >= max(sizes)
    moved = (second.row - 7, second.col - 11, second.first - 2)
    assert sum(step > 0 for step in moved) == 1
