"""Many values to one: per pixel over a stack of images, and over a table's columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from .errors import ServiceError, unsupported
from .images import Band, Image, Pixels, Target, unique_names

Stack = tuple[np.ndarray, np.ndarray]
"""Values and masks, both (n, h, w)."""


def ranked(values: np.ndarray, mask: np.ndarray, share: float) -> Stack:
    """The value at `share` of the way through the sorted valid values, linear in between."""
    if mask.all():
        place = share * (len(values) - 1)
        low, high = int(np.floor(place)), int(np.ceil(place))
        order = np.sort(values, axis=0)
        mixed = order[low] + (order[high] - order[low]) * (place - low)
        return mixed, np.ones(mixed.shape, bool)
    order = np.sort(np.where(mask, values, np.inf), axis=0)  # masked ones last
    count = mask.sum(axis=0)
    place = share * np.maximum(count - 1, 0)
    low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
    below = np.take_along_axis(order, low[None], axis=0)[0]
    above = np.take_along_axis(order, high[None], axis=0)[0]
    valid = count > 0
    below, above = np.where(valid, below, 0), np.where(valid, above, 0)
    return below + (above - below) * (place - low), valid


def _mean(values: np.ndarray, mask: np.ndarray) -> Stack:
    count = mask.sum(axis=0)
    return np.where(mask, values, 0).sum(axis=0) / np.maximum(count, 1), count > 0


def _sum(values: np.ndarray, mask: np.ndarray) -> Stack:
    return np.where(mask, values, 0).sum(axis=0), mask.any(axis=0)


def _product(values: np.ndarray, mask: np.ndarray) -> Stack:
    return np.where(mask, values, 1).prod(axis=0), mask.any(axis=0)


def _extreme(values: np.ndarray, mask: np.ndarray, highest: bool) -> Stack:
    fill = -np.inf if highest else np.inf
    filled = np.where(mask, values, fill)
    valid = mask.any(axis=0)
    best = filled.max(axis=0) if highest else filled.min(axis=0)
    return np.where(valid, best, 0), valid


def _count(values: np.ndarray, mask: np.ndarray) -> Stack:
    return mask.sum(axis=0), np.ones(values.shape[1:], bool)


def _mode(values: np.ndarray, mask: np.ndarray) -> Stack:
    """The most common value, the smallest of equals."""
    order = np.argsort(np.where(mask, values, np.inf), axis=0, kind="stable")
    values = np.take_along_axis(values, order, axis=0)
    mask = np.take_along_axis(mask, order, axis=0)
    votes = np.stack([((values == one) & mask).sum(axis=0) for one in values])
    winner = np.where(mask, votes, -1).argmax(axis=0)
    return np.take_along_axis(values, winner[None], axis=0)[0], mask.any(axis=0)


def _nth(values: np.ndarray, mask: np.ndarray, last: bool) -> Stack:
    if last:
        values, mask = values[::-1], mask[::-1]
    winner = mask.argmax(axis=0)
    return np.take_along_axis(values, winner[None], axis=0)[0], mask.any(axis=0)


def _deviation(values: np.ndarray, mask: np.ndarray, power: float) -> Stack:
    mean, valid = _mean(values, mask)
    variance, _ = _mean((values - mean) ** 2, mask)
    return variance**power, valid


def _truth(values: np.ndarray, mask: np.ndarray, every: bool) -> Stack:
    true = np.where(mask, values != 0, every)
    return (true.all(axis=0) if every else true.any(axis=0)), mask.any(axis=0)


Statistic = Callable[[np.ndarray, np.ndarray], Stack]

STATISTICS: dict[str, tuple[Statistic, str | None]] = {
    "median": (partial(ranked, share=0.5), "float64"),
    "mean": (_mean, "float64"),
    "sum": (_sum, "float64"),
    "product": (_product, "float64"),
    "min": (partial(_extreme, highest=False), None),
    "max": (partial(_extreme, highest=True), None),
    "count": (_count, "int32"),
    "mode": (_mode, None),
    "first": (partial(_nth, last=False), None),
    "last": (partial(_nth, last=True), None),
    "stdDev": (partial(_deviation, power=0.5), "float64"),
    "variance": (partial(_deviation, power=1.0), "float64"),
    "and": (partial(_truth, every=True), "uint8"),
    "or": (partial(_truth, every=False), "uint8"),
}
"""Name -> (statistic over a stack, dtype of the result; None keeps the input's)."""


@dataclass(frozen=True, slots=True)
class Reducer:
    """A reducer: named statistics of one input, or lists (`toList`), `repeats` times over."""

    outputs: tuple[str, ...]
    statistics: tuple[tuple[Statistic, str | None], ...]
    collects: bool = False
    repeats: int = 0

    def repeated(self, count: int) -> Reducer:
        """`count` copies side by side, each for a column of its own."""
        return replace(self, repeats=count)

    def columns(self, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """Outputs by name over rows of column values; rows with a null are skipped."""
        rows = [row for row in rows if all(value is not None for value in row)]
        width = max(self.repeats, 1)
        columns = [[row[i] for row in rows] for i in range(width)]
        results = [self._column(column) for column in columns]
        if self.repeats:
            return {name: [result[name] for result in results] for name in self.outputs}
        return results[0]

    def _column(self, values: Sequence[Any]) -> dict[str, Any]:
        if self.collects:
            return {self.outputs[0]: list(values)}
        if not values:
            return dict.fromkeys(self.outputs)
        stack = np.asarray(values, "float64")[:, None, None]
        answers = [s(stack, np.ones(stack.shape, bool))[0].item() for s, _ in self.statistics]
        return dict(zip(self.outputs, answers, strict=True))


def reducer(name: str) -> Reducer:
    """The reducer of a single statistic."""
    return Reducer((name,), (STATISTICS[name],))


def percentile(shares: Sequence[float], names: Sequence[str] | None) -> Reducer:
    """Percentiles, named p25 and so on."""
    statistics = tuple((partial(ranked, share=p / 100), "float64") for p in shares)
    return Reducer(tuple(names or [f"p{p:g}" for p in shares]), statistics)


TO_LIST = Reducer(("list",), (), collects=True)


def reduced_band(name: str, bands: Sequence[Band], statistic: Statistic, dtype: str | None) -> Band:
    """One band of a statistic over a stack of bands, masked inputs left out per pixel."""
    common = str(np.result_type(*(band.dtype for band in bands)))
    kind = dtype or common

    def pixels(target: Target) -> Pixels:
        layers = [target.read(band) for band in bands]
        some = [layer for layer in layers if layer.mask.any()] or layers[:1]
        values = np.stack([layer.values for layer in some]).astype("float64")
        result, mask = statistic(values, np.stack([layer.mask for layer in some]))
        return Pixels(result.astype(kind), mask)

    return Band(name, kind, pixels)


def by_name(images: Sequence[Image]) -> dict[str, list[Band]]:
    """All bands of the images, matched by name, in order of first appearance."""
    groups: dict[str, list[Band]] = {}
    for image in images:
        for band in image.bands:
            groups.setdefault(band.name, []).append(band)
    return groups


def united_footprint(images: Sequence[Image]) -> tuple[Any, ...] | None:
    """The footprints together; None (everywhere) if one image has no end."""
    if any(image.footprint is None for image in images):
        return None
    return tuple(part for image in images for part in image.footprint or ())


def reduce_images(images: Sequence[Image], by: Reducer, suffixed: bool) -> Image:
    """The composite of a collection; of an empty one, an image without bands."""
    if by.collects or by.repeats:
        raise unsupported("ImageCollection.reduce with a list or repeated reducer")
    bands = [
        reduced_band(f"{name}_{output}" if suffixed else name, group, *statistic)
        for name, group in by_name(images).items()
        for output, statistic in zip(by.outputs, by.statistics, strict=True)
    ]
    return Image(tuple(bands), {}, united_footprint(images))


def reduce_bands(image: Image, by: Reducer) -> Image:
    """The bands of one image reduced to the reducer's outputs."""
    if by.collects or by.repeats or not image.bands:
        raise unsupported("Image.reduce with a list or repeated reducer, or without bands")
    bands = (
        reduced_band(output, image.bands, *statistic)
        for output, statistic in zip(by.outputs, by.statistics, strict=True)
    )
    return Image(tuple(bands), image.properties, image.footprint)


def mosaic(images: Sequence[Image]) -> Image:
    """The last valid image on top, band by band."""

    def stacked(name: str, bands: list[Band]) -> Band:
        kind = str(np.result_type(*(band.dtype for band in bands)))

        def pixels(target: Target) -> Pixels:
            values, mask = target.empty(kind)
            for band in reversed(bands):
                layer = target.read(band)
                fresh = layer.mask & ~mask
                values = np.where(fresh, layer.values, values).astype(kind, copy=False)
                mask = mask | fresh
                if mask.all():
                    break
            return Pixels(values, mask)

        return Band(name, kind, pixels)

    groups = by_name(images)
    bands = tuple(stacked(name, group) for name, group in groups.items())
    return Image(bands, {}, united_footprint(images))


def quality_mosaic(images: Sequence[Image], quality: str) -> Image:
    """Every band from the image whose quality band is highest; the earlier of equals."""
    for image in images:
        if image.band(quality) is None:
            raise ServiceError(
                f"ImageCollection.qualityMosaic: Band '{quality}' not found. "
                f"Available bands: [{', '.join(image.names)}]"
            )
    names = images[0].names if images else []

    def best(name: str) -> Band:
        bands = [image.band(name) for image in images]
        ranks = [image.band(quality) for image in images]
        if any(band is None for band in bands):
            raise ServiceError(
                f"ImageCollection.qualityMosaic: Band '{name}' is not in all images."
            )
        kind = str(np.result_type(*(band.dtype for band in bands if band)))

        def pixels(target: Target) -> Pixels:
            values, mask = target.empty(kind)
            top = np.full(target.shape, -np.inf)
            for band, rank in zip(bands, ranks, strict=True):
                layer, score = target.read(band), target.read(rank)
                better = score.mask & (score.values > top)
                top = np.where(better, score.values, top)
                values = np.where(better, layer.values, values).astype(kind, copy=False)
                mask = np.where(better, layer.mask, mask)
            return Pixels(values, mask)

        return Band(name, kind, pixels)

    return Image(tuple(best(name) for name in names), {}, united_footprint(images))


def to_bands(images: Sequence[Image]) -> Image:
    """All bands of all images in one, named index_band."""
    bands = [
        band.named(f"{image.properties.get('system:index', i)}_{band.name}")
        for i, image in enumerate(images)
        for band in image.bands
    ]
    return Image(tuple(unique_names(bands)), {}, united_footprint(images))
