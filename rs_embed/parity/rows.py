"""What a family's fixtures say in their authors' words, and what that is here: one TOML file each.

``<model id>.toml`` lies beside the fixtures. Everything in it is optional:

``[shrinks]``
    Keys of ``config`` that a case of no published size may change, each with the reason. Such a
    case is one whose ``variant`` the catalogue does not have, or that ``[cases]`` calls shrunk.
    Any other difference from the product's own config is an error.
``[aside]``
    Keys of ``config`` that say nothing of the network, each with the reason.
``[sizes]``
    Which key of ``config`` is ``dim``, ``token_px``, ``window_px``, ``depth`` of ours;
    ``inner_depth``, that of an encoder inside.
``[inputs]``
    Ours = theirs, where they differ: a name, or ``{from, pick, layout, equals, dtype}``,
    or ``{config, dtype}``, a value out of the case's config. ``pick`` takes places of the last axis
    before the layout, ``equals`` makes bools, ``dtype`` whole numbers.
``[outputs]``
    Theirs = ours: a module's dotted name (``blocks.-1`` is the last; ``norm>head`` is what the norm
    gives, sent through the head), or ``{module | tensor, sample, drop, pick, layout, cut}``.
    ``sample`` takes one of the batch, ``drop`` cuts tokens off in front, ``pick`` takes places of
    letters of the layout (``{c = [0]}``), ``cut`` leaves as many in front as the fixture has.
    Several tensors are joined along ``axis``.
    Without a line "grid" is ``grid`` with the features in front, "pooled" its mean, "image"
    ``image``.
``[cases."pattern"]``
    For some cases: ``variant``, ``modality``, ``options``, ``shrunk``, and ``aside``, ``inputs``
    and ``outputs`` as above; ``stored``, keys of ``config`` as they are of the weights, where the
    case's own are of what it feeds.
``[[prepare]]``
    Cases from raw pixels to the network's input: ``cases`` (a pattern), ``variant``, ``modality``,
    ``options``, ``window_px``, ``dates``, ``lonlat`` (numbers, or the name of an input of latitude
    and longitude), ``takes`` (keys of the case's ``config`` to run with), ``pixels`` (a list of
    ``{from, pick, layout, round, absent, missing}``, side by side along C; ``absent``: places of C
    without values) and ``outputs``, which may be
    multiplied: ``times``. An output that several entries give is joined along its first axis. With
    ``run = true`` the network runs on it, and the outputs are the
    network's.
``[raw]``, ``[facts]``
    Of the tests that go through `get_embedding` and of those that read the catalogue.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
"""The small fixtures that the package carries, and the rows of their families."""


@dataclass(frozen=True)
class Rows:
    """One family's file."""

    data: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.data.get(name, {})
        return found

    def of_case(self, name: str) -> dict[str, Any]:
        """What ``[cases]`` says of a case; of several patterns the later counts."""
        found: dict[str, Any] = {}
        for pattern, told in self["cases"].items():
            if fnmatchcase(name, pattern):
                found |= told
        return found

    def preparations(self, name: str) -> Iterator[Mapping[str, Any]]:
        """The entries of ``[[prepare]]`` for a case."""
        for entry in self.data.get("prepare", []):
            if fnmatchcase(name, entry["cases"]):
                yield entry


def rows_of(model_id: str, folder: Path) -> Rows:
    """The rows of a family: those beside the fixture, else those of the package."""
    for place in (folder, DATA):
        path = place / f"{model_id}.toml"
        if path.is_file():
            return Rows(tomllib.loads(path.read_text(encoding="utf-8")))
    return Rows()
