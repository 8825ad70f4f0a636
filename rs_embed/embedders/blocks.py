"""Parts that several families of torch models share. Imported inside functions only.

The transformer blocks are the project's own: they have the keys and give the numbers of timm's,
and spare the first embedding of a process the import of timm (torchvision, torch._dynamo, sympy).
Whole networks (CLIP, ResNet, Swin, DINOv3) stay timm's, imported by the family that needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # torch's own documentation calls it so

from rs_embed.core.errors import ModelError
from rs_embed.core.extras import missing_text

Layer = Callable[..., nn.Module]


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


class Attention(nn.Module):
    """Multi-head self-attention with one matrix for query, key and value.

    Parameters
    ----------
    dim, heads : int
    qkv_bias, proj_bias : bool
    head_dim : int, optional
        Width of a head where it is not ``dim / heads``.
    qk_norm : callable, optional
        ``qk_norm(head_dim)`` makes the norms of query and key.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        qkv_bias: bool = True,
        proj_bias: bool = True,
        head_dim: int | None = None,
        qk_norm: Layer | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        each = head_dim or dim // heads
        self.qkv = nn.Linear(dim, 3 * heads * each, bias=qkv_bias)
        self.q_norm = qk_norm(each) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(each) if qk_norm else nn.Identity()
        self.proj = nn.Linear(heads * each, dim, bias=proj_bias)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        rotate: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """``(B, N, D)`` to the same.

        ``mask`` is what torch's attention takes, broadcast to ``(B, heads, N, N)``: bool, true
        where a token may look, or numbers that are added. ``rotate`` turns query and key,
        ``(B, heads, N, D / heads)``, by their places.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotate is not None:
            q, k = rotate(q), rotate(k)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two layers with an activation between, exact GELU unless another is given."""

    def __init__(
        self, dim: int, hidden: int, *, bias: bool = True, activation: Layer = nn.GELU
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.act = activation()
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` to the same."""
        out: torch.Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class SwiGlu(nn.Module):
    """A gated layer: SiLU of one projection times another (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = True) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(dim, hidden, bias=bias)
        self.fc1_x = nn.Linear(dim, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` to the same."""
        out: torch.Tensor = self.fc2(F.silu(self.fc1_g(x)) * self.fc1_x(x))
        return out


class LayerScale(nn.Module):
    """A learned factor for each feature, key ``gamma``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(..., D)`` to the same."""
        return x * self.gamma


class Block(nn.Module):
    """A pre-norm transformer block with timm's keys: norm1, attn, ls1, norm2, mlp, ls2.

    Parameters
    ----------
    dim, heads : int
    norm : callable
        ``norm(dim)`` makes a norm.
    mlp : Module, optional
        In place of an `Mlp` of four times the width.
    layer_scale : bool
    options
        Of `Attention`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        norm: Layer,
        mlp: nn.Module | None = None,
        layer_scale: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.norm1 = norm(dim)
        self.attn = Attention(dim, heads, **options)
        self.ls1 = LayerScale(dim) if layer_scale else nn.Identity()
        self.norm2 = norm(dim)
        self.mlp = mlp or Mlp(dim, 4 * dim)
        self.ls2 = LayerScale(dim) if layer_scale else nn.Identity()

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        rotate: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """``(B, N, D)`` to the same; ``mask`` and ``rotate`` as in `Attention`."""
        x = x + self.ls1(self.attn(self.norm1(x), mask, rotate))
        out: torch.Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


def transformer(
    dim: int, depth: int, heads: int, *, eps: float, mlp_ratio: float = 4, **options: Any
) -> nn.ModuleList:
    """``depth`` blocks with layer norms: exact GELU and biases everywhere unless options say else.

    ``options`` are those of `Block` and `Attention`, but for ``mlp``: what makes one, ``mlp()``.
    """
    norm: Any = partial(nn.LayerNorm, eps=eps)
    make = options.pop("mlp", None) or partial(Mlp, dim, int(dim * mlp_ratio))
    return nn.ModuleList(Block(dim, heads, norm=norm, mlp=make(), **options) for _ in range(depth))


def resize_photographs(
    levels: np.ndarray, size: int, resample: Literal["bilinear", "bicubic"]
) -> np.ndarray:
    """``(B, 3, size, size)`` of ``(B, 3, H, W)``: the shorter side to ``size``, then the middle.

    Pillow's resize of 8-bit images, as torchvision calls it: antialiased, rounded to whole levels.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ModelError(missing_text('prepare="official"', "models", "pillow")) from error
    height, width = levels.shape[2:]
    short = min(height, width)
    tall, wide = size * height // short, size * width // short
    top, left = round((tall - size) / 2), round((wide - size) / 2)
    out = np.empty((*levels.shape[:2], size, size), dtype=np.float32)
    for one, kept in zip(levels, out, strict=True):
        image = Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0), dtype=np.uint8))
        resized = np.asarray(image.resize((wide, tall), Image.Resampling[resample.upper()]))
        kept[:] = resized[top : top + size, left : left + size].transpose(2, 0, 1)
    return out


def as_tensor(network: nn.Module, array: np.ndarray) -> torch.Tensor:
    """An array on the device and in the floating-point type of a network's parameters."""
    like = next(network.parameters())
    tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    if tensor.is_floating_point():
        return tensor.to(device=like.device, dtype=like.dtype, non_blocking=True)
    return tensor.to(device=like.device, non_blocking=True)


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as float32 numpy."""
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array


def sincos(
    width: int,
    positions: torch.Tensor,
    *,
    base: float = 10000.0,
    order: Literal["sin cos", "cos sin", "interleaved"] = "sin cos",
) -> torch.Tensor:
    """Sine and cosine code ``(..., width)`` of positions ``(...)``, in their own dtype.

    Of the position times ``base ** (-k / (width / 2))``: all sines, then all cosines; the other
    way round; or sine, cosine, sine, cosine.
    """
    half = width // 2
    steps = torch.arange(half, dtype=positions.dtype, device=positions.device) / half
    angles = positions[..., None] * (1.0 / base**steps)
    sine, cosine = angles.sin(), angles.cos()
    if order == "interleaved":
        return torch.stack([sine, cosine], dim=-1).flatten(-2)
    return torch.cat([sine, cosine] if order == "sin cos" else [cosine, sine], dim=-1)


def sincos_2d(
    width: int,
    rows: torch.Tensor,
    cols: torch.Tensor,
    *,
    first: Literal["row", "column"],
    base: float = 10000.0,
) -> torch.Tensor:
    """The code ``(h, w, width)`` of places on a grid: half of the width for each axis.

    Masked autoencoders (He et al. 2021) put the column first.
    """
    along = sincos(width // 2, cols, base=base).expand(len(rows), -1, -1)
    down = sincos(width // 2, rows, base=base)[:, None].expand(-1, len(cols), -1)
    return torch.cat([down, along] if first == "row" else [along, down], dim=-1)


def resample_positions(
    table: torch.Tensor,
    rows: int,
    cols: int,
    *,
    prefix: int = 1,
    mode: str = "bicubic",
    antialias: bool = False,
    align_corners: bool = False,
    offset: float = 0.0,
) -> torch.Tensor:
    """Square tables of positions ``(T, prefix + n * n, D)`` for another grid; most have one.

    The first ``prefix`` rows, of class and register tokens, stay as they are. A table that fits
    comes back as it is. With an ``offset`` the grid is sampled at steps of ``n / (rows + offset)``,
    as networks of DINO's lineage do (0.1), and not of ``n / rows``.
    """
    side = round((table.shape[1] - prefix) ** 0.5)
    if (rows, cols) == (side, side):
        return table
    grid = table[:, prefix:].reshape(len(table), side, side, -1).permute(0, 3, 1, 2)
    told: dict[str, Any] = {"size": (rows, cols)}
    if offset:
        told = {"scale_factor": ((rows + offset) / side, (cols + offset) / side)}
    grid = F.interpolate(grid, mode=mode, antialias=antialias, align_corners=align_corners, **told)
    return torch.cat([table[:, :prefix], grid.flatten(2).transpose(1, 2)], dim=1)
