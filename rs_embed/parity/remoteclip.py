"""Adapter of RemoteCLIP's fixtures."""

from __future__ import annotations

import math

import numpy as np

from rs_embed.core.model import Model, Scalar
from rs_embed.core.prepare import Windows
from rs_embed.embedders.families.remoteclip import SPEC, encode, prepare, published_name
from rs_embed.embedders.keys import Entry
from rs_embed.parity.case import Case

# Widths of the text towers published beside the image towers, by width of the projection.
_TEXT = {512: 512, 768: 768, 1024: 512}


def run(case: Case) -> dict[str, np.ndarray]:
    """Tokens in every form that a fixture asks for, or the tensor of the official transform."""
    if "interpolation" in case.config:
        return {"tensor": _preprocessed(case)}
    import torch

    config, image = case.config, case.inputs()["image"]
    resnet = "patch_size" not in config
    model = case.model(
        SPEC,
        dim=config["width"] * (32 if resnet else 1),
        config={**config, "image_size": _positions_px(case)},
        window_px=image.shape[-1],
        token_px=32 if resnet else config["patch_size"],
        options={"activation": "quickgelu" if config.get("quick_gelu") else "gelu"},
    )
    network = case.network(model)
    with torch.inference_mode():
        tokens = encode(network, {"image": image}, model)
        assert tokens.image is not None
        found = {"grid": tokens.grid.transpose(0, 3, 1, 2), "pooled": tokens.image}
        if not resnet:
            found |= _other_forms(network, torch.from_numpy(image))
    return {name: found[name] for name in case.outputs}


def published(entries: list[Entry], model: Model) -> list[Entry]:
    """The network's entries as open_clip names and shapes them."""
    found = []
    for key, shape, dtype in entries:
        name = published_name(key)
        if name is None:
            continue
        if key == "cls_token":
            shape = shape[2:]
        elif key == "pos_embed":
            shape = shape[1:]
        elif key == "head.weight":
            shape = shape[::-1]
        found.append((name, shape, dtype))
    return found


def left_out(model: Model) -> list[Entry]:
    """The text tower, one block of it; its size is the published one's only in kind."""
    out = int(model.variant.config["embed_dim"])
    width = _TEXT.get(out, out)
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, width),
        "text_projection": (width, out),
        "logit_scale": (),
        "token_embedding.weight": (8, width),
        "transformer.resblocks.0.ln_1.weight": (width,),
        "transformer.resblocks.0.attn.in_proj_weight": (3 * width, width),
        "transformer.resblocks.0.mlp.c_fc.bias": (4 * width,),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }
    return [(key, shape, "float32") for key, shape in shapes.items()]


def _positions_px(case: Case) -> int:
    """Side of the image that the stored positions are for, which may be another than is fed."""
    for key, shape, _ in case.data["weights"]:
        if key.endswith("visual.positional_embedding"):
            return math.isqrt(shape[0] - 1) * int(case.config["patch_size"])
    return int(case.config["image_size"])


def _other_forms(network: object, image: object) -> dict[str, np.ndarray]:
    """Tokens before the last norm, after it, and projected, which the product does not give."""
    from rs_embed.embedders.blocks import as_array

    tokens = network.forward_features(image)  # type: ignore[attr-defined]
    raw = network.forward_intermediates(  # type: ignore[attr-defined]
        image, indices=1, norm=False, intermediates_only=True
    )[0]
    rows, cols = raw.shape[-2:]
    projected = network.head(tokens[:, 1:])  # type: ignore[attr-defined]  # (B, N, D')
    return {
        "tokens": as_array(tokens),
        "grid_raw": as_array(raw),
        "grid_projected": as_array(projected.transpose(1, 2).unflatten(2, (rows, cols))),
    }


def _preprocessed(case: Case) -> np.ndarray:
    options: dict[str, Scalar] = {"prepare": "official", "window_px": int(case.config["size"])}
    default = next(v for v in SPEC.variants if v.name == SPEC.default_variant)
    model = case.model(
        SPEC, dim=default.dim, config=default.config, options=options, modality="rgb"
    )
    rgb = case.inputs()["rgb"].transpose(2, 0, 1)
    windows = Windows(rgb[None, None], model.bands, ((),), np.zeros((1, 2)), model.scale_m)
    return np.asarray(prepare(windows, model)["image"][0])
