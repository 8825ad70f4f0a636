"""Galileo's fixtures: channels-last groups, normalised or raw, through the product's own path."""

from __future__ import annotations

from typing import Any

import numpy as np

from rs_embed.core.model import Model
from rs_embed.core.prepare import Windows
from rs_embed.embedders.families import galileo
from rs_embed.embedders.families.galileo_groups import S1, S2
from rs_embed.parity.case import Case

# Which option, beside the modality, brings a fixture's input into the model.
_OPTIONS = (
    "ndvi", "srtm", "dw", "wc", "era5", "tc", "viirs", "landscan", "location", "dw_static",
    "wc_static",
)  # fmt: skip


def run(case: Case) -> dict[str, np.ndarray]:
    """What the product gives on a case, by the fixture's names."""
    if "std_multiplier" in case.config:
        return _preprocess(case)
    inputs = case.inputs()
    if "real_weights" not in case.data:
        return _from_groups(case, inputs)
    parts = sorted({name.partition("_")[0] for name in inputs})
    own = {part: {n[2:]: v for n, v in inputs.items() if n.startswith(part)} for part in parts}
    return {
        f"{part}_{name}": value
        for part in parts
        for name, value in _from_raw(case, own[part], _patch(case, part)).items()
        if f"{part}_{name}" in case.outputs
    }


def _patch(case: Case, part: str) -> int:
    """Pixels a side of a patch, told by the grid that came out."""
    side = next(i["shape"][1] for i in case.data["inputs"] if i["name"] == f"{part}_s2")
    return int(side // case.outputs[f"{part}_grid"]["shape"][-1])


def _model(case: Case, inputs: dict[str, np.ndarray], patch_px: int) -> Model:
    config = case.config
    return case.model(
        galileo.SPEC,
        dim=config.get("embedding_size", 128),
        config={"depth": config.get("depth", 4), "heads": config.get("num_heads", 8)},
        modality="".join(name for name in ("s2", "s1") if name in inputs),
        options={name: True for name in _OPTIONS if name in inputs},
        token_px=patch_px,
    )


def _from_groups(case: Case, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A case whose inputs are normalised already."""
    model = _model(case, inputs, case.config["patch_size"])
    bands = {item.name: item.bands for item in (S2, S1)}
    arrays: dict[str, Any] = {
        "months": inputs["months"].astype(np.int64),
        "scale_m": np.float64(case.config["input_resolution_m"]),
    }
    groups = galileo.groups(model)
    for group in groups:
        source = group.option or ("s1" if group.name == "S1" else "s2")
        values = inputs[source]
        if group.option is None:
            values = values[..., [bands[source].index(band) for band in group.bands]]
        arrays[group.name] = _channels_first(values, group.kind)
    hidden = inputs.get("hidden_steps", np.zeros(arrays["months"].shape)).astype(bool)
    arrays["visible"] = np.repeat(~hidden[..., None], len(groups), axis=-1)
    return _encoded(case, model, arrays)


def _channels_first(values: np.ndarray, kind: str) -> np.ndarray:
    """``(B, T, C, H, W)`` from a fixture's channels-last layout of a kind of group."""
    match kind:
        case "space_time":
            return values.transpose(0, 3, 4, 1, 2)
        case "space":
            return values.transpose(0, 3, 1, 2)[:, None]
        case "time":
            return values[..., None, None]
        case _:
            return values[:, None, :, None, None]


def _from_raw(case: Case, inputs: dict[str, np.ndarray], patch_px: int) -> dict[str, np.ndarray]:
    """A case whose inputs are raw pixels: through `prepare`, as every user's are."""
    model = _model(case, inputs, patch_px)
    pixels = np.concatenate(
        [_channels_first(inputs[item.name], "space_time") for item in model.inputs], axis=2
    )
    dated = tuple(tuple(_frame(int(m)) for m in months) for months in inputs["months"])
    place = np.zeros((len(pixels), 2))
    return _encoded(
        case, model, galileo.prepare(Windows(pixels, model.bands, dated, place, 10.0), model)
    )


def _frame(month: int) -> tuple[str, str]:
    """A frame whose midpoint lies in a month counted from 0."""
    return f"2022-{month + 1:02d}-10", f"2022-{month + 1:02d}-20"


def _encoded(case: Case, model: Model, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch

    from rs_embed.embedders.blocks import as_array, as_tensor

    network: Any = case.network(model)
    with torch.inference_mode():
        tokens, seen, _ = network(
            {group.name: as_tensor(network, arrays[group.name]) for group in galileo.groups(model)},
            as_tensor(network, arrays["visible"]),
            as_tensor(network, arrays["months"]),
            model.token_px,
            float(arrays["scale_m"]),
        )
        out = galileo.encode(network, arrays, model)
    assert out.image is not None
    return {
        "tokens": as_array(tokens[0, seen[0]]),
        "pooled": out.image,
        "grid": out.grid.transpose(0, 3, 1, 2),
    }


def _preprocess(case: Case) -> dict[str, np.ndarray]:
    """Raw values of every group with a normalisation, through `prepare`."""
    inputs = case.inputs()
    height, width, steps, _ = inputs["s2"].shape
    options = dict.fromkeys(("ndvi", "srtm", "era5", "tc", "viirs", "landscan"), True)
    model = case.model(
        galileo.SPEC, dim=128, config={"depth": 4, "heads": 8}, modality="s2s1",
        options={**options, "location": True}, window_px=height, token_px=height,
    )  # fmt: skip
    shape = (height, width, steps, -1)
    layers = [
        inputs["s2"],
        inputs["s1"],
        np.broadcast_to(inputs["srtm"][:, :, None], (*shape[:3], 2)),
        *(np.broadcast_to(inputs[n], (*shape[:3], inputs[n].shape[-1])) for n in ("era5", "tc")),
        np.broadcast_to(inputs["viirs"], (*shape[:3], 1)),
        np.broadcast_to(inputs["landscan"], (*shape[:3], 1)),
    ]
    pixels = np.concatenate(layers, axis=-1).transpose(2, 3, 0, 1)[None].astype(np.float32)
    intervals = (tuple(_frame(month) for month in range(steps)),)
    lonlat = inputs["latlon"][None, ::-1]
    ours = galileo.prepare(Windows(pixels, model.bands, intervals, lonlat, 10.0), model)

    def joined(*names: str) -> np.ndarray:
        return np.concatenate([ours[name][0] for name in names], axis=1)  # (T, C, H, W)

    # The official order is by band, with the broad near infrared before the narrow one.
    optical = ("S2_RGB", "S2_Red_Edge", "S2_NIR_10m", "S2_NIR_20m", "S2_SWIR")
    return {
        "space_time": joined("S1", *optical, "NDVI").transpose(2, 3, 0, 1),
        "ndvi": joined("NDVI").transpose(2, 3, 0, 1),
        "srtm": joined("SRTM")[0].transpose(1, 2, 0),
        "time": joined("ERA5", "TC", "VIIRS")[..., 0, 0],
        "location": joined("location")[0, :, 0, 0],
        "landscan": joined("LS")[0, :, 0, 0],
    }
