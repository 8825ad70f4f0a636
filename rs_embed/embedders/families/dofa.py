"""DOFA: a ViT whose patch embedding is generated from the wavelengths of the bands.

Xiong et al. 2024, arXiv:2403.15356; github.com/zhu-xlab/DOFA. A small transformer turns the
wavelength of each band into its part of the kernel, so that any bands go in. The second version has
patches of 14 pixels and layer scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_embed.core import photographs
from rs_embed.core.bands import parse_band_values
from rs_embed.core.errors import ModelError
from rs_embed.core.model import Model, ModelSpec, Option, Variant, WeightRecord
from rs_embed.core.patch import Interval
from rs_embed.core.prepare import Windows, fill_missing, standardise
from rs_embed.embedders.families.dofa_sensors import (
    MODALITIES,
    levels_of,
    statistics_of,
    wavelengths_of,
)
from rs_embed.embedders.keys import Keys

if TYPE_CHECKING:
    from torch import Tensor

    from rs_embed.embedders.blocks import Network

_HEAD = "of the distillation in pretraining, not needed to embed"
KEYS = Keys(
    ignored=(
        ("mask_token", "stands for masked patches in pretraining"),
        ("projector.*", _HEAD),
    ),
    beside=("mask_token", "projector.weight", "projector.bias"),
)


def _variant(
    name: str, shape: tuple[int, int, int], file: str, params_m: float, **facts: Any
) -> Variant:
    dim, depth, heads = shape
    patch = 14 if name.startswith("v2") else 16
    config = {
        "img_size": 224, "patch_size": patch, "embed_dim": dim, "depth": depth,
        "num_heads": heads, "mlp_ratio": 4, "norm_eps": 1e-6, "wv_planes": 128, "wave_heads": 4,
        "layer_scale": patch == 14,
    }  # fmt: skip
    weights = WeightRecord(
        file,
        repo="earthflow/DOFA",
        revision="7a5219e48d2f8848511b0fabea7920a8836bc480",
        licence="CC BY 4.0",
        **facts,
    )
    return Variant(
        name, dim, config, weights, token_px=patch, params_m=params_m, image_vector=patch == 16
    )  # fmt: skip


SPEC = ModelSpec(
    id="dofa",
    title="DOFA",
    summary="A ViT for any bands whose wavelengths are known: its kernels are made from them.",
    modalities=MODALITIES,
    variants=(
        _variant(
            "base", (768, 12, 12), "DOFA_ViT_base_e100.pth", 111.3, size=447_669_164,
            sha256="4720985e42b918ac0307009eb06121a3435d9bbce6fd95446f84824a538165b1",
            source="LFS record of the hub",
        ),
        _variant(
            "large", (1024, 24, 16), "DOFA_ViT_large_e100.pth", 337.1, approx_size=1_350_000_000,
            sha256="ea9910bc026268ca36c30b76fd1169aeaca9ea51af5eaff840a20f150ea03d49",
            source="LFS record of the hub; its exact size is not known",
        ),
        _variant(
            "v2_base", (768, 12, 12), "dofav2_vit_base_e150.pth", 105.4, size=421_811_730,
            sha256="e1be9d50fb3e4e3640e337d098b92d67797eaf2a579de3b7a1e363095885314d",
            source="stated alike by three projects that pin the file",
        ),
        _variant(
            "v2_large", (1024, 24, 16), "dofav2_vit_large_e150.pth", 329.3,
            approx_size=1_320_000_000,
            source="the hub's list of files at that revision; nobody states a hash",
        ),
    ),
    default_variant="base",
    scale_m=10,
    window_px=224,
    token_px=16,
    module=__name__,
    options=(
        Option(
            "wavelengths", str, None,
            "bands of your own in place of the modality's, each with its central wavelength in "
            "micrometres, such as 'nir=0.842, red=0.665'", sets="bands",
        ),
        Option(
            "mean", str, None,
            "with std: statistics of your own data, one number a band in its own units, separated "
            "by commas; then (x - mean) / std alone, as the authors fine-tune",
        ),
        Option("std", str, None, "see mean"),
        photographs.REFLECTANCE_MAX,
        Option(
            "norm", bool, False,
            "apply the norm that lies in the file to the tokens and to the image vector; the "
            "authors' encoders do not", builds=True,
        ),
        Option(
            "scale_m", float, None, "metres a pixel that the model sees in place of the modality's "
            "own: 30 for Landsat, 3 for PlanetScope, 1 for NAIP, else 10", minimum=0.01,
            sets="scale_m",
        ),
        Option(
            "window_px", int, 224,
            "pixels a side of a window; off 224 the stored positions are interpolated (bilinear)",
            minimum=14, sets="window_px",
        ),
    ),
    image_vector="the mean of the patch tokens through a layer norm without weights, as in the "
    "authors' classifier of the first version; the second has none",
    assumptions=(
        "reflectance of visible bands, 0..reflectance_max (option, 0.3), becomes display values "
        "0..255: the authors took ESA's true-colour image",
        "a band without published statistics takes those of the nearest one in wavelength",
        "a missing value becomes 0 after the normalisation",
        "off 224 pixels positions are interpolated; the authors never do",
    ),
    licence="weights: CC BY 4.0; code: MIT",
    citation="Xiong et al. 2024, Neural Plasticity-Inspired Multimodal Foundation Model for Earth "
    "Observation, arXiv:2403.15356",
    links=(
        "https://arxiv.org/abs/2403.15356",
        "https://github.com/zhu-xlab/DOFA",
        "https://huggingface.co/earthflow/DOFA",
    ),
)  # fmt: skip


def check(model: Model, intervals: tuple[Interval, ...]) -> None:
    """Nothing; what `prepare` would refuse is refused before any pixel is fetched.

    Raises
    ------
    ModelError
        For wavelengths with a modality of two inputs or of Sentinel-1, and for statistics that
        are not one number a band.
    """
    if model.options["wavelengths"] is not None and model.modality in ("s2_tci", "s1"):
        raise ModelError(
            f"{model.id}: wavelengths= names bands of reflectance or of display values; use it "
            "with modality 's2', 'landsat' or 'planet' (reflectance), 'rgb' or 's2_8bit' (0..255)"
        )
    _own_statistics(model)


def _own_statistics(model: Model) -> tuple[list[float], list[float]] | None:
    """The caller's mean and deviation by band; None where neither is given.

    Raises
    ------
    ModelError
        As `check`.
    """
    texts = [model.options[name] for name in ("mean", "std")]
    if texts == [None, None]:
        return None
    try:
        mean, std = ([float(part) for part in str(text).split(",")] for text in texts)
    except ValueError:
        mean, std = [], []
    if not len(mean) == len(std) == len(model.bands) or min(std) <= 0:
        raise ModelError(
            f"{model.id}: mean={texts[0]!r} and std={texts[1]!r} have to be {len(model.bands)} "
            f"numbers each, separated by commas, for {', '.join(model.bands[:12])}; std above 0"
        )
    return mean, std


def prepare(windows: Windows, model: Model) -> dict[str, np.ndarray]:
    """What the network takes.

    Returns
    -------
    dict of ndarray
        ``image`` ``(B, C, H, W)`` float32, normalised; ``wavelengths`` ``(C,)`` float32,
        micrometres.

    Raises
    ------
    ModelError
        As `check`.
    """
    check(model, ())
    named = model.options["wavelengths"]
    own: Mapping[str, float] = {} if named is None else parse_band_values(str(named)).unwrap()
    waves, pixels = wavelengths_of(model.modality, own), windows.pixels[:, 0]
    given = _own_statistics(model)
    if given is None:
        top = float(model.options["reflectance_max"] or 0)
        pixels = levels_of(pixels, model.units, waves, top)
        mean, std = (one.tolist() for one in statistics_of(model.modality, waves))
    else:
        mean, std = given
    image = fill_missing(standardise(pixels, mean, std), 0.0)
    return {"image": image, "wavelengths": waves.astype(np.float32)}


def build(model: Model) -> Network:
    """The encoder, with the parts and names of the published files.

    The tower of the second version lies under ``model``, beside a norm that nothing reads.
    """
    import torch
    from torch import nn

    from rs_embed.embedders.blocks import Network, transformer

    config = model.variant.config
    dim, patch, eps = config["embed_dim"], config["patch_size"], config["norm_eps"]
    wide, places = config["wv_planes"], (config["img_size"] // patch) ** 2
    layer = nn.TransformerEncoderLayer(
        wide, config["wave_heads"], 2048, dropout=0.0, activation="gelu", batch_first=True
    )
    generator: dict[str, Any] = {
        "weight_tokens": nn.Parameter(torch.zeros(wide, wide)),
        "bias_token": nn.Parameter(torch.zeros(1, wide)),
        "transformer_encoder": nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
        "fc_weight": nn.Linear(wide, patch * patch * dim),
        "fc_bias": nn.Linear(wide, dim),
    }
    waves = {"w1": nn.Linear(wide, wide), "w2": nn.Linear(wide, wide)}
    embed = {
        "weight_generator": Network(_generated, generator, {"dim": dim, "patch": patch}),
        "fclayer": Network(_refined, waves, {}),
    }
    tower: dict[str, Any] = {
        "cls_token": nn.Parameter(torch.zeros(1, 1, dim)),
        "pos_embed": nn.Parameter(torch.zeros(1, 1 + places, dim)),
        "blocks": transformer(
            dim, config["depth"], config["num_heads"], eps=eps, mlp_ratio=config["mlp_ratio"],
            layer_scale=config["layer_scale"],
        ),
        "norm": nn.LayerNorm(dim, eps=eps),
    }  # fmt: skip
    parts: dict[str, Any] = {"patch_embed": nn.ModuleDict(embed)}
    if config["layer_scale"]:
        parts["model"] = Network(_unused, tower, {})
        parts["norm"] = nn.LayerNorm(dim, eps=eps)
    else:
        parts |= {**tower, "fc_norm": nn.LayerNorm(dim, eps=eps, elementwise_affine=False)}
    return Network(forward, parts, {"norm": model.options["norm"], "wide": wide, "patch": patch})


def _unused(tower: Any) -> None:
    """A holder of parts, never run by itself."""


def _refined(layer: Any, x: Tensor) -> Tensor:
    """The code of a wavelength, and what two layers make of it."""
    from torch.nn.functional import relu

    return x + relu(layer.w2(relu(layer.w1(x))))


def _generated(generator: Any, waves: Tensor) -> tuple[Tensor, Tensor]:
    """Kernel ``(D, C, p, p)`` and bias ``(D,)`` of the codes ``(C, W)`` of wavelengths."""
    import torch

    size, dim = generator.config["patch"], generator.config["dim"]
    asked = torch.cat([generator.weight_tokens, waves, generator.bias_token])
    answers = generator.transformer_encoder(asked[None])[0]
    kernels = generator.fc_weight(answers[-1 - len(waves) : -1] + waves)
    kernel = kernels.reshape(len(waves), size, size, dim).permute(3, 0, 1, 2)
    return kernel * 0.01, generator.fc_bias(answers[-1]) * 0.01


def forward(network: Any, image: Tensor, wavelengths: Tensor) -> dict[str, Tensor]:
    """The patch tokens after the last block, without a norm unless the option asks for it.

    Parameters
    ----------
    network : Network
    image : Tensor
        ``(B, C, H, W)`` normalised.
    wavelengths : Tensor
        ``(C,)`` micrometres.

    Returns
    -------
    dict of Tensor
        ``grid`` ``(B, h, w, D)``; of the first version also ``image`` ``(B, D)``.
    """
    import torch
    from torch.nn.functional import conv2d

    from rs_embed.embedders.blocks import resample_positions, sincos

    embed, tower = network.patch_embed, getattr(network, "model", network)
    code = sincos(network.config["wide"], wavelengths * 1000)
    kernel, bias = embed["weight_generator"](embed["fclayer"](code))
    patches = conv2d(image, kernel, bias, stride=network.config["patch"], padding=1)
    rows, cols = patches.shape[2:]
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([tower.cls_token.expand(len(x), -1, -1), x], dim=1)
    x = x + resample_positions(tower.pos_embed, rows, cols, mode="bilinear")
    for block in tower.blocks:
        x = block(x)
    out, mean = {}, x[:, 1:].mean(dim=1)
    if tower is network:
        out["image"] = network.fc_norm(mean)
    if network.config["norm"]:
        out |= {name: tower.norm(mean) for name in out}
        x = tower.norm(x)
    return {"grid": x[:, 1:].reshape(len(x), rows, cols, -1), **out}
