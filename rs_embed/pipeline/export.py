"""`rs_embed.export_batch`: the loop of `rs_embed.pipeline.stream` with files at its end."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError
from rs_embed.core.result import Outcome, caused
from rs_embed.core.specs import SpatialSpec
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.export.folder import LOCK, FolderLock, open_folder, remove_scratch, unwritable
from rs_embed.export.manifest import place_json as head_json
from rs_embed.export.manifest import request_json
from rs_embed.export.places import format_named
from rs_embed.export.record import PlaceRecord
from rs_embed.export.sinks import FileSink, FolderSink
from rs_embed.pipeline.export_lanes import (
    BadInput,
    ExportLane,
    export_lanes,
    failed_record,
    model_json,
    record_of,
    temporal_json,
)
from rs_embed.pipeline.export_plan import (
    centre,
    item_fingerprint,
    place_json,
    request_fingerprint,
)
from rs_embed.pipeline.export_request import ExportRequest, check_export, file_names, with_suffix
from rs_embed.pipeline.export_state import OpenPlace, open_place, rows_only, with_arrays
from rs_embed.pipeline.progress import ExportProgress
from rs_embed.pipeline.steps import warn_of_values
from rs_embed.pipeline.stream import Lane, Settings, Stream, StreamResult
from rs_embed.pipeline.threads import Workers

log = logging.getLogger("rs_embed.export")


def export(request: ExportRequest) -> Outcome[Any]:
    """What `rs_embed.export_batch` returns: the manifests of all places, or one for them all."""
    bad = BadInput()
    return (
        check_export(request)
        .bind(lambda _: export_lanes(request, bad))
        .bind(lambda lanes: _prepared(request, lanes))
        .bind(lambda run: run.with_bad(bad).go())
    )


def _prepared(request: ExportRequest, lanes: tuple[ExportLane, ...]) -> Outcome[Run]:
    names = request.names
    if request.one_place:
        names = [PurePath(str(request.out_path)).name]
    return file_names(names, len(request.spatials), request.format).map(
        lambda found: Run(request, lanes, found)
    )


class StopExportError(Exception):
    """The export ends with this error; carries it out of the loop."""

    def __init__(self, error: RsEmbedError) -> None:
        super().__init__(str(error))
        self.error = error


class Run:
    """One call of `export`."""

    def __init__(
        self, request: ExportRequest, lanes: tuple[ExportLane, ...], names: tuple[str, ...]
    ) -> None:
        self.request, self.lanes, self.names = request, lanes, names
        self.bad = BadInput()
        self.loaded: dict[int, Outcome[LoadedModel]] = {}
        self.manifests: dict[int, dict[str, Any]] = {}
        self.heads: dict[int, tuple[dict[str, Any], list[Mapping[str, Any]]]] = {}
        self.open: dict[int, OpenPlace] = {}
        self.writes: deque[Future[None]] = deque()
        self.written = 0
        self.odd: dict[str, None] = {}
        self.shared = request_json(
            fingerprint=request_fingerprint({o.lane.label: o.fingerprint for o in lanes}),
            format=request.format, backend=request.backend, device=request.device,
            temporal=temporal_json(request.temporal), output=_output_json(request),
            dtype=request.dtype, models=[model_json(one) for one in lanes],
        )  # fmt: skip

    def with_bad(self, bad: BadInput) -> Run:
        """The run, told whose errors are those of bad input."""
        self.bad = bad
        return self

    def go(self) -> Outcome[Any]:
        """Lock the place, look through what is there, run what is missing, write."""
        target = self._target()
        if isinstance(target, Failure):
            return target
        folder, lock, what = target.unwrap()
        done = open_folder(folder, what).bind(
            lambda _: FolderLock(lock).acquire(f"{what} {_shown(folder)!r}").bind(self._locked)
        )
        warn_of_values(self.odd)
        return done

    def _target(self) -> Outcome[tuple[Path, Path, str]]:
        """The folder that is written to, the file that locks it, and the keyword that named it."""
        if self.request.out_dir is not None:
            folder = Path(self.request.out_dir)
            return Success((folder, folder / LOCK, "out_dir"))
        path = Path(str(self.request.out_path))
        return with_suffix(path.name, self.request.format).map(
            lambda name: (path.parent, path.parent / f".{name}.lock", "out_path")
        )

    def _locked(self, lock: FolderLock) -> Outcome[Any]:
        request = self.request
        with lock, ExitStack() as stack:
            sink = self._sink()
            if isinstance(sink, FileSink):
                sink.start(resume=request.resume)
                stack.callback(sink.close)
            elif not request.one_place:
                remove_scratch(Path(str(request.out_dir)))
            self.progress = stack.enter_context(
                ExportProgress(
                    len(self.names), [o.lane.label for o in self.lanes], request.show_progress
                )
            )
            writers = Workers(request.writer_workers, "write") if self._threads() else None
            if writers is not None:
                stack.callback(writers.stop)
            try:
                ended = self._run(sink, writers)
            except KeyboardInterrupt:
                self._save(sink)
                log.warning(
                    "interrupted after %d places; run the same call with resume=True to go on",
                    self.written,
                )
                raise
            return ended.bind(lambda _: self._finished(sink))

    def _threads(self) -> bool:
        return self.request.async_write and self.request.out_dir is not None

    def _sink(self) -> FolderSink | FileSink:
        request, form = self.request, format_named(self.request.format)
        if request.out_dir is not None:
            return FolderSink(
                Path(request.out_dir), form, self.shared, sidecar=request.save_manifest
            )
        path = Path(str(request.out_path))
        if request.one_place:
            return FolderSink(path.parent, form, self.shared, sidecar=request.save_manifest)
        name = with_suffix(path.name, request.format).unwrap()
        pooled = request.output.mode == "pooled" and request.save_embeddings
        dims = {o.lane.label: o.lane.model.dim for o in self.lanes} if pooled else {}
        return FileSink(
            path.parent / name, form, self.shared, sidecar=request.save_manifest, dims=dims
        )

    # Before the first fetch of a model

    def _ready(self, lane: int) -> Outcome[Any]:
        """A source that can be asked, and the model in memory."""
        if lane not in self.loaded:
            one = self.lanes[lane].lane
            self.loaded[lane] = one.provider.check_available().bind(
                lambda _: (
                    load(one.model, self.request.device)
                    if self.request.save_embeddings
                    else _nothing()
                )
            )
        return self.loaded[lane]

    # The loop

    def _run(self, sink: FolderSink | FileSink, writers: Workers | None) -> Outcome[None]:
        request = self.request
        settings = Settings(
            request.output, request.input_prep, request.overlap, request.batch_size,
            request.num_workers, request.chunk_size, request.max_retries, request.retry_backoff_s,
            models=request.save_embeddings,
        )  # fmt: skip
        lanes = [one.lane for one in self.lanes]
        since = 0
        with Stream(lanes, self._loaded_of, settings) as stream:
            try:
                for result in stream.results(self._places(sink, writers)):
                    done = self._take(result)
                    if done is None:
                        continue
                    self._write_all(done, sink, writers)
                    since += 1
                    if since >= request.chunk_size:
                        since = 0
                        self._sync(sink, writers)
                self._drain(0)
            except StopExportError as stopped:
                self._save(sink)
                return Failure(stopped.error)
            except OSError as error:
                self._save(sink)
                return Failure(self._unwritable(error))
        return Success(None)

    def _loaded_of(self, lane: Lane) -> Outcome[LoadedModel]:
        return self._ready(next(i for i, one in enumerate(self.lanes) if one.lane is lane))

    def _places(
        self, sink: FolderSink | FileSink, writers: Workers | None
    ) -> Iterator[tuple[int, SpatialSpec, Sequence[int]]]:
        """The places that something is missing of; equal ones are one place of the loop."""
        alike: dict[SpatialSpec, list[int]] = {}
        for i, spatial in enumerate(self.request.spatials):
            alike.setdefault(spatial, []).append(i)
        self.alike = {indices[0]: indices for indices in alike.values()}
        for spatial, indices in alike.items():
            wanted: set[int] = set()
            for i in indices:
                self.open[i] = opened = self._begin(i, spatial, sink)
                wanted |= set(opened.wanted)
            runnable = []
            for lane in sorted(wanted):
                ready = self._ready(lane)
                if isinstance(ready, Failure):
                    self._fail(indices, lane, spatial, ready.failure())
                else:
                    runnable.append(lane)
            if runnable:
                yield indices[0], spatial, runnable
            else:
                self._write_all(indices, sink, writers)

    def _begin(self, i: int, spatial: SpatialSpec, sink: FolderSink | FileSink) -> OpenPlace:
        if not self.request.resume:
            return OpenPlace({}, (), list(range(len(self.lanes))))
        prints = self._fingerprints(spatial)
        earlier = sink.earlier(self.names[i], list(prints.values()))
        return open_place(earlier, prints, self.request, spatial)

    def _fingerprints(self, spatial: SpatialSpec) -> dict[str, str]:
        return {o.lane.label: item_fingerprint(o.fingerprint, spatial) for o in self.lanes}

    def _take(self, result: StreamResult) -> list[int] | None:
        """Note a result; the indices of its place once all its models are there."""
        indices = self.alike[result.place]
        spatial = self.request.spatials[result.place]
        one = self.lanes[result.lane]
        label = one.lane.label
        made = record_of(
            one, result, self._ready(result.lane).unwrap(), self.request,
            item_fingerprint(one.fingerprint, spatial), spatial,
        )  # fmt: skip
        if isinstance(made, Failure):
            self._fail(indices, result.lane, spatial, made.failure())
        else:
            if result.ready is not None:
                self.odd |= dict.fromkeys(result.ready.value_problems())
            for i in indices:
                self.open[i].records[result.lane] = made.unwrap()
        self.progress.ran(label)
        return indices if self.open[result.place].complete else None

    def _fail(
        self, indices: Sequence[int], lane: int, spatial: SpatialSpec, error: RsEmbedError
    ) -> None:
        label = self.lanes[lane].lane.label
        named = caused(
            type(error)(
                f"spatials[{indices[0]}] {spatial}, model {label!r}: {error}",
                transient=error.transient,
            ),
            by=error,
        )
        bad = any(error is one for one in self.bad.errors)
        if bad or not self.request.continue_on_error:
            raise StopExportError(named)
        log.warning("%s", named, extra={"place": self.names[indices[0]], "model": label})
        print_ = item_fingerprint(self.lanes[lane].fingerprint, spatial)
        for i in indices:
            self.open[i].records[lane] = failed_record(label, print_, error)

    # Writing

    def _write_all(
        self, indices: Sequence[int], sink: FolderSink | FileSink, writers: Workers | None
    ) -> None:
        for i in indices:
            opened = self.open.pop(i)
            task = self._writing(i, opened, sink)
            if writers is None:
                task()
            else:
                self._drain(2 * self.request.writer_workers - 1)
                self.writes.append(writers.submit(task))

    def _writing(
        self, i: int, opened: OpenPlace, sink: FolderSink | FileSink
    ) -> Callable[[], None]:
        spatial = self.request.spatials[i]
        lon, lat = centre(spatial)
        place = head_json(
            index=i, name=self.names[i], spatial=place_json(spatial), lon=lon, lat=lat
        )
        models = tuple(
            opened.kept.get(one.lane.label) or opened.records[n] for n, one in enumerate(self.lanes)
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

    def _sync(self, sink: FolderSink | FileSink, writers: Workers | None) -> None:
        """Have the chunk on the disk: behind its files, where threads write them."""
        if writers is None:
            sink.sync()
        else:
            self._drain(2 * self.request.writer_workers - 1)
            self.writes.append(writers.submit(sink.sync))

    def _drain(self, keep: int) -> None:
        """Wait until at most so many writes are in flight; raises what one of them raised."""
        while len(self.writes) > keep:
            self.writes.popleft().result()

    def _save(self, sink: FolderSink | FileSink) -> None:
        """Have finished work on the disk before the call ends early."""
        while self.writes:
            if isinstance(self.writes[0].exception(timeout=60), BaseException):
                log.warning("a place could not be written: %s", self.writes[0].exception())
            self.writes.popleft()
        try:
            sink.sync()
        except OSError as error:
            log.warning("the last places could not be saved: %s", error)

    def _unwritable(self, error: OSError) -> RsEmbedError:
        what = "out_dir" if self.request.out_dir is not None else "out_path"
        return unwritable(what, Path(str(self.request.out_dir or self.request.out_path)), error)

    def _finished(self, sink: FolderSink | FileSink) -> Outcome[Any]:
        try:
            if isinstance(sink, FileSink):
                return Success(sink.finish([self.heads[i] for i in range(len(self.names))]))
            sink.finish([])
        except OSError as error:
            return Failure(self._unwritable(error))
        made = [self.manifests[i] for i in range(len(self.names))]
        return Success(made[0] if self.request.one_place else made)


def _output_json(request: ExportRequest) -> dict[str, Any]:
    output = request.output
    return {
        "mode": output.mode,
        "pooling": output.pooling if output.mode == "pooled" else None,
        "scale_m": output.scale_m if output.mode == "grid" else None,
        "grid_orientation": output.grid_orientation if output.mode == "grid" else None,
    }


def _shown(folder: Path) -> str:
    return os.fspath(folder)


def _nothing() -> Outcome[Any]:
    """Where no model has to run."""
    return Success(None)
