"""Embeddings of several dates as one array."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.embedding import META_ATTR, Embedding
from rs_embed.core.result import Outcome

if TYPE_CHECKING:
    import xarray as xr


def stack_dates(
    dates: Iterator[tuple[Outcome[Embedding], dict[str, Any]]], times: xr.DataArray
) -> Outcome[xr.DataArray]:
    """Embeddings of one shape along ``"time"``, in front; each is taken into its place at once.

    ``dates`` gives the embedding of each of ``times``, and its description. A date without any
    valid pixel is NaN throughout, and counted in ``empty_times``. Of the descriptions, what is the
    same for all dates stays; the rest becomes lists under ``by_time``.

    Fails as the first date does where every one failed.
    """
    metas: list[dict[str, Any]] = []
    empty: list[int] = []
    values: np.ndarray | None = None
    template: xr.DataArray | None = None
    first: Outcome[Embedding] | None = None
    for i, (outcome, meta) in enumerate(dates):
        metas.append(meta)
        if isinstance(outcome, Failure):
            first = outcome if first is None else first
            empty.append(i)
            continue
        one = outcome.unwrap().to_xarray()
        if values is None:
            values, template = np.empty((len(times), *one.shape), dtype=np.float32), one
        values[i] = one.values
    if values is None or template is None:
        assert first is not None
        return first.map(Embedding.to_xarray)
    values[empty] = np.nan
    meta = {**_merged(metas), "empty_times": len(empty)}
    return Success(_along_time(values, template, meta, times))


def _along_time(
    values: np.ndarray, template: xr.DataArray, meta: dict[str, Any], times: xr.DataArray
) -> xr.DataArray:
    """``(T, ...)`` values as an array like that of one date."""
    import xarray as xr

    attrs = {k: v for k, v in template.attrs.items() if k not in meta["by_time"]}
    stacked = xr.DataArray(
        xr.Variable(("time", *template.dims), values, {**attrs, META_ATTR: json.dumps(meta)}),
        coords={
            **{name: coord.variable for name, coord in template.coords.items()},
            "time": xr.Variable("time", times.values, times.attrs),
        },
        name=template.name,
    )
    stacked.encoding.update(template.encoding)
    return stacked


def _merged(metas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One description of several; of the input too, what is the same for all stays in its place."""
    same, differing = _parted(metas)
    if "input" in differing:
        shared, own = _parted([meta["input"] for meta in metas])
        same["input"] = shared
        differing["input"] = [
            {name: values[i] for name, values in own.items()} for i in range(len(metas))
        ]
    return {**same, "by_time": differing}


def _parted(metas: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What all say, and, by name, what each says."""
    names = list(dict.fromkeys(name for meta in metas for name in meta))
    first = metas[0]
    same = {k: first[k] for k in names if all(k in m and m[k] == first[k] for m in metas)}
    return same, {k: [m.get(k) for m in metas] for k in names if k not in same}
