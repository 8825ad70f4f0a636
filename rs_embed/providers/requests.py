"""One fetch cut into requests that Earth Engine accepts, as windows of the same lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Google's limits of one computePixels request; the mask counts one byte a value (xee PR 210).
MAX_BYTES = 48 * 1024 * 1024
MAX_SIDE_PX = 32768
MAX_BANDS = 1024
VALUE_BYTES = 4 + 1  # float32 and its mask
# Below this a tile that is still too much for the service will not get better by halving.
_SMALLEST_PX = 16


@dataclass(frozen=True, slots=True)
class Part:
    """Some frames over a window of the grid: what one request brings.

    Parameters
    ----------
    row, col, height, width : int
        Pixels of the plan's grid.
    first, frames : int
        Which frames: ``first`` and so many from there on.
    """

    row: int
    col: int
    height: int
    width: int
    first: int = 0
    intervals: int = 1


def split(
    shape: tuple[int, int], intervals: int, bands: int, *, factor: int = 1
) -> tuple[Part, ...]:
    """The fewest requests that bring ``frames`` times ``bands`` over ``shape`` pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the plan's grid.
    factor : int
        Pixels a side that are fetched for one of the grid.

    Examples
    --------
    >>> split((256, 256), 12, 10)
    (Part(row=0, col=0, height=256, width=256, first=0, frames=12),)
    """
    # A frame whose bands pass the limit cannot be cut by frames; a model has no 1024 bands.
    together = max(1, min(intervals, MAX_BANDS // bands))
    groups = -(-intervals // together)
    together = -(-intervals // groups)
    rows, cols = _tiles(shape, together * bands, factor)
    return tuple(
        Part(row, col, min(rows, shape[0] - row), min(cols, shape[1] - col), first, count)
        for first in range(0, intervals, together)
        for count in (min(together, intervals - first),)
        for row in range(0, shape[0], rows)
        for col in range(0, shape[1], cols)
    )


def halves(part: Part) -> tuple[Part, Part] | None:
    """The part cut across its longer side; None where it is as small as is sensible."""
    if max(part.height, part.width) < 2 * _SMALLEST_PX:
        if part.intervals == 1:
            return None
        half = part.intervals // 2
        rest = replace(part, first=part.first + half, intervals=part.intervals - half)
        return replace(part, intervals=half), rest
    if part.height >= part.width:
        half = part.height // 2
        below = replace(part, row=part.row + half, height=part.height - half)
        return replace(part, height=half), below
    half = part.width // 2
    right = replace(part, col=part.col + half, width=part.width - half)
    return replace(part, width=half), right


def _tiles(shape: tuple[int, int], bands: int, factor: int) -> tuple[int, int]:
    """Rows and columns of a tile: the fewest tiles, of those the squarest."""
    maximum = max(1, MAX_BYTES // (VALUE_BYTES * bands * factor * factor))
    side = max(1, MAX_SIDE_PX // factor)
    best: tuple[int, int, int, int] | None = None
    for across in range(1, shape[1] + 1):
        cols = -(-shape[1] // across)
        rows = min(side, maximum // cols)
        if cols > side or rows < 1:
            continue
        down = -(-shape[0] // rows)
        rows = -(-shape[0] // down)
        found = (down * across, abs(rows - cols), rows, cols)
        best = found if best is None else min(best, found)
        if across > best[0]:
            break
    return (1, 1) if best is None else best[2:]
