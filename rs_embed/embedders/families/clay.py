"""Clay: a masked autoencoder for any optical or radar sensor, told its wavelengths and pixel size.

https://github.com/Clay-foundation/model at a5790ce, which names no paper of its own; the patch
kernel generated from wavelengths is DOFA's idea (Xiong et al. 2024, arXiv:2403.15356). A small
transformer makes a kernel for each band; the code of a patch holds its place in metres, the week
and hour, and where on the globe it lies. The authors' embedding is the class token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core.model import Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.prepare import Windows, fill_missing, middles, standardise
from rs_embed.embedders.families.clay_sensors import SENSORS
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

KERNEL_SCALE = 0.02  # of generated kernels; their bias is taken as it is
BASE = 10000.0
BESIDE = 8  # features of a token's code that hold time and place

SPEC = ModelSpec(
    id="clay",
    title="Clay",
    summary="Masked autoencoder of any sensor, told wavelengths, pixel size, time and place.",
    modalities={name: (sensor.item,) for name, sensor in SENSORS.items()},
    variants=(
        Variant(
            "v1.5",
            1024,
            {
                "dim": 1024, "depth": 24, "heads": 16, "dim_head": 64, "mlp_ratio": 4,
                "patch_size": 8, "norm_eps": 1e-5, "wave_dim": 128, "num_latent_tokens": 128,
                "wave_heads": 4, "wave_ffn": 2048,
            },
            WeightRecord(
                "v1.5/clay-v1.5.ckpt",
                repo="made-with-clay/Clay",
                revision="70200ebcccdf67bf2a0cb9984c77ddee26c10ed2",
                sha256="21432069250b9b3f9a65ffd0071c5ad56b793247285ab0604edf7f531d4798d0",
                licence="Apache-2.0",
                approx_size=5_160_000_000,
                source="the hub's page; hash as three other projects pin it. The encoder is a "
                "quarter of the file, beside its decoder and the optimiser's states",
            ),
            params_m=311.3,
        ),
    ),
    default_variant="v1.5",
    scale_m=10,
    window_px=256,
    token_px=8,
    module=__name__,
    options=(
        Option(
            "scale_m", float, None, "metres a pixel that the model sees and is told, where they "
            "are not the sensor's own", minimum=0.01, sets="scale_m",
        ),
        Option(
            "hour", int, 0, "hour of the day, UTC, at which the pixels were taken; a date has "
            "none, which the authors' code reads as 0", minimum=0, maximum=23,
        ),
        Option(
            "coords", str, "auto", "auto: the network is told the place, and the time where the "
            "pixels have dates; none: neither, as for a fifth of its training",
            choices=("auto", "none"),
        ),
        Option(
            "window_px", int, 256, "pixels a side of a window; positions are computed, nothing is "
            "interpolated", minimum=8, sets="window_px",
        ),
    ),
    image_vector="the class token after the last norm, the authors' embedding",
    assumptions=(
        "the time is the ISO week and the hour of the middle of the dates; pixels without dates "
        "have a code of zeros, as in training",
        "a missing pixel becomes the mean of its band",
        "the radar's statistics are of terrain-corrected backscatter, which S1_GRD is not",
    ),
    licence="Apache-2.0",
    citation="Clay Foundation 2024, Clay Foundation Model v1.5, "
    "https://github.com/Clay-foundation/model",
    links=(
        "https://github.com/Clay-foundation/model",
        "https://huggingface.co/made-with-clay/Clay",
    ),
)  # fmt: skip

_FILE, _BLOCK = "model.encoder.", "model.encoder.transformer.layers.{}."
KEYS = Keys(
    rows=(
        (f"{_BLOCK}0.norm.", "blocks.{}.norm1."),
        (f"{_BLOCK}0.to_qkv.", "blocks.{}.attn.qkv."),
        (f"{_BLOCK}0.to_out.", "blocks.{}.attn.proj."),
        (f"{_BLOCK}1.net.0.", "blocks.{}.norm2."),
        (f"{_BLOCK}1.net.1.", "blocks.{}.mlp.fc1."),
        (f"{_BLOCK}1.net.3.", "blocks.{}.mlp.fc2."),
        (f"{_FILE}transformer.norm.", "norm."),
        (_FILE, ""),
    ),
    wrapper="state_dict",
    ignored=(
        ("model.decoder.*", "the decoder of pretraining, not needed to embed"),
        ("model.proj.*", "towards the teacher's features, in pretraining alone"),
        ("model.teacher.*", "the teacher of pretraining"),
    ),
    beside=("model.decoder.mask_patch", "model.proj.weight", "model.teacher.cls_token"),
)


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """What the network takes.

    Returns
    -------
    dict of ndarray
        ``pixels`` ``(B, C, H, W)``, standardised; ``time`` ``(B, 4)``, sine and cosine of the week
        and of the hour; ``latlon`` ``(B, 4)``, those of the latitude and of the longitude; zeros
        where the network is not to know. ``gsd`` ``()``, metres a pixel; ``waves`` ``(C,)``,
        micrometres. All float32.
    """
    sensor = SENSORS[model.modality]
    pixels = windows.pixels[:, 0]
    if model.modality == "s1":
        pixels = 10 * np.log10(np.where(pixels <= 0, 1e-10, pixels.astype(np.float64)))
    told = model.options["coords"] == "auto"
    arrays = {
        "pixels": fill_missing(standardise(pixels, sensor.mean, sensor.std), 0.0),
        "time": _time(windows, int(model.options["hour"] or 0)) if told else None,
        "latlon": _circles(np.radians(windows.lonlat[:, ::-1])) if told else None,
        "gsd": np.array(windows.scale_m),
        "waves": np.array(sensor.waves),
    }
    unknown = np.zeros((len(pixels), 4))
    return {
        name: (unknown if array is None else array).astype(np.float32)
        for name, array in arrays.items()
    }


def _time(windows: Windows, hour: int) -> np.ndarray:
    """``(B, 4)``: week of 52 and hour of 24 of the middle of the dates; zeros without dates."""
    weeks = [[day.isocalendar().week for day in days] for days in middles(windows)]
    turns = np.array([[(week or [0])[0] / 52, hour / 24] for week in weeks])
    dated = np.array([bool(week) for week in weeks])
    return np.where(dated[:, None], _circles(2 * np.pi * turns), 0.0)


def _circles(angles: np.ndarray) -> np.ndarray:
    """``(B, 2)`` radians as ``(B, 4)``: sine and cosine of the first, then of the second."""
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(angles), 4)


def build(model: Model) -> Network:
    """The encoder; blocks and final norm under timm's names, the generator under the published."""
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, width, patch = config["dim"], config["wave_dim"], config["patch_size"]
    layer = nn.TransformerEncoderLayer(
        width, config["wave_heads"], config["wave_ffn"], dropout=0.0, activation="gelu",
        layer_norm_eps=1e-5,
    )  # fmt: skip
    generator: dict[str, Any] = {
        "weight_tokens": nn.Parameter(torch.zeros(config["num_latent_tokens"], width)),
        "bias_token": nn.Parameter(torch.zeros(1, width)),
        "encoder": nn.ModuleDict({"layers": nn.ModuleList([layer])}),
        "fc_weight": nn.Linear(width, dim * patch**2),
        "fc_bias": nn.Linear(width, dim),
    }
    embedding = {
        "fclayer": nn.ModuleDict({"l1": nn.Linear(width, width), "l2": nn.Linear(width, width)}),
        "weight_generator": Network(kernels, generator, {"patch": patch}),
    }
    parts: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "patch_embedding": Network(patches, embedding, {"patch": patch, "width": width}),
        "codes": Network(coded, {}, {"patch": patch}),
        "blocks": transformer(
            dim, config["depth"], config["heads"], eps=config["norm_eps"],
            mlp_ratio=config["mlp_ratio"], head_dim=config["dim_head"],
            qkv_bias=False, proj_bias=False,
        ),
        "norm": nn.LayerNorm(dim, eps=config["norm_eps"]),
    }  # fmt: skip
    return Network(forward, parts, {"patch": patch})


