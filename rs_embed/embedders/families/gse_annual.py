"""Google Satellite Embedding (AlphaEarth Foundations): a product, read rather than computed.

Google publishes one vector of 64 numbers and unit length for each 10 m pixel of land and each
calendar year, 2017 to 2025 (dataset version 1.1; Brown et al. 2025, arXiv:2507.22291). The cells
of an embedding are those pixels, taken as they are: nearest neighbour, no averaging on the way;
of two UTM zones that overlap, the one of the region's centre.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rs_embed.core.model import InputSpec, Model, ModelSpec, Option, Variant
from rs_embed.core.prepare import Windows
from rs_embed.core.tokens import Tokens

_BANDS = tuple(f"A{i:02d}" for i in range(64))

SPEC = ModelSpec(
    id="gse_annual",
    title="Google Satellite Embedding (AlphaEarth Foundations), annual",
    summary="A published vector of 64 numbers for each 10 m pixel and year; nothing is computed.",
    modalities={
        "annual": (
            InputSpec(
                "embedding", _BANDS, "1", "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", cloudy_pct=100
            ),
        )
    },
    variants=(Variant("v1", 64),),
    default_variant="v1",
    scale_m=10,
    # Pixels do not see each other: a window is only how many are handled at once.
    window_px=16,
    token_px=1,
    module=__name__,
    options=(
        Option(
            "renormalise",
            bool,
            False,
            "scale a pooled vector, or the means of a coarser grid, back to unit length",
        ),
    ),
    device=False,
    aliases=("gse", "alphaearth", "satellite_embedding"),
    licence=(
        "CC-BY-4.0; attribution: The AlphaEarth Foundations Satellite Embedding dataset is "
        "produced by Google and Google DeepMind."
    ),
    citation=(
        "Brown et al. 2025, AlphaEarth Foundations: An embedding field model for accurate and "
        "efficient global mapping from sparse label data, arXiv:2507.22291"
    ),
    links=(
        "https://developers.google.com/earth-engine/datasets/catalog/"
        "GOOGLE_SATELLITE_EMBEDDING_V1_ANNUAL",
    ),
)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """``vectors`` ``(B, H, W, 64)``, NaN throughout where any number is missing."""
    vectors = np.moveaxis(windows.pixels[:, 0], 1, -1)  # (B, H, W, 64)
    missing = ~np.isfinite(vectors).all(axis=-1, keepdims=True)
    return {"vectors": np.where(missing, np.float32(np.nan), vectors)}


def encode(network: None, arrays: dict[str, Any], model: Model) -> Tokens:
    """The vectors themselves."""
    return Tokens(np.ascontiguousarray(arrays["vectors"], dtype=np.float32))
