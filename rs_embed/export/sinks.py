"""Where an export goes: a file a place, or one file; both find what is there already."""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rs_embed.export import manifest as manifests
from rs_embed.export.folder import digest, intact, to_disk, write_files, write_text
from rs_embed.export.places import Format, npz
from rs_embed.export.record import (
    Layer,
    ModelRecord,
    PlaceRecord,
    head_of,
    layers_intact,
)

_BROKEN = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError)
Rows = Sequence[Mapping[str, Any]]
_OPEN = 8  # files of many places that are open at once


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left of a place: its rows, and a way to their arrays."""

    place: Mapping[str, Any]
    rows: Rows
    read: Any

    def layers(self, row: Mapping[str, Any]) -> dict[str, Layer]:
        """The arrays of a row, by name."""
        found: Mapping[str, Layer] = self.read(row)
        return dict(found)


class FolderSink:
    """A file a place. Its methods may be called from several threads, for different places.

    Parameters
    ----------
    folder : Path
    form : Format
    request : mapping
        What all manifests share.
    sidecar : bool
        Whether each place has its manifest as ``<name>.json`` too.
    """

    def __init__(
        self, folder: Path, form: Format, request: Mapping[str, Any], *, sidecar: bool
    ) -> None:
        self._folder, self._form, self._request = folder, form, request
        self._sidecar = sidecar
        self._unsynced: list[str] = []
        self._lock = threading.Lock()

    def earlier(self, name: str, fingerprints: Sequence[str]) -> Earlier | None:
        """What is there of a place and whole; None where nothing is."""
        told = self._told(name)
        if told is not None and intact(self._folder, told["files"]):
            return Earlier(head_of(told), told["models"], lambda row: self._layers(name, row))
        try:
            told, record = self._form.read_place(self._folder, name)
            whole = [m.row for m in record.models if layers_intact(m.row, m.layers)]
            return Earlier(head_of(told), whole, lambda row: _of_row(record, row))
        except _BROKEN:
            return None

    def _told(self, name: str) -> dict[str, Any] | None:
        try:
            loaded = json.loads((self._folder / f"{name}.json").read_text("utf-8"))
            head_of(loaded)
            return loaded if {"files", "models"} <= set(loaded) else None
        except _BROKEN:
            return None

    def _layers(self, name: str, row: Mapping[str, Any]) -> Mapping[str, Layer]:
        _, record = self._form.read_place(self._folder, name)
        return _of_row(record, row)

    def manifest_of(self, earlier: Earlier, rows: Rows, place: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest of a place that needs no writing; its sidecar is put back if it is gone."""
        name = str(place["name"])
        told = self._told(name)
        if told is None:
            files = [digest(path) for path in self._files(name)]
            kept = manifests.place_manifest(self._request, earlier.place, earlier.rows, files)
            if self._sidecar:
                write_text(self._folder / f"{name}.json", manifests.to_text(kept))
        else:
            files = told["files"]
        return manifests.place_manifest(self._request, place, rows, files)

    def _files(self, name: str) -> list[Path]:
        return [
            path for path in sorted(self._folder.glob(f"{_literal(name)}.*"))
            if path.suffix != ".json"
        ]  # fmt: skip

    def write(self, record: PlaceRecord) -> dict[str, Any]:
        """Write a place, and give its manifest."""
        rows = [one.row for one in record.models]
        inside = manifests.place_manifest(self._request, record.place, rows)
        files: list[dict[str, Any]] = []
        if any(one.layers for one in record.models):
            files = write_files(
                self._folder, lambda scratch: self._form.write_place(record, inside, scratch)
            )
        manifest = {**inside, "files": files}
        if self._sidecar:
            write_text(self._folder / f"{record.name}.json", manifests.to_text(manifest))
        with self._lock:
            self._unsynced += [str(one["name"]) for one in files]
            if self._sidecar:
                self._unsynced.append(f"{record.name}.json")
        return manifest

    def sync(self) -> None:
        """Have all that was written on the disk."""
        with self._lock:
            names, self._unsynced = self._unsynced, []
        if names:
            to_disk(self._folder, names)

    def finish(self, places: Sequence[Any]) -> None:
        """Nothing is left to do."""
        self.sync()


