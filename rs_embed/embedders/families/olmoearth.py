"""OlmoEarth: a transformer over monthly Sentinel-2, Sentinel-1 and Landsat, in four versions.

Ai2 2025, arXiv:2511.13655 (v1) and arXiv:2605.20804 (v1.1); olmoearth-pretrain-minimal 0.1.5 and
https://github.com/allenai/olmoearth_pretrain at 0a8852ed. Patches of 1 to 8 pixels are resized to
8; every patch, step and set of bands has a token. v1 and v1.1 add codes of step and place, v1.2
turns queries and keys by date, row and column, v1.3 reads a map off the tokens by attention.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import Cadence, Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, fill_missing, middles
from rs_embed.embedders.families import olmoearth_sensors as sensors
from rs_embed.embedders.families.olmoearth_network import build_parts, forward
from rs_embed.embedders.keys import Keys, Row

if TYPE_CHECKING:
    from rs_embed.embedders.blocks import Network

__all__ = ["KEYS", "SPEC", "build", "check", "forward", "prepare"]

SIZES = {
    "nano": (128, 4, 8), "tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12),
    "large": (1024, 24, 16),
}  # fmt: skip
_GUESSED = "hash as another project pins it; the size is computed from that of other versions"


def _variant(
    version: str,
    size: str,
    params_m: float,
    revision: str | None,
    sha256: str | None,
    approx_size: int | None = None,
    *,
    exact: int | None = None,
    source: str = _GUESSED,
) -> Variant:
    dim, depth, heads = SIZES[size]
    linear, rope = version != "v1", version in ("v1.2", "v1.3")
    config = {
        "version": version, "embedding_size": dim, "depth": depth, "num_heads": heads,
        "mlp_ratio": 4.0, "max_patch_size": 8, "use_linear_patch_embed": linear,
        "patch_embed_hidden_sizes": ((12 if size == "nano" else 64),) if linear else None,
        "position_encoding": "rope_3d_mixed" if rope else "absolute",
        "rope_base": 10000.0, "rope_mixed_base": 10000.0 if rope else 10.0,
        "rope_temporal_coordinate_scale": 1 / 30 if rope else 1.0,
        "qk_norm": False, "num_register_tokens": 0,
        "band_sets": sensors.SETS if linear else sensors.SETS_V1,
    }  # fmt: skip
    if version == "v1.3":
        config["attention_pooler"] = {
            "pooler_dim": dim, "pooler_depth": 1, "attn_dim": dim, "student_dims": (128, 64),
            "student_output_norm": True,
        }  # fmt: skip
        config["student_dim"] = 128
    under = version.replace(".", "_")
    weights = WeightRecord(
        "weights.pth",
        repo=f"allenai/OlmoEarth-{under}-{size.capitalize()}",
        revision=revision,
        size=exact,
        sha256=sha256,
        licence="OlmoEarth Artifact License",
        restricted=True,
        approx_size=approx_size,
        source=source,
    )
    return Variant(f"{under}_{size}", dim, config, weights, params_m=params_m)


_STATED = "size and hash as other projects pin them"
_VARIANTS = (
    _variant(
        "v1", "nano", 1.0, "529248a4dc3c54014c56b7504641cec98de31d1c",
        "795c68419a658fd22ccf8f2e020607675f963e9ef3b93d8e368bb17646765347", 14_300_000,
        source="the hub's page; hash as another project pins it",
    ),
    _variant(
        "v1", "tiny", 5.6, "885784437d4e2d632b7bf51b4233426c6f4479dc",
        "66b9827af383bc444d7909a406a5b62c072bb08d6804ff47a247c2dce8fad9a4", 60_000_000,
    ),
    _variant(
        "v1", "base", 86.3, "4bd1392a4539404d2c74276c39f3cb4cfff466cc",
        "551c1cc53337c6faaddead88071d7ebd2bd53ec271600fa6f0ee0a518c8b6e11", 800_000_000,
    ),
    _variant(
        "v1", "large", 304.0, "b2c9f41de3d8454cb37f0cd9cc3e79ec7c4af435",
        "1adb5026bd520c54bc415a1282386954927623bab81d01be2f5b6379cc039035", 2_800_000_000,
    ),
    _variant(
        "v1.1", "nano", 1.09, "6c16c7da0d05a1c4f32c2a7f9233e07c9ebfa61a",
        "883561154dd4eb874a3e28bb0559c15aa06bd8a2e4ffb54a0d6bc4bc15777eb3", 17_000_000,
    ),
    _variant(
        "v1.1", "tiny", 7.7, "74fab5714f763d6b94f8b1536bdd3300d77f45e8",
        "2a3fe8132adf9ff2ca96d00c9e376b8925bfe430fda6140749b3b92764c67ae1", 107_000_000,
        source="the hub's page; hash as another project pins it",
    ),
    _variant(
        "v1.1", "base", 94.5, "4ef31d45f80c1d4fcce18f9cde40c1b5e4d96cf4",
        "37fc73d542618f28357583fd17307002a4bdfb5321142c08e928102341105989", 1_030_000_000,
    ),
    _variant(
        "v1.2", "nano", 1.09, "e1f693ae2a7d5b57871a978e9d09e22d05206747",
        "2773fca48c238d78adde5e83b7d140a63d36c9e5f73746b8dbadaed743020378",
        exact=17_038_723, source=_STATED,
    ),
    _variant(
        "v1.2", "tiny", 7.7, "12a9fdbfeff905d7e147e7497f9f7a95c518eefc",
        "835c0b21ab010c4c4515faafa44dc1a41c9bc512d3a30af184803c4f4257697d",
        exact=107_394_275, source=_STATED,
    ),
    _variant(
        "v1.2", "small", 26.0, "a207c9a789483f95de1e9fb06acadb3da3775863",
        "459796ed5680bc85926f9a0e023476d14cb637bc19f826575c43836c909a5fa6",
        exact=314_778_943, source=_STATED,
    ),
    _variant(
        "v1.2", "base", 94.5, "581aa9baaa7aed4348c0903617eb92ee9f89e2ec",
        "57f7b66faf206db1307670673839e639d3a19c305f6ad968c62392ad3e88deec",
        exact=1_030_354_339, source=_STATED,
    ),
    _variant(
        "v1.3", "base", 108.8, None, None, 1_150_000_000,
        source="the authors' code names the repository; nobody states a revision or a hash, and "
        "the size is computed",
    ),
)  # fmt: skip

_S2, _S1, _LANDSAT = sensors.INPUTS.values()
SPEC = ModelSpec(
    id="olmoearth",
    title="OlmoEarth",
    summary="Monthly Sentinel-2, Sentinel-1 and Landsat at patches of one to eight pixels.",
    modalities={"s2": (_S2,), "s1": (_S1,), "landsat": (_LANDSAT,), "s2s1": (_S2, _S1)},
    variants=_VARIANTS,
    default_variant="v1_2_base",
    scale_m=10,
    window_px=64,
    token_px=4,
    module=__name__,
    cadence=Cadence("months", 12),
    options=(
        Option("patch_px", int, 4, "pixels a side of a patch, one cell of the grid: smaller is "
               "better and dearer", minimum=1, maximum=8, sets="token_px"),
        Option("window_px", int, 64, "pixels a side of a window, a multiple of patch_px; the "
               "authors advise at most 128", minimum=1, sets="window_px"),
        Option("date", str, None, "day, as 2022-07-15, of pixels without a date"),
        Option("cells", str, "auto", "mean: over the tokens of a patch; location: what v1.3 reads "
               "off them by attention, its authors' map; auto: location where the version has it",
               choices=("auto", "mean", "location"), builds=True),
        Option("hidden", str, "left_out", "what attention meets of a hidden token: nothing, as in "
               "training and where the authors' code runs a window alone; zeros: an empty token, "
               "as in its evaluation beside a window that has every step",
               choices=("left_out", "zeros"), builds=True),
    ),
    image_vector="the mean over all visible tokens of the window",
    assumptions=(
        "a step's date is the middle of its dates",
        "a sensor without any pixel in a step is hidden there; a missing pixel becomes 0 after "
        "the normalisation, in v1 B1 and B9 first take the value of B2 and B8A",
    ),
    licence="OlmoEarth Artifact License (weights; use restrictions); Apache-2.0 (code)",
    citation="Ai2 2025, OlmoEarth: Stable Latent Image Modeling for Multimodal Earth Observation, "
    "arXiv:2511.13655",
    links=(
        "https://arxiv.org/abs/2511.13655",
        "https://github.com/allenai/olmoearth_pretrain",
        "https://huggingface.co/allenai",
    ),
)  # fmt: skip

_TRAINING = "of pretraining, not needed to embed"
_OTHERS = ("worldcover", "srtm", "openstreetmap_raster", "wri_canopy_height_map", "cdl",
           "worldcereal")  # fmt: skip
KEYS = Keys(
    rows=(
        Row("encoder.blocks.{}.attn.[q,k,v].{}", "blocks.{}.attn.qkv.{}"),
        Row(
            "encoder.attention_pooler.self_attn_blocks.{}.attn.[q,k,v].{}",
            "attention_pooler.self_attn_blocks.{}.attn.qkv.{}",
        ),
        Row("encoder.", ""),
    ),
    ignored=(
        ("decoder.*", _TRAINING),
        ("target_encoder.*", _TRAINING),
        ("supervision_head.*", _TRAINING),
        ("location_token_distillation_head.*", _TRAINING),
        ("encoder.project_and_aggregate.*", _TRAINING),
        ("encoder.composite_encodings.pos_embed", "a fixed table of steps, computed here"),
        *(
            (f"encoder.{part}.{name}*", "of a layer that is decoded and never fed")
            for name in _OTHERS
            for part in (
                "patch_embeddings.per_modality_embeddings",
                "composite_encodings.per_modality_channel_embeddings",
            )
        ),
    ),
    beside=(
        "decoder.norm.weight",
        "target_encoder.norm.weight",
        "encoder.project_and_aggregate.projection.weight",
        "encoder.composite_encodings.per_modality_channel_embeddings.worldcover",
    ),
)


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; what `prepare` and `build` would refuse is refused before any pixel is fetched.

    Raises
    ------
    ModelError
        For pixels without a date and no ``date``, both, or a map that the version does not have.
    """
    _given_day(model, dated=bool(intervals))
    _cells(model)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """What the network takes.

    Returns
    -------
    dict of ndarray
        Each sensor ``(B, T, C, H, W)`` float32 under the authors' name; ``timestamps``
        ``(B, T, 3)`` int64: day from 1, month from 0, year; ``visible`` ``(B, T, M)`` bool over
        the sensors; ``scale_m`` and ``patch_px`` ``()``.

    Raises
    ------
    ModelError
        As `check`.
    """
    steps = windows.pixels.shape[1]
    day = _given_day(model, dated=all(windows.intervals))
    if day is not None and steps > 1:
        raise ModelError(f"olmoearth: date= is of one step, and these pixels have {steps}")
    days = [[day] if day else row for row in middles(windows)]
    arrays: dict[str, np.ndarray] = {
        "timestamps": np.array([[(d.day, d.month - 1, d.year) for d in row] for row in days]),
        "scale_m": np.array(windows.scale_m),
        "patch_px": np.array(model.token_px),
    }
    visible = []
    for name, item in sensors.INPUTS.items():
        if item not in model.inputs:
            continue
        picked = [windows.bands.index(band) for band in item.bands]
        raw = windows.pixels[:, :, picked].astype(np.float64)
        visible.append(np.isfinite(raw).any(axis=(2, 3, 4)))
        arrays[name] = _normalised(raw, name, first=model.variant.config["version"] == "v1")
    seen = np.stack(visible, axis=-1)
    # A window without any pixel keeps its tokens, which are masked in the end.
    return {**arrays, "visible": seen | ~seen.any(axis=(1, 2), keepdims=True)}


