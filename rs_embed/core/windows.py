"""Which windows of pixels a model sees, and where their tokens go.

Along each axis the ROI has ``size`` pixels and is covered by token cells from its first pixel on;
windows of the model's own size are laid over the cells. Where pixels go on beyond the ROI, windows
reach into the real surroundings; where they end, the last window moves back inside, and only what
is then still missing is padded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from affine import Affine

from rs_embed.core.grid import Grid, cells_inside


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis; every position is in pixels from the first pixel of the ROI.

    Parameters
    ----------
    size : int
        Pixels of the ROI.
    origin : int
        Where the first token cell begins; negative only for a ROI smaller than a cell.
    cells : int
        Token cells of the ROI.
    starts : tuple of int
        Where each window begins.
    firsts : tuple of int
        The first cell each window newly covers (equal to its own first cell with overlap).
    """

    size: int
    origin: int
    cells: int
    starts: tuple[int, ...]
    firsts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tiling:
    """The windows over a ROI, row by row."""

    rows: Axis
    cols: Axis
    window_px: int
    token_px: int
    overlap: int = 0

    def __len__(self) -> int:
        return len(self.rows.starts) * len(self.cols.starts)

    @property
    def cells(self) -> tuple[int, int]:
        """Token rows and columns of the ROI."""
        return self.rows.cells, self.cols.cells

    @property
    def tokens_per_window(self) -> int:
        """Token cells a side of a window."""
        return self.window_px // self.token_px

    def windows(self) -> Iterator[tuple[int, int]]:
        """(row, column) of the first pixel of each window, relative to the ROI's first pixel."""
        for row in self.rows.starts:
            for col in self.cols.starts:
                yield row, col

    def extent(self) -> tuple[int, int, int, int]:
        """(row, column, height, width) in pixels of all that the windows see."""
        row, col = min(self.rows.starts), min(self.cols.starts)
        height = max(self.rows.starts) + self.window_px - row
        width = max(self.cols.starts) + self.window_px - col
        return row, col, height, width

    def token_grid(self, roi: Grid) -> Grid:
        """The georeferenced cells of the ROI's tokens."""
        t, p = roi.transform, self.token_px
        moved = Affine(
            t.a * p, 0, t.c + t.a * self.cols.origin,
            0, t.e * p, t.f + t.e * self.rows.origin,
        )  # fmt: skip
        return Grid(roi.crs, moved, self.cells)

    def spans(self, index: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """(slices of the ROI's cells, slices of the window's tokens) of window ``index``."""
        r, c = divmod(index, len(self.cols.starts))
        rows = _span(self.rows, r, self.token_px, self.tokens_per_window, self.overlap)
        cols = _span(self.cols, c, self.token_px, self.tokens_per_window, self.overlap)
        return (rows[0], cols[0]), (rows[1], cols[1])


def tile(
    shape: tuple[int, int],
    window_px: int,
    token_px: int,
    *,
    overlap: int = 0,
    beyond: tuple[float, float, float, float] = (math.inf,) * 4,
) -> Tiling:
    """The windows over a ROI of ``shape`` pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the ROI, pixels.
    window_px, token_px : int
        The window is a whole number of tokens.
    overlap : int
        0: each cell is covered once. k >= 2: windows at 1/k stride, k x k of them over a cell
        where pixels allow; ``window_px / token_px`` must be a multiple of k.
    beyond : tuple of float
        Pixels that exist beyond the ROI at its top, left, bottom and right.
    """
    top, left, bottom, right = beyond
    rows = _axis(shape[0], window_px, token_px, overlap, top, bottom)
    cols = _axis(shape[1], window_px, token_px, overlap, left, right)
    return Tiling(rows, cols, window_px, token_px, overlap)


def one_window(window_px: int, token_px: int) -> Tiling:
    """The whole ROI as one window that will be resampled to ``window_px``.

    Cells are then those of the resampled window; see `resized_token_grid` for their ground.
    """
    cells = window_px // token_px
    axis = Axis(window_px, 0, cells, (0,), (0,))
    return Tiling(axis, axis, window_px, token_px)


def resized_token_grid(roi: Grid, cells: int) -> Grid:
    """The ground of the ``cells x cells`` tokens of a ROI that was resampled to one window."""
    t = roi.transform
    scaled = Affine(t.a * roi.width / cells, 0, t.c, 0, t.e * roi.height / cells, t.f)
    return Grid(roi.crs, scaled, (cells, cells))


def _axis(size: int, window: int, token: int, overlap: int, before: float, after: float) -> Axis:
    cells = cells_inside(size, token)
    origin = (size - token) // 2 if size < token else 0
    per_window = window // token
    end = origin + cells * token
    if cells <= per_window:
        first = origin - (per_window - cells) // 2 * token
        starts = [first] if not overlap else _overlapped(first, first + window, window, overlap)
    elif overlap:
        starts = _overlapped(origin, end, window, overlap)
    else:
        starts = list(range(origin, end, window))
    moved = [_inside(s, size, window, token, before, after, origin) for s in starts]
    starts = sorted(set(moved))
    firsts, covered = [], 0
    for start in starts:
        own = (start - origin) // token
        firsts.append(max(own, 0) if overlap else max(own, covered))
        covered = max(covered, own + per_window)
    return Axis(size, origin, cells, tuple(starts), tuple(firsts))


def _overlapped(begin: int, end: int, window: int, overlap: int) -> list[int]:
    stride = window // overlap
    return list(range(begin - (overlap - 1) * stride, end, stride))


def _inside(
    start: int, size: int, window: int, token: int, before: float, after: float, origin: int
) -> int:
    """The start moved by whole tokens so that the window lies within the pixels there are."""
    if start + window > size + after:
        # The last cell may reach past the end by less than half a token; that much is padded.
        last = origin + cells_inside(int(size + after) - origin, token) * token
        start = min(start, last - window)
    if start < -before:
        lowest = origin + math.ceil((-before - origin) / token) * token
        start = max(start, min(lowest, origin))
    return start


def _span(axis: Axis, i: int, token: int, per_window: int, overlap: int) -> tuple[slice, slice]:
    own = (axis.starts[i] - axis.origin) // token
    first = axis.firsts[i]
    stop = min(own + per_window, axis.cells)
    return slice(first, max(first, stop)), slice(first - own, max(first, stop) - own)


def window_centres(tiling: Tiling, roi: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of the middle of each window, degrees, each ``(N,)``."""
    from rs_embed.core.crs import project

    half = tiling.window_px / 2
    starts = np.array(list(tiling.windows()), dtype=float).reshape(-1, 2)
    x = roi.transform.c + roi.transform.a * (starts[:, 1] + half)
    y = roi.transform.f + roi.transform.e * (starts[:, 0] + half)
    return project(x, y, roi.crs, "EPSG:4326")


def fill_indices(start: int, length: int, size: int, rule: str) -> np.ndarray:
    """Which of ``size`` pixels stand at ``start .. start + length``, beyond the ends by a rule.

    "mirror" repeats the edge pixel first (…1 0 | 0 1…), "reflect" does not (…2 1 | 0 1…).
    """
    positions = np.arange(start, start + length)
    if size == 1:
        return np.zeros(length, dtype=np.intp)
    period = 2 * size if rule == "mirror" else 2 * size - 2
    folded = np.mod(positions, period)
    top = period - 1 if rule == "mirror" else period
    return np.where(folded < size, folded, top - folded).astype(np.intp)