def forward(
    network: Any, pixels: Tensor, time: Tensor, latlon: Tensor, gsd: Tensor, waves: Tensor
) -> dict[str, Tensor]:
    """The tokens after the final norm.

    Parameters
    ----------
    network : Network
    pixels, time, latlon, gsd, waves : Tensor
        As `prepare` gives them.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``, the patch tokens; ``image`` ``(B, D)``, the class token.
    """
    import torch

    rows, cols = (side // network.config["patch"] for side in pixels.shape[2:])
    x = network.patch_embedding(pixels, waves)
    x = network.codes(x.unflatten(1, (rows, cols)), time, latlon, gsd)
    x = torch.cat([network.cls_token.expand(len(x), -1, -1), x], dim=1)
    for block in network.blocks:
        x = block(x)
    tokens: Any = network.norm(x)
    return {"grid": tokens[:, 1:].unflatten(1, (rows, cols)), "image": tokens[:, 0]}


def patches(embedding: Any, pixels: Tensor, waves: Tensor) -> Tensor:
    """The patch tokens ``(B, h * w, D)`` of pixels, by kernels made for their wavelengths."""
    from torch.nn.functional import conv2d, gelu

    known = _sincos(waves, embedding.config["width"] // 2)
    layers = embedding.fclayer
    known = known + gelu(layers["l2"](gelu(layers["l1"](known))))
    weight, bias = embedding.weight_generator(known)
    return conv2d(pixels, weight, bias, stride=embedding.config["patch"]).flatten(2).mT


def kernels(generator: Any, waves: Tensor) -> tuple[Tensor, Tensor]:
    """``(D, C, p, p)`` and ``(D,)`` of coded wavelengths ``(C, width)``."""
    import torch

    side, ahead = generator.config["patch"], len(generator.weight_tokens)
    x = torch.cat([generator.weight_tokens, waves, generator.bias_token])
    for layer in generator.encoder["layers"]:
        x = layer(x)
    weight = generator.fc_weight(x[ahead:-1] + waves).unflatten(1, (-1, side, side))
    return weight.transpose(0, 1) * KERNEL_SCALE, generator.fc_bias(x[-1])


def coded(_: Any, x: Tensor, time: Tensor, latlon: Tensor, gsd: Tensor) -> Tensor:
    """Tokens ``(B, h, w, D)`` with their codes, as ``(B, h * w, D)``.

    Quarters of all but the last eight features: sine and cosine of the column, of the row. The
    authors give the largest exponent to the width as a fraction of itself, so that all waves are
    nearly of one length: kept as the weights know it.
    """
    import torch

    batch, rows, cols, dim = x.shape
    width = dim - BESIDE
    step = torch.arange(max(rows, cols), device=x.device, dtype=torch.float32)
    code = _sincos(step, width // 4, power=2 / width, unit=float(gsd))
    place = torch.cat(
        [code[:cols].expand(rows, -1, -1), code[:rows, None].expand(-1, cols, -1)], dim=-1
    ).to(x)
    beside = torch.cat([time, latlon], dim=-1)[:, None, None].expand(-1, rows, cols, -1)
    return (x + torch.cat([place.expand(batch, -1, -1, -1), beside], dim=-1)).flatten(1, 2)


def _sincos(values: Tensor, waves: int, *, power: float = 1.0, unit: float = 1.0) -> Tensor:
    """Sines, then cosines ``(..., 2 * waves)``: of ``unit`` down to ``unit * BASE ** -power``."""
    import torch

    steps = torch.arange(waves, dtype=values.dtype, device=values.device) / (waves - 1)
    angles = values[..., None] * (unit / BASE ** (power * steps))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
