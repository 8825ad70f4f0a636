"""A place of an export between its beginning and its file: what is kept, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rs_embed.core.specs import SpatialSpec
from rs_embed.export.record import KINDS, ModelRecord, PlaceRecord
from rs_embed.export.sinks import Earlier, renamed
from rs_embed.pipeline.export_plan import place_json, reusable
from rs_embed.pipeline.export_request import ExportRequest


@dataclass(frozen=True, eq=False)
class Kept(ModelRecord):
    """A record of an earlier run, whose arrays are read when they have to be written again.

    ``old`` is what it was called then.
    """

    earlier: Earlier | None = None
    old: str = ""

    def read(self) -> ModelRecord:
        """The record with its arrays."""
        if self.earlier is None:
            return self
        layers = self.earlier.layers(self.row)
        named = {renamed(name, self.old, self.label): one for name, one in layers.items()}
        return ModelRecord(self.label, self.row, named)


def _kept(earlier: Earlier, row: Mapping[str, Any], label: str) -> Kept:
    """The row of an earlier run under today's label."""
    old = str(row["label"])
    if old == label:
        return Kept(label, row, {}, earlier, old)
    arrays = {
        kind: {renamed(name, old, label): told for name, told in row[kind].items()}
        for kind in KINDS
    }
    return Kept(label, {**row, **arrays, "label": label}, {}, earlier, old)


def with_arrays(record: PlaceRecord) -> PlaceRecord:
    """The record with the arrays of what was kept."""
    models = tuple(one.read() if isinstance(one, Kept) else one for one in record.models)
    return PlaceRecord(record.name, record.place, models)


def rows_only(opened: OpenPlace, place: Mapping[str, Any]) -> Earlier:
    """What was kept, as rows of a manifest."""
    rows = [one.row for one in (*opened.kept.values(), *opened.extra)]
    return Earlier(place, rows, None)


@dataclass(eq=False)
class OpenPlace:
    """A place on its way: what an earlier run left of it, and what is there by now.

    Parameters
    ----------
    kept : dict of str to Kept
        Models that need not run again, by label.
    extra : tuple of Kept
        Models of an earlier run that are not asked for now; they stay in the place's file.
    wanted : list of int
        Lanes that have to run.
    records : dict of int to ModelRecord
        What they gave.
    """

    kept: dict[str, Kept]
    extra: tuple[Kept, ...]
    wanted: list[int]
    records: dict[int, ModelRecord] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all that was wanted is there."""
        return set(self.wanted) <= set(self.records)


def open_place(
    earlier: Earlier | None,
    prints: Mapping[str, str],
    request: ExportRequest,
    spatial: SpatialSpec,
) -> OpenPlace:
    """What an earlier run left of a place, and which models are missing.

    ``prints`` has the `item_fingerprint` of each label, in the order of the lanes.
    """
    if earlier is None:
        return OpenPlace({}, (), list(range(len(prints))))
    kinds = [
        kind for kind, asked in (
            ("embedding", request.save_embeddings), ("input", request.save_inputs),
        ) if asked
    ]  # fmt: skip
    rows = reusable(earlier.rows, prints, kinds).unwrap()
    kept = {label: _kept(earlier, row, label) for label, row in rows.items()}
    used = {str(row["fingerprint"]) for row in rows.values()}
    extra = tuple(
        _kept(earlier, row, str(row["label"]))
        for row in earlier.rows
        if row["status"] == "ok"
        and str(row["fingerprint"]) not in used
        and row["label"] not in prints
        and earlier.place.get("spatial") == place_json(spatial)
    )
    missing = [n for n, label in enumerate(prints) if label not in kept]
    return OpenPlace(kept, extra, missing)
