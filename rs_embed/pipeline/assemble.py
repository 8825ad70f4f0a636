"""From the cells of a ROI to an `Embedding`: pooling or grid, and the description of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.crs import is_geographic, scale_error
from rs_embed.core.embedding import Embedding
from rs_embed.core.grid import Grid
from rs_embed.core.jsonable import to_jsonable
from rs_embed.core.plan import RoiPlan, fingerprint, input_time
from rs_embed.core.prepare import padded_fraction
from rs_embed.core.resample import resample_cells, scaled_grid
from rs_embed.core.result import Outcome
from rs_embed.core.specs import OutputSpec, dates
from rs_embed.core.token_grid import TokenGrid, nothing_valid, pool, position_share, seam_ratio
from rs_embed.core.version import __version__
from rs_embed.core.windows import resized_token_grid
from rs_embed.plugins.notices import warn_once
from rs_embed.raster.embedding_array import grid_array


def assemble_embedding(
    planned: RoiPlan,
    field: TokenGrid,
    output: OutputSpec,
    extra: Mapping[str, Any],
    *,
    flip_rows: bool = False,
) -> Outcome[Embedding]:
    """The embedding of a ROI.

    Parameters
    ----------
    planned : RoiPlan
    field : TokenGrid
        The cells that the model gave.
    output : OutputSpec
    extra : mapping
        What the source and the weights say of themselves.
    flip_rows : bool
        True where the source's own rows run south to north; "native" orientation keeps to them.

    Fails with ProviderError where no cell is valid.
    """
    valid = field.valid
    if not valid.any():
        return Failure(nothing_valid(collections_of(planned)))
    meta = build_meta(planned, field, output, extra, flip_rows=flip_rows)
    if output.mode == "pooled":
        return Success(Embedding(_scaled(planned, pool(field, output.pooling)), meta))
    _say_windows_show(planned)
    grid = cell_grid(planned)
    cells = np.ascontiguousarray(field.cells.transpose(2, 0, 1))
    if output.cell_m is not None:
        cells, grid = resample_cells(cells, grid, output.cell_m)
        cells = _scaled(planned, cells)
    if output.grid_orientation == "native" and flip_rows:
        cells, grid = np.ascontiguousarray(cells[:, ::-1]), grid.flip_rows()
    return Success(Embedding(grid_array(cells, grid, meta), meta))


def _scaled(planned: RoiPlan, vectors: np.ndarray) -> np.ndarray:
    """Means ``(D, ...)`` back at unit length, where the model's option says so."""
    if not planned.model.options.get("renormalise"):
        return vectors
    norm = np.linalg.norm(vectors, axis=0, keepdims=True)
    return np.asarray(vectors / np.where(norm > 0, norm, 1), dtype=np.float32)


def cell_grid(planned: RoiPlan) -> Grid:
    """The georeferenced cells of a plan's tokens."""
    if planned.input_prep == "resize":
        return resized_token_grid(planned.roi, planned.tiling, planned.model.image_px)
    return planned.tiling.token_grid(planned.roi)


def build_meta(
    planned: RoiPlan,
    field: TokenGrid,
    output: OutputSpec,
    extra: Mapping[str, Any],
    *,
    flip_rows: bool = False,
) -> dict[str, Any]:
    """Everything that made an embedding, as plain data. `docs/concepts.md` lists the fields."""
    model, tiling, roi = planned.model, planned.tiling, planned.roi
    fetch_plans = planned.fetch_plans
    several = len(tiling) > 1
    cells = cell_grid(planned)
    if output.cell_m is not None:
        cells = scaled_grid(cells, output.cell_m)
        extra = {**extra, "resampled_grid": True}
    if output.mode == "grid" and output.grid_orientation == "native" and flip_rows:
        extra = {**extra, "south_up": True}
    meta: dict[str, Any] = {
        "model": model.id,
        "variant": model.variant.name,
        "modality": model.modality,
        "options": dict(model.options),
        "dim": int(field.cells.shape[-1]),
        "output": output.mode,
        "pooling": output.pooling if output.mode == "pooled" else None,
        "collection": collections_of(planned) or None,
        "bands": list(model.bands),
        "temporal": _temporal(planned),
        "input_time": input_time(planned),
        "missing_bands": [
            band for band, seen in zip(model.bands, field.bands_seen, strict=False) if not seen
        ],
        "intervals": next((list(map(list, f.intervals)) for f in fetch_plans if f.intervals), []),
        "crs": roi.crs,
        "bounds": list(roi.bounds),
        "scale_m": roi.resolution[0],
        "scale_error": _scale_error(roi),
        "roi_px": list(roi.shape),
        "cell_m": cells.resolution[0],
        "cells": list(cells.shape),
        "window_px": tiling.window_px,
        "token_px": tiling.token_px,
        "windows": len(tiling),
        "overlap": tiling.overlap,
        "input_prep": planned.input_prep,
        "seam_ratio": seam_ratio(field.cells, tiling) if several else None,
        "position_share": position_share(field.cells, tiling) if several else None,
        "empty_intervals": field.empty_intervals,
        "valid_fraction": float(field.valid.mean()),
        "missing_fraction": field.missing,
        "padded_fraction": padded_fraction(planned),
        "fill_value": planned.fill,
        "assumptions": list(model.spec.assumptions),
        "licence": model.spec.licence,
        "citation": model.spec.citation,
        "rs_embed_version": __version__,
        "plan": fingerprint({"fetches": [f.fingerprint for f in fetch_plans]})
        if collections_of(planned)
        else None,
    }
    return {key: to_jsonable(value) for key, value in {**meta, **planned.notes, **extra}.items()}


def collections_of(planned: RoiPlan) -> str:
    """What the sources of a plan's pixels are called; "" for an array, which has no name."""
    return ", ".join(dict.fromkeys(one.collection for one in planned.fetch_plans))


def _scale_error(roi: Grid) -> float | None:
    """Relative error of a metre of the grid at its middle; None in degrees."""
    west, south, east, north = roi.bounds
    if is_geographic(roi.crs):
        return None
    return round(scale_error(roi.crs, (west + east) / 2, (south + north) / 2, roi.resolution[0]), 6)


def _say_windows_show(planned: RoiPlan) -> None:
    """Say once that the windows of a grid will be seen in it, where that is known of the model."""
    model, tiling = planned.model, planned.tiling
    bare = len(tiling) > 1 and tiling.tokens_per_window > 1 and not tiling.overlap
    if not (model.spec.shows_windows and bare):
        return
    warn_once(
        ("shows_windows", model.id),
        f"the tokens of {model.id} show their place in the window, so a grid of {len(tiling)} "
        "windows shows the windows (meta['position_share'] says how much); use overlap=4, or a "
        f"window_px of {tiling.token_px}, one token",
    )


def _temporal(planned: RoiPlan) -> list[str | None] | None:
    spec = planned.temporal
    if spec is None:
        return None
    return [day.isoformat() for day in dates(spec)]
