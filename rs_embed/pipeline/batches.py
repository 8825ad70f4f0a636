"""Windows of many ROIs in full batches: each ROI is given back as soon as its last window ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from returns.result import Failure, Success

from rs_embed.core.errors import RsEmbedError
from rs_embed.core.plan import RoiPlan
from rs_embed.core.prepare import Windows
from rs_embed.core.result import Outcome
from rs_embed.core.token_grid import TokenGrid, TokenMosaic
from rs_embed.core.tokens import Tokens
from rs_embed.embedders.runtime import LoadedModel
from rs_embed.pipeline.encoding import (
    SeenWindow,
    TiledInput,
    alike,
    collected,
    lay_out,
    seen_windows,
)
from rs_embed.pipeline.tokens_of import absent_bands, stack_windows, tokens_of
from rs_embed.plugins.notices import warn_once

Finished = tuple[Any, Outcome[TokenGrid]]
"""The key that a ROI was added under, and its cells."""


@dataclass
class _Roi:
    """A ROI whose windows are on their way."""

    key: Any
    plan: RoiPlan
    mosaic: TokenMosaic
    bands_seen: np.ndarray
    left: int
    failed: RsEmbedError | None = None

    def result(self) -> Outcome[TokenGrid]:
        """The cells, or why there are none."""
        failed = self.failed or absent_bands(self.plan, self.bands_seen)
        if failed is not None:
            return Failure(failed)
        return Success(collected(self.mosaic, self.bands_seen))


@dataclass
class Batcher:
    """Runs one model on windows of many ROIs.

    Parameters
    ----------
    loaded : LoadedModel
    size : int
        Windows a batch; halved where the device has no memory for as many.
    ran : callable, optional
        Told how many windows are done, a batch at a time.
    """

    loaded: LoadedModel
    size: int
    ran: Callable[[int], None] | None = None
    _queue: list[tuple[_Roi, int, SeenWindow]] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Windows that wait for a full batch."""
        return len(self._queue)

    def add(self, key: Any, ready: TiledInput) -> Iterator[Finished]:
        """Take in the windows of a ROI, and give every ROI that is finished by then."""
        plan = ready.plan
        mosaic = TokenMosaic(plan.tiling, plan.model.dim)
        bands = np.zeros(len(plan.model.bands), dtype=bool)
        roi = _Roi(key, plan, mosaic, bands, len(plan.tiling))
        try:
            for i, one in enumerate(seen_windows(ready)):
                roi.mosaic.note(one.valid.missing, one.present)
                roi.bands_seen |= one.bands
                if one.valid.tokens is not None and not one.valid.tokens.any():
                    self._count(1)  # nothing to see: not run, and its cells stay missing
                    yield from _less(roi)
                    continue
                if self._queue and not alike(self._queue[0][2].window, one.window):
                    yield from self.flush()
                self._queue.append((roi, i, one))
                if len(self._queue) >= self.size:
                    yield from self.flush()
        except RsEmbedError as error:  # a lazy array that cannot be read
            kept = [one for one in self._queue if one[0] is not roi]
            self._count(roi.left)  # the rest of it will not come
            self._queue, roi.left = kept, 0
            yield key, Failure(error)

    def flush(self) -> Iterator[Finished]:
        """Run what waits as one batch."""
        queue, self._queue = self._queue, []
        while queue:
            part, queue = queue[: self.size], queue[self.size :]
            yield from self._run(part)

    def _run(self, part: list[tuple[_Roi, int, SeenWindow]]) -> Iterator[Finished]:
        outcome = self._encoded(stack_windows([one.window for _, _, one in part]))
        if outcome is None:  # out of memory
            self.size = max(1, len(part) // 2)
            warn_once(
                ("halved", self.loaded.model.id, self.size),
                f"{self.loaded.device} has no memory for {len(part)} windows of "
                f"{self.loaded.model.id} at once; going on with {self.size}",
            )
            for i in range(0, len(part), self.size):
                yield from self._run(part[i : i + self.size])
            return
        if isinstance(outcome, Failure):
            yield from self._apart(part, outcome.failure())
            return
        tokens = outcome.unwrap()
        self._count(len(part))
        for k, (roi, i, one) in enumerate(part):
            lay_out(roi.mosaic, i, one, tokens, k)
            yield from _less(roi)

    def _count(self, windows: int) -> None:
        if self.ran is not None and windows:
            self.ran(windows)

    def _apart(
        self, part: list[tuple[_Roi, int, SeenWindow]], error: RsEmbedError
    ) -> Iterator[Finished]:
        """What a family refuses in a batch is refused of the windows that it refuses alone."""
        if len(part) > 1:
            for one in part:
                yield from self._run([one])
            return
        roi = part[0][0]
        roi.failed = roi.failed or error
        self._count(1)
        yield from _less(roi)

    def _encoded(self, batch: Windows) -> Outcome[Tokens] | None:
        """The tokens; None where the device ran out of memory and fewer windows may fit."""
        model = self.loaded.model
        try:
            return tokens_of(self.loaded, model, batch)
        except (MemoryError, RuntimeError) as error:
            if len(batch.pixels) > 1 and _out_of_memory(error):
                return None
            raise


def _less(roi: _Roi) -> Iterator[Finished]:
    """Count a window of a ROI as done; the ROI itself, if that was the last."""
    roi.left -= 1
    if roi.left == 0:
        yield roi.key, roi.result()


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error of numpy or torch says that memory ran out."""
    named = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or named or "can't allocate memory" in str(error)
