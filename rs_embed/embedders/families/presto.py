"""Presto: a small transformer over the monthly series of one pixel.

Tseng et al. 2023, arXiv:2304.14065; https://github.com/nasaharvest/presto at 13173d02. Each channel
group of each month is a token, elevation and slope are one, the place is one. A token of which any
band is missing is hidden. A pixel knows nothing of its neighbours, so a window is a block of pixels
that share the place of its centre.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import (
    Cadence,
    InputSpec,
    Model,
    ModelSpec,
    Option,
    Variant,
    WeightRecord,
)
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, latlon, months_of_series
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

MONTHS = 24  # rows of the table of step positions
NO_CLASS = 9  # row of the table of Dynamic World's classes for none
# Pixels that run through the blocks together on a processor: what they need fits its cache.
AT_ONCE = 64

GROUPS = {
    "S1": ("VV", "VH"),
    "S2_RGB": ("B2", "B3", "B4"),
    "S2_Red_Edge": ("B5", "B6", "B7"),
    "S2_NIR_10m": ("B8",),
    "S2_NIR_20m": ("B8A",),
    "S2_SWIR": ("B11", "B12"),
    "ERA5": ("temperature_2m", "total_precipitation"),
    "SRTM": ("elevation", "slope"),
    "NDVI": ("NDVI",),
}
BANDS = tuple(band for bands in GROUPS.values() for band in bands)
_SRTM = list(GROUPS).index("SRTM")  # one token, of the first step
# (x + shift) / divisor, from presto/dataops/pipelines/s1_s2_era5_srtm.py. Zero degrees Celsius is
# 273.15 K; the authors' code has 272.15. Sentinel-2's bands are all divided by 10000.
_SCALES = {
    "VV": (25.0, 25.0),
    "VH": (25.0, 25.0),
    "temperature_2m": (-272.15, 35.0),
    "total_precipitation": (0.0, 0.03),
    "elevation": (0.0, 2000.0),
    "slope": (0.0, 50.0),
}
# What the collection calls a band of theirs.
_OURS = {"total_precipitation": "total_precipitation_sum"}
S2 = InputSpec(
    "s2",
    tuple(band for name in GROUPS if name.startswith("S2") for band in GROUPS[name]),
    "reflectance_x10000",
    "COPERNICUS/S2_HARMONIZED",
)
S1 = InputSpec("s1", GROUPS["S1"], "db", "COPERNICUS/S1_GRD", cloudy_pct=100)
_ERA5: Any = {"collection": "ECMWF/ERA5_LAND/MONTHLY_AGGR", "cloudy_pct": 100, "optional": True}
TEMPERATURE = InputSpec("era5_t", ("temperature_2m",), "kelvin", **_ERA5)
RAIN = InputSpec("era5_p", ("total_precipitation_sum",), "metres", **_ERA5)
# Slope is derived, so that no plain choice of a collection's bands gives the two.
ELEVATION = InputSpec("elevation", ("elevation",), "metres", static=True)
SLOPE = InputSpec("slope", ("slope",), "degrees", static=True)
# The authors take the commonest class of a month, which no composite of ours makes: such a layer
# comes from an array or a local source.
DYNAMIC_WORLD = InputSpec("dw", ("label",), "class", optional=True)

SPEC = ModelSpec(
    id="presto",
    title="Presto",
    summary="Monthly series of single pixels: Sentinel-2, Sentinel-1, weather and terrain.",
    modalities={"s2": (S2,), "s1": (S1,), "s2s1": (S2, S1)},
    variants=(
        Variant(
            "default",
            128,
            {
                "encoder_embedding_size": 128, "channel_embed_ratio": 0.25,
                "month_embed_ratio": 0.25, "encoder_depth": 2, "mlp_ratio": 4,
                "encoder_num_heads": 8, "max_sequence_length": MONTHS, "norm_eps": 1e-5,
                "groups": GROUPS,
            },
            WeightRecord(
                "default_model.pt",
                url="https://raw.githubusercontent.com/nasaharvest/presto/"
                "11e207a668a34336ced1d8e492a1bd5849b96c4a/data/default_model.pt",
                revision="11e207a668a34336ced1d8e492a1bd5849b96c4a",
                size=3_321_716,
                sha256="559c9d76f525bdf2dd3774da8b1e7f1510769b73baacac12e9e4d8d5c67fbe65",
                licence="MIT",
                source="the file in the authors' repository",
            ),
            params_m=0.41,
        ),
    ),
    default_variant="default",
    scale_m=10,
    window_px=16,
    token_px=1,
    module=__name__,
    cadence=Cadence("months", MONTHS),
    options=(
        Option("window_px", int, 16, "pixels a side of the block that shares the place of its "
               "centre", minimum=1, sets="window_px"),
        Option("month", int, None, "calendar month, 1 to 12, of pixels without a date",
               minimum=1, maximum=12),
        Option("era5", bool, False, "add monthly temperature and precipitation",
               adds=(TEMPERATURE, RAIN)),
        Option("srtm", bool, False, "add elevation and slope", adds=(ELEVATION, SLOPE)),
        Option("dw", bool, False, "add Dynamic World's class of each month, 0 to 8",
               adds=(DYNAMIC_WORLD,)),
    ),
    licence="MIT",
    citation="Tseng et al. 2023, Lightweight, Pre-trained Transformers for Remote Sensing "
    "Timeseries, arXiv:2304.14065",
    links=("https://github.com/nasaharvest/presto", "https://arxiv.org/abs/2304.14065"),
)  # fmt: skip

KEYS = Keys(
    rows=(("encoder.", ""),),
    ignored=(("decoder.*", "the decoder of pretraining, not needed to embed"),),
    beside=("decoder.mask_token", "decoder.channel_embeddings.weight", "decoder.month_embed.weight",
            "decoder.decoder_blocks.0.norm1.weight"),
)  # fmt: skip


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; the months that `prepare` would refuse are refused before any pixel is fetched.

    Raises
    ------
    ModelError
    """
    months_of_series(model, [intervals], max(1, len(intervals)))


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """The normalised series of a batch of windows, by the authors' names.

    Returns
    -------
    dict of ndarray
        ``x`` ``(B, T, 17, H, W)`` float32 over `BANDS`; ``mask`` bool of the same shape, true where
        a value is missing and ``x`` holds the normalised zero; ``dynamic_world`` ``(B, T, H, W)``
        class 0 to 8, or 9 for none; ``latlons`` ``(B, 2)`` degrees; ``months`` ``(B, T)`` from 0
        for January.

    Raises
    ------
    ModelError
        As `check`; for a class that Dynamic World does not have.
    """
    batch, steps, _, height, width = windows.pixels.shape
    raw = {band: windows.pixels[:, :, i] for i, band in enumerate(windows.bands)}
    missing = np.full((batch, steps, height, width), np.nan, dtype=np.float32)
    x = np.empty((batch, steps, len(BANDS), height, width), dtype=np.float32)
    mask = np.empty(x.shape, dtype=bool)
    for i, band in enumerate(BANDS):
        if band == "NDVI":
            values = _ndvi(raw.get("B8", missing), raw.get("B4", missing))
        else:
            values = raw.get(_OURS.get(band, band), missing).astype(np.float64)
        mask[:, :, i] = ~np.isfinite(values)
        shift, divisor = _SCALES.get(band, (0.0, 1.0 if band == "NDVI" else 10000.0))
        x[:, :, i] = (np.where(mask[:, :, i], 0.0, values) + shift) / divisor
    return {
        "x": x,
        "mask": mask,
        "dynamic_world": _classes(raw.get("label", missing)),
        "latlons": latlon(windows),
        "months": months_of_series(model, windows.intervals, steps),
    }


