"""Parts that several families of torch models share. Imported inside ``build`` only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn


class Network(nn.Module):
    """Named parts and a plain function that runs them: a module whose keys are the published ones.

    Parameters
    ----------
    forward : callable
        A module-level function ``forward(network, *inputs)``.
    parts : mapping
        Modules, parameters and buffers (tensors) by the name they have in the state dict.
    config : mapping
        Plain values that the function reads as ``network.config``.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        parts: Mapping[str, nn.Module | nn.Parameter | torch.Tensor],
        config: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self._function = forward
        self.config = dict(config)
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the function on this network."""
        return self._function(self, *inputs, **named)


def as_tensor(network: nn.Module, array: np.ndarray) -> torch.Tensor:
    """An array on the device and in the floating-point type of a network's parameters."""
    like = next(network.parameters())
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if tensor.is_floating_point():
        return tensor.to(device=like.device, dtype=like.dtype, non_blocking=True)
    return tensor.to(device=like.device, non_blocking=True)


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as float32 numpy."""
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array


def transformer(dim: int, depth: int, heads: int, *, eps: float, mlp_ratio: float = 4) -> Any:
    """A ModuleList of timm's pre-norm blocks: exact GELU, biases everywhere, no layer scale."""
    from timm.models.vision_transformer import Block

    norm: Any = partial(nn.LayerNorm, eps=eps)
    return nn.ModuleList(
        Block(dim, heads, mlp_ratio=mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth)
    )


def sincos(width: int, positions: torch.Tensor) -> torch.Tensor:
    """Sine and cosine code ``(..., width)`` of positions ``(...)``, in their own dtype.

    All sines, then all cosines, of the position times 10000^(-k / (width / 2)).
    """
    half = width // 2
    steps = torch.arange(half, dtype=positions.dtype, device=positions.device) / half
    angles = positions[..., None] * (1.0 / 10000**steps)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