def _normalised(raw: np.ndarray, name: str, *, first: bool) -> np.ndarray:
    """Four deviations about the mean as 0..1, not cut off; ``(B, T, C, H, W)`` float32."""
    if first and name == "sentinel2_l2a":
        raw, bands = raw.copy(), sensors.S2.bands
        for band, near in sensors.NEAREST_V1:
            mine, its = raw[:, :, bands.index(band)], raw[:, :, bands.index(near)]
            mine[...] = np.where(np.isnan(mine), its, mine)
    mean, std = (np.array(one[name])[:, None, None] for one in (sensors.MEAN, sensors.STD))
    return fill_missing((raw - (mean - 2 * std)) / (4 * std), 0.0).astype(np.float32)


def _given_day(model: Model, *, dated: bool) -> dt.date | None:
    """The option ``date``, needed where the pixels have none and refused where they have."""
    given = model.options["date"]
    if dated and given is not None:
        raise ModelError("olmoearth: these pixels are dated and their own dates count; leave date "
                         "out")  # fmt: skip
    if dated:
        return None
    try:
        return dt.date.fromisoformat(str(given))
    except ValueError as error:
        what = "has no date" if given is None else f"cannot read the date {given!r}"
        raise ModelError(
            f"olmoearth {what} of these pixels; pass temporal= or give the array a time "
            "coordinate, or, for one step of a source without dates, "
            "ModelChoice('olmoearth', options={'date': '2022-07-15'})"
        ) from error


def _cells(model: Model) -> str:
    """What a cell is: ``mean`` or ``location``."""
    asked, has = str(model.options["cells"]), "attention_pooler" in model.variant.config
    if asked == "location" and not has:
        raise ModelError(
            f"olmoearth:{model.variant.name} has no location tokens, which came with v1.3; use "
            "cells='mean', or the variant v1_3_base"
        )
    return ("location" if has else "mean") if asked == "auto" else asked


def build(model: Model) -> Network:
    """The encoder, its parts under their published names.

    Raises
    ------
    ModelError
        Where the version has no such map as ``cells`` asks for.
    """
    from rs_embed.embedders.blocks import Network

    config = model.variant.config
    told = {"cells": _cells(model), "hidden": model.options["hidden"]}
    return Network(forward, build_parts(config), {**config, **told})