def _ndvi(near: np.ndarray, red: np.ndarray) -> np.ndarray:
    """Of raw numbers; 0 where their sum is not positive, NaN where one is missing."""
    total = near.astype(np.float64) + red
    ratio = (near - red) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, ratio, np.where(np.isnan(total), np.nan, 0.0))


def _classes(label: np.ndarray) -> np.ndarray:
    classes = np.where(np.isfinite(label), label, NO_CLASS)
    if not np.isin(classes, np.arange(NO_CLASS + 1)).all():
        wrong = np.setdiff1d(classes, np.arange(NO_CLASS + 1))[:3]
        raise ModelError(
            f"presto: Dynamic World's label is a class from 0 to 8, and these pixels hold "
            f"{', '.join(f'{value:g}' for value in wrong)}; NaN marks a missing one"
        )
    return classes.astype(np.int64)


def build(model: Model) -> Network:
    """The encoder, its parts under their published keys."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    width, eps = config["encoder_embedding_size"], config["norm_eps"]
    channel, month = (int(width * config[f"{of}_embed_ratio"]) for of in ("channel", "month"))
    parts: dict[str, nn.Module | nn.Parameter] = {
        "pos_embed": nn.Parameter(
            torch.empty(1, config["max_sequence_length"], width - channel - month)
        ),
        "month_embed": nn.Embedding(12, month),
        "channel_embed": nn.Embedding(len(GROUPS) + 1, channel),
        "eo_patch_embed": nn.ModuleDict(
            {name: nn.Linear(len(bands), width) for name, bands in GROUPS.items()}
        ),
        "dw_embed": nn.Embedding(NO_CLASS + 1, width),
        "latlon_embed": nn.Linear(3, width),
        "blocks": transformer(
            width, config["encoder_depth"], config["encoder_num_heads"], eps=eps,
            mlp_ratio=config["mlp_ratio"],
        ),
        "norm": nn.LayerNorm(width, eps=eps),
    }  # fmt: skip
    return Network(forward, parts, {})


def forward(
    network: Any, x: Tensor, mask: Tensor, dynamic_world: Tensor, latlons: Tensor, months: Tensor
) -> dict[str, Tensor]:
    """``grid`` ``(B, H, W, D)``: the norm of the mean over a pixel's visible tokens and its place.

    NaN for a pixel without any visible token of its own. Parameters as `prepare` gives them.
    """
    import torch

    batch, _, _, height, width = x.shape
    series = x.permute(0, 3, 4, 1, 2).flatten(0, 2)  # (P, T, 17)
    hidden = mask.permute(0, 3, 4, 1, 2).flatten(0, 2)
    classes = dynamic_world.permute(0, 2, 3, 1).flatten(0, 2)
    window = torch.arange(batch, device=x.device).repeat_interleave(height * width)
    codes, place = _codes(network, months), network.latlon_embed(_on_the_globe(latlons))
    together = AT_ONCE if x.device.type == "cpu" else len(series)
    out = []
    for start in range(0, len(series), together):
        part = slice(start, start + together)
        of = window[part]
        tokens, seen = _embedded(
            network, series[part], hidden[part], classes[part], codes[:, of], place[of]
        )
        out.append(_pooled(network, tokens, seen))
    return {"grid": torch.cat(out).reshape(batch, height, width, -1)}


def _on_the_globe(latlons: Tensor) -> Tensor:
    """``(B, 3)`` unit vectors of ``(B, 2)`` degrees."""
    import torch

    lat, lon = torch.deg2rad(latlons).unbind(dim=-1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)


def _codes(network: Any, months: Tensor) -> Tensor:
    """``(G, B, T, D)``: month, group and step side by side; the terrain's has its group alone."""
    import torch

    month, channel = network.month_embed(months), network.channel_embed.weight
    step = network.pos_embed[:, : months.shape[1]].expand(len(months), -1, -1)

    def code(group: int) -> Tensor:
        timed = float(group != _SRTM)
        own = channel[group].expand(*months.shape, -1)
        return torch.cat([timed * month, own, timed * step], dim=-1)

    return torch.stack([code(group) for group in range(len(channel))])


