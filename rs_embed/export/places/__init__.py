"""The formats of an export, one file each; `docs/export.md` tells what is in them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from rs_embed.export.record import PlaceRecord

Records = Callable[[], Iterable[PlaceRecord]]
"""Gives every place, in order, as often as it is called: a file is written in several passes."""


class Format(Protocol):
    """What each module here offers. Paths are of scratch folders: who calls moves what is made."""

    def write_place(
        self, record: PlaceRecord, manifest: Mapping[str, Any], folder: Path
    ) -> list[str]:
        """Write one place into files named after it; their names."""
        ...

    def read_place(self, folder: Path, name: str) -> tuple[dict[str, Any], PlaceRecord]:
        """The manifest and the place of a name. OSError, ValueError or KeyError where broken."""
        ...

    def write_all(
        self, records: Records, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]
    ) -> None:
        """Write many places into one file; ``dims`` has the length of the vectors of each model."""
        ...

    def read_all(self, path: Path) -> Iterator[PlaceRecord]:
        """The places of what `write_all` wrote, in order."""
        ...

    def read_manifest(self, path: Path) -> dict[str, Any]:
        """The manifest that `write_all` put into the file."""
        ...


def format_named(name: str) -> Format:
    """The module of a format; it imports its libraries when it is used."""
    return cast(Format, importlib.import_module(f"rs_embed.export.places.{name}"))
