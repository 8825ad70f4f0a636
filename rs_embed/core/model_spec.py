"""The spec of a model family: its facts, and the names of the functions that run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rs_embed.core.model_facts import InputSpec, Option, Variant


@dataclass(frozen=True, slots=True)
class Cadence:
    """How a model sees time.

    Parameters
    ----------
    kind : {"single", "months", "equal", "none"}
        "single": one composite of the window. "months": one per calendar month. "equal":
        ``frames`` bins of equal length. "none": no time at all.
    frames : int
        Number of bins for "equal"; most bins allowed for "months".
    """

    kind: Literal["single", "months", "equal", "none"] = "single"
    frames: int = 1


ROLES = ("prepare", "build", "encode", "forward", "checkpoint_filter", "check")
"""What the functions of a family are called."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The facts of one model family, and the names of its functions.

    Parameters
    ----------
    id : str
        Canonical id.
    title, summary : str
        For people.
    modalities : mapping of str to tuple of InputSpec
        What each choice of ``modality`` needs; the first is the default.
    variants : tuple of Variant
        The first is not special; ``default_variant`` names the default.
    scale_m : float
        Ground sampling distance that the model was trained at, metres.
    window_px, token_px : int
        Pixels a side of the square the model sees, and of the cell that one token covers.
    module : str or None
        Where the functions below are found by their names, ``module=__name__`` in the family's
        file; so is ``KEYS``, the table of published keys (`rs_embed.embedders.keys`), or
        ``keys(model)`` where variants are networks of several kinds. A function can also be named
        in full, as ``"package.module:function"``, which counts first.
    prepare : str or None
        ``prepare(windows, model) -> {name: array}``, pure numpy.
    build : str or None
        ``build(model) -> network``. A torch network is built on the meta device and then filled
        from the weights; where the variant has no weights, the result is used as it is.
    forward : str or None
        ``forward(network, **tensors) -> {"grid": (B, h, w, D), "image": (B, D')}`` of what
        `prepare` gave as tensors; without "image" where the authors define no such vector.
    encode : str or None
        ``encode(network, arrays, model) -> Tokens``, for models that do not run on torch.
    checkpoint_filter : str or None
        ``(state, model) -> state``: published keys to the network's own, where ``KEYS`` is not
        enough; it gets what ``KEYS`` made.
    check : str or None
        ``(model, frames) -> None``: raises ModelError where the options and the dates of the
        pixels (none, where they have no time) do not go together. Asked before any fetch.
    allowed_key_mismatches : tuple of (str, str)
        (pattern of a key that may be missing or left over, reason).
    cadence : Cadence
    pad : {"mirror", "reflect"}
        How an array smaller than a window is filled, right and bottom.
    device : bool
        True where the network runs on torch.
    image_vector : str or None
        What ``pooling="model"`` gives; None where the authors define no image-level vector.
    official_crop : float
        Share of an image's side that the authors' evaluation keeps when it crops the middle of
        what it has resized; for models with an option ``prepare``.
    modality_builds : bool
        True where the network depends on the modality, so that another one has to be built.
    masks_missing : bool
        True where the authors' own code leaves a band out that is missing everywhere.
    own_rules : tuple of str
        What the authors leave open and this project decided; ``meta`` says it.
    aliases, licence, citation, links : see names
    """

    id: str
    title: str
    summary: str
    modalities: Mapping[str, tuple[InputSpec, ...]]
    variants: tuple[Variant, ...]
    default_variant: str
    scale_m: float
    window_px: int
    token_px: int
    module: str | None = None
    prepare: str | None = None
    build: str | None = None
    forward: str | None = None
    encode: str | None = None
    checkpoint_filter: str | None = None
    check: str | None = None
    allowed_key_mismatches: tuple[tuple[str, str], ...] = ()
    cadence: Cadence = Cadence()
    options: tuple[Option, ...] = ()
    pad: Literal["mirror", "reflect"] = "mirror"
    device: bool = True
    image_vector: str | None = None
    shows_windows: bool = False
    official_crop: float = 1.0
    modality_builds: bool = False
    masks_missing: bool = False
    assumptions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    licence: str = "not stated"
    citation: str = ""
    links: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that are named in full."""
        return tuple(name for role in ROLES if (name := getattr(self, role)) is not None)
