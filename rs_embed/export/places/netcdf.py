"""Exports as netCDF-4: a group for each array; ``xr.open_dataset(path, group=…)`` reads one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_embed.export.places import Records
from rs_embed.export.places.trees import MANIFEST, Node, Tree, all_nodes, place_nodes
from rs_embed.export.record import PlaceRecord

if TYPE_CHECKING:
    import xarray as xr

_ENGINE: Any = "h5netcdf"


def write_place(record: PlaceRecord, manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """One place: groups named as its arrays, and the variable ``manifest``."""
    name = f"{record.name}.nc"
    _write(place_nodes(record, manifest), folder / name)
    return [name]


def read_place(folder: Path, name: str) -> tuple[dict[str, Any], PlaceRecord]:
    """The manifest and the place that `write_place` wrote."""
    tree = _tree(folder / f"{name}.nc")
    return tree.manifest, tree.place()


def write_all(
    records: Records, manifest: Mapping[str, Any], path: Path, dims: Mapping[str, int]
) -> None:
    """Many places: ``embedding/<label>`` has ``values`` (place, feature) and ``status``."""
    _write(all_nodes(records, manifest, dims), path)


def read_all(path: Path) -> Iterator[PlaceRecord]:
    """The places of what `write_all` wrote, in order."""
    yield from _tree(path).places()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in the file."""
    manifest: dict[str, Any] = json.loads(str(_group(path, "")[MANIFEST].values))
    return manifest


def _write(nodes: Iterable[Node], path: Path) -> None:
    for i, (group, dataset) in enumerate(nodes):
        dataset.to_netcdf(path, mode="a" if i else "w", group=group or None, engine=_ENGINE)


def _tree(path: Path) -> Tree:
    return Tree(lambda group: _group(path, group), read_manifest(path))


def _group(path: Path, group: str) -> xr.Dataset:
    import xarray as xr

    with xr.open_dataset(path, group=group or None, engine=_ENGINE, cache=False) as opened:
        return opened.load()
