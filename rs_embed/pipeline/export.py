"""`rs_embed.export_batch`: the loop of `rs_embed.pipeline.stream` with files at its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError
from rs_embed.core.result import Outcome, caused
from rs_embed.core.specs import SpatialSpec
from rs_embed.embedders.runtime import LoadedModel, load
from rs_embed.export.folder import LOCK, FolderLock, open_folder, remove_scratch
from rs_embed.export.sinks import FileSink, FolderSink
from rs_embed.pipeline.export_lanes import (
    BadInput,
    ExportLane,
    export_lanes,
    failed_record,
    record_of,
)
from rs_embed.pipeline.export_plan import item_fingerprint
from rs_embed.pipeline.export_request import ExportRequest, check_export, file_names, with_suffix
from rs_embed.pipeline.export_state import OpenPlace, open_place
from rs_embed.pipeline.export_writing import Writing, sink_of
from rs_embed.pipeline.lanes import Lane, Settings
from rs_embed.pipeline.progress import ExportProgress
from rs_embed.pipeline.steps import warn_of_values
from rs_embed.pipeline.stream import Stream, StreamResult
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
        self.open: dict[int, OpenPlace] = {}
        self.odd: dict[str, None] = {}

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
            sink = sink_of(request, self.lanes)
            if isinstance(sink, FileSink):
                sink.start(resume=request.resume)
                stack.callback(sink.close)
            elif not request.one_place:
                remove_scratch(Path(str(request.out_dir)))
            labels = [one.lane.label for one in self.lanes]
            self.progress = stack.enter_context(
                ExportProgress(len(self.names), labels, request.show_progress)
            )
            threads = Workers(request.writer_workers, "write") if self._threads() else None
            if threads is not None:
                stack.callback(threads.stop)
            writing = Writing(request, self.names, labels, sink, threads, self.progress)
            try:
                ended = self._run(writing)
            except KeyboardInterrupt:
                writing.save()
                log.warning(
                    "interrupted after %d places; run the same call with resume=True to go on",
                    writing.written,
                )
                raise
            return ended.bind(lambda _: writing.finished())

    def _threads(self) -> bool:
        return self.request.async_write and self.request.out_dir is not None

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

    def _run(self, writing: Writing) -> Outcome[None]:
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
                for result in stream.results(self._places(writing)):
                    done = self._take(result)
                    if done is None:
                        continue
                    self._write_all(done, writing)
                    since += 1
                    if since >= request.chunk_size:
                        since = 0
                        writing.sync()
                writing.drain(0)
            except StopExportError as stopped:
                writing.save()
                return Failure(stopped.error)
            except OSError as error:
                writing.save()
                return Failure(writing.unwritable(error))
        return Success(None)

    def _loaded_of(self, lane: Lane) -> Outcome[LoadedModel]:
        return self._ready(next(i for i, one in enumerate(self.lanes) if one.lane is lane))

    def _places(self, writing: Writing) -> Iterator[tuple[int, SpatialSpec, Sequence[int]]]:
        """The places that something is missing of; equal ones are one place of the loop."""
        alike: dict[SpatialSpec, list[int]] = {}
        for i, spatial in enumerate(self.request.spatials):
            alike.setdefault(spatial, []).append(i)
        self.alike = {indices[0]: indices for indices in alike.values()}
        for spatial, indices in alike.items():
            wanted: set[int] = set()
            for i in indices:
                self.open[i] = opened = self._begin(i, spatial, writing.sink)
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
                self._write_all(indices, writing)

    def _begin(self, i: int, spatial: SpatialSpec, sink: FolderSink | FileSink) -> OpenPlace:
        if not self.request.resume:
            return OpenPlace({}, (), list(range(len(self.lanes))))
        prints = self._fingerprints(spatial)
        earlier = sink.earlier(self.names[i], list(prints.values()))
        return open_place(earlier, prints, self.request, spatial)

    def _fingerprints(self, spatial: SpatialSpec) -> dict[str, str]:
        return {o.lane.label: item_fingerprint(o.fingerprint, spatial) for o in self.lanes}

    def _write_all(self, indices: Sequence[int], writing: Writing) -> None:
        for i in indices:
            writing.put(i, self.open.pop(i))

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


def _shown(folder: Path) -> str:
    return os.fspath(folder)


def _nothing() -> Outcome[Any]:
    """Where no model has to run."""
    return Success(None)
