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
    offsets : tuple of int
        Where each window begins.
    first_new_token : tuple of int
        The first cell each window newly covers (equal to its own first cell with overlap).
    """

    size: int
    origin: int
    cells: int
    offsets: tuple[int, ...]
    first_new_token: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tiling:
    """The windows over a ROI, row by row."""

    rows: Axis
    cols: Axis
    window_px: int
    token_px: int
    overlap: int = 0

    def __len__(self) -> int:
        return len(self.rows.offsets) * len(self.cols.offsets)

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
        for row in self.rows.offsets:
            for col in self.cols.offsets:
                yield row, col

    def extent(self) -> tuple[int, int, int, int]:
        """(row, column, height, width) in pixels of all that the windows see."""
        row, col = min(self.rows.offsets), min(self.cols.offsets)
        height = max(self.rows.offsets) + self.window_px - row
        width = max(self.cols.offsets) + self.window_px - col
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
        r, c = divmod(index, len(self.cols.offsets))
        rows = _span(self.rows, r, self.token_px, self.tokens_per_window, self.overlap)
        cols = _span(self.cols, c, self.token_px, self.tokens_per_window, self.overlap)
        return (rows[0], cols[0]), (rows[1], cols[1])


def tile(
    shape: tuple[int, int],
    window_px: int,
    token_px: int,
    *,
    overlap: int = 0,
    margins: tuple[float, float, float, float] = (math.inf,) * 4,
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
    margins : tuple of float
        Pixels that exist beyond the ROI at its top, left, bottom and right.
    """
    top, left, bottom, right = margins
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


def resized_token_grid(roi: Grid, tiling: Tiling, image_px: int | None = None) -> Grid:
    """The ground of the tokens of a square ROI that was resampled to one window.

    Where the ROI was resampled to ``image_px`` pixels a side and the window is the middle of
    those, its margins have no tokens.
    """
    t, whole = roi.transform, image_px or tiling.window_px
    step, margin = tiling.token_px / whole, round((whole - tiling.window_px) / 2) / whole
    wide, high = t.a * roi.width, t.e * roi.height
    corner = (t.c + margin * wide, t.f + margin * high)
    cells = tiling.tokens_per_window
    return Grid(
        roi.crs, Affine(wide * step, 0, corner[0], 0, high * step, corner[1]), (cells, cells)
    )


def _axis(size: int, window: int, token: int, overlap: int, before: float, after: float) -> Axis:
    cells = cells_inside(size, token)
    origin = (size - token) // 2 if size < token else 0
    per_window = window // token
    end = origin + cells * token
    # A ROI within one window lies as central in it as whole tokens allow.
    begin = origin - max(0, per_window - cells) // 2 * token
    stride = window // max(1, overlap)
    wanted = range(begin - (window - stride), max(end, begin + window), stride)
    lowest, highest = _limits(size, origin, window, token, before, after)
    moved = {int(min(max(s, lowest), highest)) for s in wanted if origin - window < s < end}
    offsets = sorted(moved)
    first_new_token, covered = [], 0
    for start in offsets:
        own = (start - origin) // token
        first_new_token.append(max(own, 0) if overlap else max(own, covered))
        covered = max(covered, own + per_window)
    return Axis(size, origin, cells, tuple(offsets), tuple(first_new_token))


def _limits(
    size: int, origin: int, window: int, token: int, before: float, after: float
) -> tuple[float, float]:
    """Least and greatest start, on the lattice of tokens, of a window within the pixels there are.

    The last cell whose centre is inside may reach past the end by less than half a token; that
    much is padded. Where no start fits, both limits are the one that pads least, or, with fewer
    pixels than a window, the first, so that padding is to the right and the bottom.
    """
    lowest: float = -math.inf
    if math.isfinite(before):
        lowest = min(origin, origin + math.ceil((-before - origin) / token) * token)
    highest: float = math.inf
    if math.isfinite(after):
        last = origin + cells_inside(int(size + after) - origin, token) * token
        highest = last - window
    if lowest <= highest:
        return lowest, highest
    spare = before + size + after - window
    if spare >= 0 and -before - highest < lowest + window - (size + after):
        return highest, highest
    return lowest, lowest


def _span(axis: Axis, i: int, token: int, per_window: int, overlap: int) -> tuple[slice, slice]:
    own = (axis.offsets[i] - axis.origin) // token
    first = axis.first_new_token[i]
    stop = min(own + per_window, axis.cells)
    return slice(first, max(first, stop)), slice(first - own, max(first, stop) - own)


def window_centres(tiling: Tiling, roi: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude of the middle of each window, degrees, each ``(N,)``."""
    from rs_embed.core.crs import project

    half = tiling.window_px / 2
    offsets = np.array(list(tiling.windows()), dtype=float).reshape(-1, 2)
    x = roi.transform.c + roi.transform.a * (offsets[:, 1] + half)
    y = roi.transform.f + roi.transform.e * (offsets[:, 0] + half)
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
