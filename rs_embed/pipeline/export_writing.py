"""Where an export goes, and the files of places that are there: written, synced, told of."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError
from rs_embed.core.result import Outcome
from rs_embed.export.folder import unwritable
from rs_embed.export.manifest import place_json as head_json
from rs_embed.export.manifest import request_json
from rs_embed.export.places import format_named
from rs_embed.export.record import PlaceRecord
from rs_embed.export.sinks import FileSink, FolderSink
from rs_embed.pipeline.export_lanes import ExportLane, model_json, temporal_json
from rs_embed.pipeline.export_plan import centre, place_json, request_fingerprint
from rs_embed.pipeline.export_request import ExportRequest, with_suffix
from rs_embed.pipeline.export_state import OpenPlace, rows_only, with_arrays
from rs_embed.pipeline.progress import ExportProgress
from rs_embed.pipeline.threads import Workers

log = logging.getLogger("rs_embed.export")


def sink_of(request: ExportRequest, lanes: Sequence[ExportLane]) -> FolderSink | FileSink:
    """Where an export goes: files of a folder, or one file of all places."""
    form = format_named(request.format)
    shared = request_json(
        fingerprint=request_fingerprint({o.lane.label: o.fingerprint for o in lanes}),
        format=request.format, backend=request.backend, device=request.device,
        temporal=temporal_json(request.temporal), output=_output_json(request),
        dtype=request.dtype, models=[model_json(one) for one in lanes],
    )  # fmt: skip
    if request.out_dir is not None:
        return FolderSink(Path(request.out_dir), form, shared, sidecar=request.save_manifest)
    path = Path(str(request.out_path))
    if request.one_place:
        return FolderSink(path.parent, form, shared, sidecar=request.save_manifest)
    name = with_suffix(path.name, request.format).unwrap()
    pooled = request.output.mode == "pooled" and request.save_embeddings
    dims = {o.lane.label: o.lane.model.dim for o in lanes} if pooled else {}
    return FileSink(path.parent / name, form, shared, sidecar=request.save_manifest, dims=dims)


def _output_json(request: ExportRequest) -> dict[str, Any]:
    output = request.output
    return {
        "mode": output.mode,
        "pooling": output.pooling if output.mode == "pooled" else None,
        "scale_m": output.scale_m if output.mode == "grid" else None,
        "grid_orientation": output.grid_orientation if output.mode == "grid" else None,
    }


class Writing:
    """The writes of one export, in the caller's thread or in a few of their own.

    Parameters
    ----------
    request : ExportRequest
    names, labels : sequence of str
        Of the places and of the lanes, in their order.
    sink : FolderSink or FileSink
    threads : Workers or None
        None writes as it is told to.
    progress : ExportProgress
    """

    def __init__(
        self,
        request: ExportRequest,
        names: Sequence[str],
        labels: Sequence[str],
        sink: FolderSink | FileSink,
        threads: Workers | None,
        progress: ExportProgress,
    ) -> None:
        self.request, self.names, self.labels = request, names, labels
        self.sink, self.threads, self.progress = sink, threads, progress
        self.manifests: dict[int, dict[str, Any]] = {}
        self.heads: dict[int, tuple[dict[str, Any], list[Mapping[str, Any]]]] = {}
        self.writes: deque[Future[None]] = deque()
        self.written = 0

    def put(self, i: int, opened: OpenPlace) -> None:
        """Write a place whose models are all there."""
        task = self._writing(i, opened)
        if self.threads is None:
            task()
        else:
            self.drain(2 * self.request.writer_workers - 1)
            self.writes.append(self.threads.submit(task))

    def _writing(self, i: int, opened: OpenPlace) -> Callable[[], None]:
        spatial, sink = self.request.spatials[i], self.sink
        lon, lat = centre(spatial)
        place = head_json(
            index=i, name=self.names[i], spatial=place_json(spatial), lon=lon, lat=lat
        )
        models = tuple(
            opened.kept.get(label) or opened.records[n] for n, label in enumerate(self.labels)
        )
        new = [n for n in opened.wanted if opened.records[n].row["status"] == "ok"]

        def write() -> None:
            rows = [one.row for one in models]
            self.heads[i] = place, rows
            untouched = not opened.wanted and not any(
                one.old != one.label for one in opened.kept.values()
            )
            if isinstance(sink, FileSink):
                if new:
                    self._retried(
                        lambda: sink.write(with_arrays(PlaceRecord(self.names[i], place, models)))
                    )
            elif untouched:
                self.manifests[i] = sink.manifest_of(rows_only(opened, place), rows, place)
            else:
                record = with_arrays(PlaceRecord(self.names[i], place, (*models, *opened.extra)))
                self.manifests[i] = self._retried(lambda: sink.write(record))
            self.written += 1
            self.progress.wrote()
            log.info("%s written", self.names[i], extra={"place": self.names[i]})

        return write

    def _retried(self, write: Callable[[], Any]) -> Any:
        """A write, tried again ``max_retries`` times where the disk refuses it."""
        for left in range(self.request.max_retries, -1, -1):
            try:
                return write()
            except OSError:
                if not left:
                    raise
                time.sleep(self.request.retry_backoff_s)
        return None

    def sync(self) -> None:
        """Have the chunk on the disk: behind its files, where threads write them."""
        if self.threads is None:
            self.sink.sync()
        else:
            self.drain(2 * self.request.writer_workers - 1)
            self.writes.append(self.threads.submit(self.sink.sync))

    def drain(self, keep: int) -> None:
        """Wait until at most so many writes are in flight; raises what one of them raised."""
        while len(self.writes) > keep:
            self.writes.popleft().result()

    def save(self) -> None:
        """Have finished work on the disk before the call ends early."""
        while self.writes:
            if isinstance(self.writes[0].exception(timeout=60), BaseException):
                log.warning("a place could not be written: %s", self.writes[0].exception())
            self.writes.popleft()
        try:
            self.sink.sync()
        except OSError as error:
            log.warning("the last places could not be saved: %s", error)

    def unwritable(self, error: OSError) -> RsEmbedError:
        """What the caller is told of a disk that refuses."""
        what = "out_dir" if self.request.out_dir is not None else "out_path"
        return unwritable(what, Path(str(self.request.out_dir or self.request.out_path)), error)

    def finished(self) -> Outcome[Any]:
        """The manifests of all places in their order, or the one of them all."""
        sink = self.sink
        try:
            if isinstance(sink, FileSink):
                return Success(sink.finish([self.heads[i] for i in range(len(self.names))]))
            sink.finish([])
        except OSError as error:
            return Failure(self.unwritable(error))
        made = [self.manifests[i] for i in range(len(self.names))]
        return Success(made[0] if self.request.one_place else made)
