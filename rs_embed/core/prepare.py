"""Windows of pixels on their way into a model, and back out as cells of the ROI."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model
from rs_embed.core.patch import Interval
from rs_embed.core.plan import RoiPlan, midpoint
from rs_embed.core.windows import fill_indices

WindowReader = Callable[[int, int, int, int], np.ndarray]
"""``read(row, column, height, width)``: the pixels there, ``(T, C, height, width)``, counted from
the ROI's first pixel; NaN where one is missing."""


@dataclass(frozen=True, slots=True)
class Windows:
    """A batch of windows, in the bands and units that the model takes.

    Parameters
    ----------
    pixels : ndarray
        ``(B, T, C, H, W)`` float32; NaN marks missing pixels, which ``prepare`` fills.
    bands : tuple of str
        Along C, the model's own order.
    intervals : tuple of tuple of Interval
        The dates of each T, for each window; empty tuples where there is no time.
    lonlat : ndarray
        ``(B, 2)`` longitude and latitude of each window's centre, degrees.
    scale_m : float
        Metres a pixel.
    """

    pixels: np.ndarray
    bands: tuple[str, ...]
    intervals: tuple[tuple[Interval, ...], ...]
    lonlat: np.ndarray
    scale_m: float


def padded(plan: RoiPlan, read: WindowReader) -> WindowReader:
    """``read`` for every window: pixels that do not exist are filled by the model's rule."""
    row0, col0, height, width = plan.fetch_window
    rule = plan.model.spec.pad

    def read_padded(row: int, col: int, h: int, w: int) -> np.ndarray:
        if (
            row >= row0 and col >= col0 and row + h <= row0 + height and col + w <= col0 + width
        ):  # fmt: skip
            return read(row, col, h, w)
        rows = fill_indices(row - row0, h, height, rule)
        cols = fill_indices(col - col0, w, width, rule)
        top, left = int(rows.min()), int(cols.min())
        pixels = read(
            row0 + top, col0 + left, int(rows.max()) - top + 1, int(cols.max()) - left + 1
        )
        return pixels[..., (rows - top)[:, None], (cols - left)[None, :]]

    return read_padded


def padded_fraction(plan: RoiPlan) -> float:
    """Share of the pixels that the model sees which do not exist and were padded."""
    if plan.input_prep == "resize":
        extent: tuple[int, int, int, int] = (0, 0, *plan.roi.shape)
    else:
        extent = plan.tiling.extent()
    real = plan.fetch_window[2] * plan.fetch_window[3]
    return max(0.0, 1.0 - real / (extent[2] * extent[3]))


def tokens_of_padding(plan: RoiPlan) -> np.ndarray | None:
    """``(h, w)`` bool: tokens of a whole image that lie on pixels which do not exist.

    Those whose centre does; along an axis where no token has its centre on a pixel that exists,
    those that touch none. None where every pixel exists.
    """
    side, model = plan.roi.height, plan.model
    row, col, height, width = plan.fetch_window
    if plan.input_prep != "resize" or (row, col, height, width) == (0, 0, side, side):
        return None
    step = model.token_px / model.image_px * side
    margin = round((model.image_px - model.window_px) / 2) / model.image_px * side
    edges = margin + np.arange(plan.tiling.tokens_per_window + 1) * step
    real = [_on_pixels(edges, start, start + size) for start, size in ((row, height), (col, width))]
    return np.asarray(~(real[0][:, None] & real[1][None, :]))


def _on_pixels(edges: np.ndarray, start: float, stop: float) -> np.ndarray:
    centres = (edges[:-1] + edges[1:]) / 2
    inside = (centres >= start) & (centres < stop)
    return inside if inside.any() else (edges[1:] > start) & (edges[:-1] < stop)


@dataclass(frozen=True, slots=True)
class TokenMask:
    """What is there of the pixels of some windows.

    Parameters
    ----------
    tokens : ndarray or None
        ``(B, h, w)`` bool: whether any pixel of a token is there; None where every value is.
    missing : float
        Share of the values, over bands and dates, that are not there.
    """

    tokens: np.ndarray | None
    missing: float


def valid_tokens(pixels: np.ndarray, token_px: int) -> TokenMask:
    """What is there of ``(B, T, C, H, W)`` pixels; a pixel is if any band of any date is."""
    finite = np.isfinite(pixels)
    if finite.all():
        return TokenMask(None, 0.0)
    there = finite.any(axis=(1, 2))
    batch, height, width = there.shape
    blocks = there.reshape(batch, height // token_px, token_px, width // token_px, token_px)
    missing = 1 - np.count_nonzero(finite) / finite.size
    return TokenMask(np.asarray(blocks.any(axis=(2, 4))), missing)


def standardise(pixels: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """``(x - mean) / std`` of ``(..., C, H, W)`` by band, computed in float64, as float32."""
    centre, spread = (np.array(one, dtype=np.float64)[:, None, None] for one in (mean, std))
    return np.asarray(((pixels - centre) / spread).astype(np.float32))


def fill_missing(pixels: np.ndarray, value: float | Sequence[float]) -> np.ndarray:
    """``(..., C, H, W)`` with a number, or one a band, where a pixel is missing; a copy."""
    values = np.asarray(value, dtype=pixels.dtype)
    filler = values[:, None, None] if values.ndim else values
    return np.where(np.isnan(pixels), filler, pixels)


def middles(windows: Windows) -> list[list[dt.date]]:
    """The middle of each interval of each window; empty lists where there is no time."""
    return [[midpoint(interval) for interval in intervals] for intervals in windows.intervals]


def year_and_day(windows: Windows) -> np.ndarray:
    """``(B, T, 2)`` float64: year, and day of the year from 1, of the middle of each interval."""
    days = [[(day.year, day.timetuple().tm_yday) for day in row] for row in middles(windows)]
    return np.array(days, dtype=np.float64)


def months(windows: Windows) -> np.ndarray:
    """``(B, T)`` int64 month from 0 of the middle of each interval."""
    return np.array([[day.month - 1 for day in row] for row in middles(windows)], dtype=np.int64)


def months_of_series(model: Model, dates: Sequence[Sequence[Interval]], steps: int) -> np.ndarray:
    """``(B, T)`` month from 0 of each of T steps, for a model with an option ``month``.

    Raises
    ------
    ModelError
        For pixels without a date and no ``month``, a date and a ``month``, or more steps than the
        model's cadence allows.
    """
    month, most = model.options["month"], model.cadence.frames
    if steps > most:
        raise ModelError(f"{model.id} takes at most {most} steps, not {steps}; shorten the series")
    if any(dates):
        if month is not None:
            raise ModelError(
                f"{model.id}: these pixels are dated and their own months count; leave month out"
            )
        return np.array([[midpoint(one).month - 1 for one in row] for row in dates])
    if month is None or steps > 1:
        raise ModelError(
            f"{model.id} needs the month of each of the {steps} steps, and these pixels have no "
            "date; pass temporal= or give the array a time coordinate, or, for one step of a "
            f"source without dates, ModelChoice({model.id!r}, options={{'month': 7}})"
        )
    return np.full((len(dates), 1), int(month) - 1)


def latlon(windows: Windows) -> np.ndarray:
    """``(B, 2)`` float32 latitude and longitude of each window's centre, degrees."""
    return np.asarray(windows.lonlat[:, ::-1].astype(np.float32))
