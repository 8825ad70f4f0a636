"""A local Earth Engine: the official client talks to it, unpatched (see README.md)."""

from .catalogue import PLACES, S2_BANDS, real, standard
from .client import connected
from .faults import TRANSIENT, Fault
from .launch import Server, serve
from .scenes import (
    Block,
    Checkerboard,
    Constant,
    FileBand,
    Layer,
    Ramp,
    Scene,
    Stripes,
    array_scene,
    tif_scene,
)

__all__ = [
    "PLACES",
    "S2_BANDS",
    "TRANSIENT",
    "Block",
    "Checkerboard",
    "Constant",
    "Fault",
    "FileBand",
    "Layer",
    "Ramp",
    "Scene",
    "Server",
    "Stripes",
    "array_scene",
    "connected",
    "real",
    "serve",
    "standard",
    "tif_scene",
]
