"""The tokens of a ROI put together from its windows, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rs_embed.core.errors import ProviderError, RsEmbedError
from rs_embed.core.windows import Axis, Tiling

_FEATURES = 16  # looked at together


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """The cells of one ROI.

    Parameters
    ----------
    cells : ndarray
        ``(h, w, D)`` float32; NaN where no pixel of a cell is valid.
    image : ndarray or None
        ``(D',)`` the authors' image-level vector, over several windows their mean weighted by
        the valid cells of the ROI in each.
    missing : float
        Share of the values that the model saw which were missing, and were filled.
    empty_intervals : int
        How many intervals have no valid pixel.
    bands_seen : tuple of bool
        Of each band of the model, whether any pixel of it was valid; empty where nobody looked.
    """

    cells: np.ndarray
    image: np.ndarray | None = None
    missing: float = 0.0
    empty_intervals: int = 0
    bands_seen: tuple[bool, ...] = ()

    @property
    def valid(self) -> np.ndarray:
        """``(h, w)`` bool: cells that hold numbers."""
        return np.asarray(np.isfinite(self.cells).all(axis=-1))


class TokenMosaic:
    """Collects the tokens of a ROI's windows, in any order, one window at a time."""

    def __init__(self, tiling: Tiling, dim: int) -> None:
        self._tiling = tiling
        self._cells: np.ndarray = np.full((*tiling.cells, dim), np.nan, dtype=np.float32)
        self._counts = np.zeros(tiling.cells, dtype=np.int32) if tiling.overlap else None
        self._image: np.ndarray | None = None
        self._weight = 0.0
        self._missing = 0.0
        self._present: np.ndarray | None = None

    def note(self, missing: float, present: np.ndarray) -> None:
        """What was there of a window: the share that was not, and ``(T,)`` which intervals were."""
        self._missing += missing
        self._present = present if self._present is None else self._present | present

    def add(self, index: int, tokens: np.ndarray, image: np.ndarray | None) -> None:
        """Lay the tokens ``(h, w, D)`` of window ``index``; NaN tokens are left out."""
        own, part = self._tiling.spans(index)
        if self._counts is None:
            self._cells[own] = tokens[part]
        else:
            fresh = tokens[part]
            ok = np.isfinite(fresh).all(axis=-1)
            cells, counts = self._cells[own], self._counts[own]
            first = ok & (counts == 0)
            cells[first] = fresh[first]
            again = ok & (counts > 0)
            cells[again] += fresh[again]
            counts += ok
        area = float(np.isfinite(tokens[part]).all(axis=-1).sum())
        if image is not None and area and np.isfinite(image).all():
            weighted = image.astype(np.float64) * area
            self._image = weighted if self._image is None else self._image + weighted
            self._weight += area

    def result(self) -> TokenGrid:
        """What was collected; cells that several windows covered are their mean."""
        cells = self._cells
        if self._counts is not None:
            cells = cells / np.maximum(self._counts, 1)[..., None].astype(np.float32)
        image = None
        if self._image is not None:
            image = (self._image / self._weight).astype(np.float32)
        empty = 0 if self._present is None else int((~self._present).sum())
        return TokenGrid(cells, image, self._missing / len(self._tiling), empty)


def pool(field: TokenGrid, how: str) -> np.ndarray:
    """``(D,)`` mean or max over the valid cells, or the image-level vector for "model"."""
    if how == "model":
        if field.image is None:
            raise ValueError("the model gave no image-level vector")
        return field.image
    valid = field.valid
    flat = field.cells[valid] if not valid.all() else field.cells.reshape(-1, field.cells.shape[-1])
    if how == "max":
        return np.asarray(flat.max(axis=0))
    return np.asarray(flat.mean(axis=0, dtype=np.float64), dtype=np.float32)


def nothing_valid(what: str) -> RsEmbedError:
    """The error of a ROI without a single valid pixel."""
    place = what or "the region"
    return ProviderError(
        f"{place} holds no valid pixel; widen the temporal, loosen the cloud filter, "
        "or check that the place lies inside the source"
    )


def seam_ratio(cells: np.ndarray, tiling: Tiling) -> float | None:
    """Mean step between neighbouring cells across window borders, over the mean step inside.

    1 means that borders do not show. None with a single window, or without both kinds of step.
    With overlap, a border is where a window begins.
    """
    across: list[np.ndarray] = []
    inside: list[np.ndarray] = []
    for axis, windows in ((0, tiling.rows), (1, tiling.cols)):
        step = _step(cells, axis)
        border = np.zeros(step.shape[axis], dtype=bool)
        border[[f - 1 for f in windows.first_new_token if 0 < f <= len(border)]] = True
        steps = np.moveaxis(step, axis, 0)
        across.append(steps[border].ravel())
        inside.append(steps[~border].ravel())
    over, within = (_finite(np.concatenate(part)) for part in (across, inside))
    if not over.size or not within.size or within.mean() == 0:
        return None
    return float(over.mean() / within.mean())


def position_share(cells: np.ndarray, tiling: Tiling) -> float | None:
    """Share of the grid's variance that a token's place in its window explains, 0..1.

    The variance of the means of each place over all windows, by the whole variance. With overlap,
    where a cell has a place in several windows, that in those a whole window apart counts. None
    with a single window or no variance.
    """
    valid = np.isfinite(cells[..., 0]).ravel()
    if min(len(tiling), valid.sum()) < 2:
        return None
    rows, cols = np.meshgrid(
        _places(tiling.rows, tiling), _places(tiling.cols, tiling), indexing="ij"
    )
    place = (rows * tiling.tokens_per_window + cols).ravel()[valid]
    order = np.argsort(place, kind="stable")
    _, edges, count = np.unique(place[order], return_index=True, return_counts=True)
    spread = between = 0.0
    for part in _feature_blocks(cells):
        flat = part.reshape(len(valid), -1)[valid].astype(np.float64)
        flat -= flat.mean(axis=0)
        spread += float((flat**2).sum())
        means = np.add.reduceat(flat[order], edges, axis=0) / count[:, None]
        between += float((count[:, None] * means**2).sum())
    return between / spread if spread else None


def _feature_blocks(cells: np.ndarray) -> Iterator[np.ndarray]:
    """A few features of every cell at a time, so that no work takes another grid's memory."""
    for start in range(0, cells.shape[-1], _FEATURES):
        yield cells[..., start : start + _FEATURES]


def _step(cells: np.ndarray, axis: int) -> np.ndarray:
    """Distance between neighbouring cells along an axis."""
    parts = (np.diff(part, axis=axis) for part in _feature_blocks(cells))
    squares = sum(np.square(part).sum(axis=-1, dtype=np.float64) for part in parts)
    return np.asarray(np.sqrt(squares))


def _places(axis: Axis, tiling: Tiling) -> np.ndarray:
    """Place of each cell of one axis in the window that gave it."""
    cells = np.arange(axis.cells)
    if tiling.overlap:
        own = (axis.offsets[0] - axis.origin) // tiling.token_px
        return np.asarray((cells - own) % tiling.tokens_per_window)
    first_new_token = np.array(axis.first_new_token)
    offsets = (np.array(axis.offsets) - axis.origin) // tiling.token_px
    window = np.searchsorted(first_new_token, cells, side="right") - 1
    return np.asarray(cells - offsets[window])


def _finite(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.isfinite(values)])