def _embedded(
    network: Any, series: Tensor, hidden: Tensor, classes: Tensor, codes: Tensor, place: Tensor
) -> tuple[Tensor, Tensor]:
    """The tokens ``(P, N, D)`` of some pixels, and which are visible, ``(P, N)`` bool.

    The place first, then group by group, each over the steps. Groups that no pixel has are left
    out; where pixels have not all the same, each one's visible tokens stand in front.
    """
    import torch

    tokens, seen = [place[:, None]], [torch.ones_like(classes[:, :1], dtype=torch.bool)]
    first = 0
    for i, (name, bands) in enumerate(GROUPS.items()):
        own, steps = slice(first, first + len(bands)), slice(0, 1 if i == _SRTM else None)
        first += len(bands)
        shown = ~hidden[:, steps, own].any(dim=-1)
        if shown.any():
            embed = network.eo_patch_embed[name]
            tokens.append(embed(series[:, steps, own]) + codes[i][:, steps])
            seen.append(shown)
    if (shown := classes != NO_CLASS).any():
        tokens.append(network.dw_embed(classes) + codes[-1])
        seen.append(shown)
    x, visible = torch.cat(tokens, dim=1), torch.cat(seen, dim=1)
    if visible.all():
        return x, visible
    order = torch.argsort(~visible, dim=1, stable=True)[:, : int(visible.sum(dim=1).max())]
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1])), visible.gather(1, order)


def _pooled(network: Any, x: Tensor, seen: Tensor) -> Tensor:
    """``(P, D)``: hidden tokens are not looked at, and take no part in the mean."""
    mask = None if seen.all() else seen[:, None, None]
    for block in network.blocks:
        x = block(x, mask)
    weights = seen.unsqueeze(-1).to(x)
    count = weights.sum(dim=1)
    pooled: Tensor = network.norm((x * weights).sum(dim=1) / count)
    return pooled.masked_fill(count < 2, float("nan"))