class FileSink:
    """One file. Until it is whole, places are kept in parts beside it, so that nothing is lost.

    Parameters
    ----------
    path : Path
    form : Format
    request : mapping
    sidecar : bool
        Whether the manifest stands in ``<path>.json`` too.
    dims : mapping of str to int
        Length of the vectors of each model, where they are vectors.
    """

    def __init__(
        self,
        path: Path,
        form: Format,
        request: Mapping[str, Any],
        *,
        sidecar: bool,
        dims: Mapping[str, int],
    ) -> None:
        self._path, self._form, self._request = path, form, request
        self._sidecar, self._dims = sidecar, dims
        self._parts = path.parent / f".{path.name}.parts"
        self._held: list[PlaceRecord] = []
        self._files: list[Path] = []
        self._open: dict[int, npz.PlacesFile] = {}
        # Where each item is: which open file, which place in it, and its row.
        self._index: dict[str, tuple[int, int, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def start(self, *, resume: bool) -> None:
        """Look through what an earlier run left; without ``resume``, remove its parts."""
        if not resume:
            shutil.rmtree(self._parts, ignore_errors=True)
            return
        if self._path.exists() and self._whole():
            self._take_final()
        for part in sorted(self._parts.glob("part-*.npz")):
            self._take(part)

    def _whole(self) -> bool:
        try:
            told = json.loads(self._sidecar_path.read_text("utf-8"))
            return intact(self._path.parent, told["files"])
        except _BROKEN:
            return True  # each array is compared with its checksum

    def _take_final(self) -> None:
        if self._form is npz:
            self._take(self._path)
            return
        try:
            block: list[PlaceRecord] = []
            for record in self._form.read_all(self._path):
                block.append(record)
                if len(block) == 64:
                    self._take(self._write_part(block))
                    block = []
            if block:
                self._take(self._write_part(block))
        except _BROKEN:
            return

    def _take(self, part: Path) -> None:
        """Index the items of a file that are whole."""
        try:
            opened = npz.PlacesFile(part)
        except _BROKEN:
            return
        self._files.append(part)
        with opened:
            for i in range(len(opened.places)):
                for model in opened.record(i).models:
                    try:
                        if model.row["status"] == "ok" and layers_intact(model.row, model.layers):
                            self._note(model.row, i)
                    except _BROKEN:
                        continue

    def _note(self, row: Mapping[str, Any], i: int) -> None:
        self._index[str(row["fingerprint"])] = len(self._files) - 1, i, row

    def _record(self, number: int, i: int) -> PlaceRecord:
        """A place of a file; a few files are open at once."""
        if number not in self._open:
            while len(self._open) >= _OPEN:
                self._open.pop(next(iter(self._open))).close()
            self._open[number] = npz.PlacesFile(self._files[number])
        return self._open[number].record(i)

    def earlier(self, name: str, fingerprints: Sequence[str]) -> Earlier | None:
        """What is there of a place, whatever it was called."""
        rows = [self._index[one][2] for one in fingerprints if one in self._index]
        return Earlier({}, rows, self._layers) if rows else None

    def _layers(self, row: Mapping[str, Any]) -> Mapping[str, Layer]:
        number, i, _ = self._index[str(row["fingerprint"])]
        return _of_row(self._record(number, i), row)

    def write(self, record: PlaceRecord) -> dict[str, Any]:
        """Take a place in; it is on the disk after the next `sync`."""
        with self._lock:
            self._held.append(record)
        return {**record.place, "models": [one.row for one in record.models]}

    def sync(self) -> None:
        """Put what was taken in since the last time into a part, on the disk."""
        with self._lock:
            held, self._held = self._held, []
        if held:
            self._take_new(self._write_part(held), held)

    def _write_part(self, records: Sequence[PlaceRecord]) -> Path:
        self._parts.mkdir(exist_ok=True)
        number = 0
        while (self._parts / f"part-{number:06d}.npz").exists():
            number += 1
        name = f"part-{number:06d}.npz"

        def write(scratch: Path) -> list[str]:
            npz.write_places(records, scratch / name)
            return [name]

        write_files(self._parts, write)
        to_disk(self._parts, [name])
        return self._parts / name

    def _take_new(self, part: Path, records: Sequence[PlaceRecord]) -> None:
        self._files.append(part)
        for i, record in enumerate(records):
            for model in record.models:
                self._note(model.row, i)

    def finish(self, places: Sequence[tuple[Mapping[str, Any], Rows]]) -> dict[str, Any]:
        """Write the file of all places, remove the parts, and give the manifest."""
        with self._lock:
            fresh, self._held = self._held, []
        held = {record.name: record for record in fresh}

        def records() -> Iterator[PlaceRecord]:
            for place, rows in places:
                name = str(place["name"])
                if name in held:
                    yield held[name]
                else:
                    models = (ModelRecord(r["label"], r, self._lazily(r)) for r in rows)
                    yield PlaceRecord(name, place, tuple(models))

        manifest = manifests.combined_manifest(self._request, places)

        def write(scratch: Path) -> list[str]:
            self._form.write_all(records, manifest, scratch / self._path.name, self._dims)
            return [self._path.name]

        self._parts.mkdir(exist_ok=True)
        files = write_files(self._path.parent, write, self._parts)
        names = [self._path.name]
        manifest["files"] = files
        if self._sidecar:
            write_text(self._sidecar_path, manifests.to_text(manifest))
            names.append(self._sidecar_path.name)
        to_disk(self._path.parent, names)
        self.close()
        shutil.rmtree(self._parts, ignore_errors=True)
        return manifest

    def _lazily(self, row: Mapping[str, Any]) -> Mapping[str, Layer]:
        if row["status"] != "ok":
            return {}
        number, i, kept = self._index[str(row["fingerprint"])]
        model = next(one for one in self._record(number, i).models if one.label == kept["label"])
        return Renamed(model.layers, str(kept["label"]), str(row["label"]))

    def close(self) -> None:
        """Close the files of earlier runs."""
        for opened in self._open.values():
            opened.close()
        self._open = {}

    @property
    def _sidecar_path(self) -> Path:
        return self._path.parent / f"{self._path.stem}.json"


class Renamed(Mapping[str, Layer]):
    """The arrays of a model under another label."""

    def __init__(self, layers: Mapping[str, Layer], old: str, new: str) -> None:
        self._layers = layers
        self._names = {renamed(name, old, new): name for name in layers}

    def __getitem__(self, name: str) -> Layer:
        return self._layers[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def renamed(name: str, old: str, new: str) -> str:
    """``kind/old`` or ``kind/old/rest`` under a new label."""
    kind, _, rest = name.partition("/")
    return f"{kind}/{new}{rest[len(old) :]}"


def _of_row(record: PlaceRecord, row: Mapping[str, Any]) -> Mapping[str, Layer]:
    wanted = row["fingerprint"]
    return next(one.layers for one in record.models if one.row["fingerprint"] == wanted)


def _literal(name: str) -> str:
    """A name in which no character stands for others in a glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
