"""A batch of windows through a network, and what comes back looked at before it is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import ModelError, RsEmbedError
from rs_embed.core.model import Model
from rs_embed.core.plan import RoiPlan
from rs_embed.core.prepare import Windows
from rs_embed.core.result import Outcome
from rs_embed.core.tokens import Tokens
from rs_embed.embedders.guarded import guarded
from rs_embed.embedders.runtime import LoadedModel, encode, prepare


def tokens_of(loaded: LoadedModel, model: Model, batch: Windows) -> Outcome[Tokens]:
    """The tokens of a batch: ``(B, h, w, D)`` float32 of the model's own sizes.

    Fails with ModelError: what the family raises; tokens of another shape or kind than the model
    declares; tokens that are not finite where every pixel is there.
    """
    return (
        guarded(model, "prepare", lambda: prepare(model, batch))
        .bind(lambda arrays: guarded(model, "encode", lambda: encode(loaded, arrays, model)))
        .bind(lambda found: _sound(model, found, batch))
    )


def stack_windows(parts: Sequence[Windows]) -> Windows:
    """Windows of one shape as one batch."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        pixels=np.concatenate([part.pixels for part in parts]),
        intervals=tuple(intervals for part in parts for intervals in part.intervals),
        lonlat=np.concatenate([part.lonlat for part in parts]),
    )


def absent_bands(planned: RoiPlan, seen: np.ndarray) -> RsEmbedError | None:
    """The error of a region that lacks a band everywhere, where no rule says what to do.

    ``seen`` says of each band of the model whether any pixel of it was valid.
    """
    model = planned.model
    needed = [not item.optional for item in model.inputs for _ in item.bands]
    missing = [b for b, n, s in zip(model.bands, needed, seen, strict=True) if n and not s]
    if not missing or not seen.any() or model.spec.masks_missing or planned.fill is not None:
        return None
    return ModelError(
        f"no pixel of band {', '.join(missing)} is valid anywhere, and {model.id} has no rule "
        f"for a band that is missing; take other dates, name a stand-in such as "
        f"bands={{{missing[0]!r}: '<a band you have>'}}, or set SensorSpec(fill_value=...)"
    )


def _sound(model: Model, found: Tokens, batch: Windows) -> Outcome[Tokens]:
    problem = _misfit(model, found, len(batch.pixels)) or _not_finite(model, found, batch)
    return Success(found) if problem is None else Failure(problem)


def _misfit(model: Model, found: object, count: int) -> RsEmbedError | None:
    side = model.window_px // model.token_px
    wanted = (count, side, side, model.dim)
    if not isinstance(found, Tokens):
        return ModelError(f"{model.id} gave a {type(found).__name__}; its encode must give Tokens")
    grid, image = found.grid, found.image
    if not isinstance(grid, np.ndarray):
        got = type(grid).__name__
    elif grid.shape != wanted or grid.dtype != np.float32:
        got = f"{grid.dtype} {grid.shape}"
    elif image is not None and (not isinstance(image, np.ndarray) or image.shape[:1] != (count,)):
        got = f"an image vector of shape {np.shape(image)} for {count} windows"
    else:
        return None
    return ModelError(
        f"{model.id}:{model.variant.name} gave {got} as tokens; {count} windows of "
        f"{model.window_px} px in tokens of {model.token_px} px must give float32 {wanted}"
    )


def _not_finite(model: Model, found: Tokens, batch: Windows) -> RsEmbedError | None:
    """What a network has to answer for: a number missing where no pixel is."""
    good = np.isfinite(found.grid).all(axis=-1)
    if good.all():
        return None
    bad = ~good & _complete(batch.pixels, good.shape[1])
    if not bad.any():
        return None
    window = int(np.argwhere(bad)[0][0])
    lon, lat = batch.lonlat[window]
    weights = "the weights hold NaN or infinity"
    cause = f"{weights} (a training run that diverged), or the numbers overflow inside"
    return ModelError(
        f"{model.id}:{model.variant.name} gave NaN or infinity for {int(bad[window].sum())} of "
        f"{bad[window].size} tokens of the window at {lon:.5f}, {lat:.5f}, whose pixels are all "
        f"valid: most likely {cause}. Check the weights, or use the published ones"
    )


def _complete(pixels: np.ndarray, side: int) -> np.ndarray:
    """``(B, h, w)``: tokens with every pixel there, in the bands and dates that the window has."""
    finite = np.isfinite(pixels)
    absent = ~finite.any(axis=(3, 4), keepdims=True)
    there = (finite | absent).all(axis=(1, 2)) & finite.any(axis=(1, 2))
    batch, height, width = there.shape
    if height % side or width % side:  # resized by the family itself: all or nothing
        whole = there.all(axis=(1, 2))
        return np.broadcast_to(whole[:, None, None], (batch, side, side))
    blocks = there.reshape(batch, side, height // side, side, width // side)
    return np.asarray(blocks.all(axis=(2, 4)))
