"""TerraMind: a transformer over the tokens of several kinds of imagery of one place.

Jakubik et al. 2025, arXiv:2504.11171. The authors' code is terratorch (1.2.13 read); its encoder
alone is built here. A modality has patches, positions and a code of its own; the tokens of all that
are there attend to each other, and are merged patch by patch in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, fill_missing, standardise
from rs_embed.core.statistics import TERRAMIND
from rs_embed.embedders.families.terramind_inputs import BESIDE, INPUTS, PUBLISHED
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

MISSING = 0.0  # what a missing value is before the normalisation, in the authors' configurations

_DECODER = "the decoder of pretraining, not needed to embed"
KEYS = Keys(
    ignored=(
        ("decoder*", _DECODER),
        ("mask_token", _DECODER),
        ("encoder_embeddings.tok_*", "imagery as code words, which raw pixels do without"),
        ("encoder_embeddings.coords.*", "places as words, the same"),
    ),
    beside=(
        "mask_token", "decoder.0.norm1.weight", "decoder_norm.weight",
        "decoder_proj_context.weight", "encoder_embeddings.tok_dem@224.token_emb.weight",
        "encoder_embeddings.coords.token_emb.weight",
    ),
)  # fmt: skip


def _variant(
    name: str,
    shape: tuple[int, int, int],
    hidden: int,
    params_m: float,
    revision: str | None,
    size: int,
    sha256: str,
    source: str,
) -> Variant:
    dim, depth, heads = shape
    gated = name in ("base", "large")
    config = {
        "dim": dim, "depth": depth, "num_heads": heads, "mlp": "swiglu" if gated else "gelu",
        "mlp_hidden": hidden, "bias": not gated, "norm_eps": 1e-6, "patch_size": 16,
        "img_size": 224,
    }  # fmt: skip
    weights = WeightRecord(
        f"TerraMind_v1_{name}.pt",
        repo=f"ibm-esa-geospatial/TerraMind-1.0-{name}",
        revision=revision,
        size=size,
        sha256=sha256,
        licence="Apache-2.0",
        source=source,
    )
    return Variant(f"v1_{name}", dim, config, weights, params_m=params_m)


SPEC = ModelSpec(
    id="terramind",
    title="TerraMind",
    summary="Sentinel-2, Sentinel-1, elevation and true-colour images, alone or together.",
    modalities={name: (item,) for name, item in INPUTS.items()},
    variants=(
        _variant(
            "tiny", (192, 12, 3), 768, 6.0, "2b5ac0a3ed7dd7e922ccfd595b56607f342df343",
            211_873_402, "e56ea9ebcd4451078b9ca4893d5cd8a89bbee376ae16829c3e7fbbbc76de0eba",
            "LFS record of the hub; an earlier file had the same name and size",
        ),
        _variant(
            "small", (384, 12, 6), 1536, 22.5, "960f7549bfe9d7a08946860042f83badd604c779",
            504_231_662, "755e9cce9483fd61334ef66c79f805406db5151a8b44a685c8fbbe023c684701",
            "stated alike by three projects that pin the file",
        ),
        _variant(
            "base", (768, 12, 12), 2048, 87.5, "fb96c70d0a5f68dcc44030b89cbfd8ec3fb0c67a",
            1_518_713_958, "83c3a0938067c83867a46e564443c2fa38383bf4f966d931b11cb025b847d7ec",
            "stated alike by five projects that pin the file",
        ),
        _variant(
            "large", (1024, 24, 16), 2730, 305.4, None,
            3_787_890_978, "a1c6b567ce6862c7ac07181551add840edce52f652abccfe5f17d23544060f81",
            "one project's hash after download; no source states a revision",
        ),
    ),
    default_variant="v1_small",
    scale_m=10,
    window_px=224,
    token_px=16,
    module=__name__,
    modality_builds=True,
    options=(
        *BESIDE,
        Option(
            "merge", str, "mean", "how the tokens that several modalities have of a patch become "
            "one, feature by feature", choices=("mean", "max"), builds=True,
        ),
        Option(
            "window_px", int, 224,
            "pixels a side of a window; off 224 the stored positions are interpolated (bicubic)",
            minimum=16, sets="window_px",
        ),
    ),
    licence="Apache-2.0",
    citation="Jakubik et al. 2025, TerraMind: Large-Scale Generative Multimodality for Earth "
    "Observation, ICCV, arXiv:2504.11171",
    links=(
        "https://arxiv.org/abs/2504.11171",
        "https://github.com/IBM/terramind",
        "https://huggingface.co/ibm-esa-geospatial",
    ),
)  # fmt: skip


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; a modality that is asked for twice is refused before any pixel is fetched.

    Raises
    ------
    ModelError
    """
    names = [item.name for item in model.inputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelError(
            f"{model.id}: modality {model.modality!r} is {twice[0]} already; leave the option "
            f"{twice[0].lower()} out, or add it to another modality"
        )


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """Each modality ``(B, C, H, W)`` float32 by its name, standardised with its own statistics.

    Nothing is cut off; what is missing counts as 0 before the normalisation, as for the authors.

    Raises
    ------
    ModelError
        As `check`.
    """
    check(model, ())
    arrays = {}
    for item in model.inputs:
        picked = [windows.bands.index(band) for band in item.bands]
        pixels = fill_missing(windows.pixels[:, 0, picked], MISSING)
        arrays[item.name] = standardise(pixels, *TERRAMIND[item.name])
    return arrays


def checkpoint_filter(state: dict[str, Tensor], model: Model) -> dict[str, Tensor]:
    """The tensors of a file without the embeddings of modalities that the model does not see."""
    used = {PUBLISHED[item.name] for item in model.inputs}
    others = tuple(f"encoder_embeddings.{name}." for name in {*PUBLISHED.values()} - used)
    return {key: value for key, value in state.items() if not key.startswith(others)}


def build(model: Model) -> Network:
    """The encoder with the embeddings of the model's modalities, under the published names.

    Raises
    ------
    ModelError
        As `check`.
    """
    from functools import partial

    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Mlp, Network, transformer

    check(model, ())
    config = model.variant.config
    dim, patch, hidden = config["dim"], config["patch_size"], config["mlp_hidden"]
    places = (config["img_size"] // patch) ** 2

    def embedding(bands: int) -> Network:
        parts: dict[str, Any] = {
            "mod_emb": nn.Parameter(torch.zeros(1, 1, dim)),
            "pos_emb": nn.Parameter(torch.zeros(1, places, dim)),
            "proj": nn.Linear(patch * patch * bands, dim, bias=False),
        }
        return Network(_embedded, parts, {"patch": patch})

    def gated() -> Network:
        sizes = {"fc1": (dim, hidden), "fc2": (hidden, dim), "fc3": (dim, hidden)}
        return Network(_gated, {k: nn.Linear(*v, bias=False) for k, v in sizes.items()}, {})

    names = [item.name for item in model.inputs]
    bias = config["bias"]
    parts: dict[str, Any] = {
        "encoder_embeddings": nn.ModuleDict(
            {PUBLISHED[item.name]: embedding(len(item.bands)) for item in model.inputs}
        ),
        "encoder": transformer(
            dim, config["depth"], config["num_heads"], eps=config["norm_eps"], qkv_bias=bias,
            proj_bias=bias, mlp=gated if config["mlp"] == "swiglu" else partial(Mlp, dim, hidden),
        ),
        "encoder_norm": nn.LayerNorm(dim, eps=config["norm_eps"]),
        "tokens": nn.ModuleDict({name: nn.Identity() for name in names}),
        "merged": nn.Identity(),
    }  # fmt: skip
    return Network(forward, parts, {"merge": model.options["merge"]})


def _gated(mlp: Any, x: Tensor) -> Tensor:
    """SiLU of one projection times another, then back to the width."""
    from torch.nn.functional import silu

    out: Tensor = mlp.fc2(silu(mlp.fc1(x)) * mlp.fc3(x))
    return out


def _embedded(embedding: Any, image: Tensor) -> Tensor:
    """``(B, h, w, D)`` of ``(B, C, H, W)``: a patch is read by row, column and then channel."""
    from rs_embed.embedders.blocks import resample_positions

    side = embedding.config["patch"]
    batch, bands, height, width = image.shape
    rows, cols = height // side, width // side
    patches = image.reshape(batch, bands, rows, side, cols, side).permute(0, 2, 4, 3, 5, 1)
    x: Tensor = embedding.proj(patches.flatten(3))
    places = resample_positions(embedding.pos_emb, rows, cols, prefix=0)
    x = x + places.reshape(1, rows, cols, -1) + embedding.mod_emb[:, None]
    return x


def forward(network: Any, **images: Tensor) -> dict[str, Tensor]:
    """The tokens after the final norm, merged over the modalities.

    Parameters
    ----------
    network : Network
    images : Tensor
        ``(B, C, H, W)`` standardised, of each modality by its name, all of one size.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``.
    """
    import torch

    embedded = [
        network.encoder_embeddings[PUBLISHED[name]](image) for name, image in images.items()
    ]
    rows, cols = embedded[0].shape[1:3]
    x = torch.cat([one.flatten(1, 2) for one in embedded], dim=1)
    for block in network.encoder:
        x = block(x)
    each = network.encoder_norm(x).unflatten(1, (len(images), -1)).unbind(1)
    each = [network.tokens[name](one) for name, one in zip(images, each, strict=True)]
    stacked = torch.stack(each)
    merged = stacked.mean(dim=0) if network.config["merge"] == "mean" else stacked.amax(dim=0)
    return {"grid": network.merged(merged).reshape(len(merged), rows, cols, -1)}
