"""Parts that several families of torch models share. Imported inside ``build`` only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
