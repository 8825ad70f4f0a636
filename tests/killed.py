"""Export places again and again, each time killed at a random instant, and tell what came of it.

``python -m tests.killed TARGET SEED KILLS`` exports into TARGET (a folder, or a ``.npz``) and
prints JSON: how often it was killed, and, for each run, the places that were finished before it
and those that it fetched.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from rs_embed import PointBuffer, TemporalSpec, export_batch, register_provider
from rs_embed.export.folder import intact
from rs_embed.export.places import npz
from rs_embed.providers.memory import MemoryProvider
from rs_embed.providers.source import Provider

PLACES = [PointBuffer(10 + 0.05 * i, 50, 320) for i in range(60)]


class Slow(Provider):
    """The memory source, a few milliseconds a fetch; each fetch is a line of a file."""

    name = "slow"
    workers = 3

    def __init__(self, log: Path) -> None:
        self._log = log

    def describe(self, item, sensor):
        return MemoryProvider().describe(item, sensor)

    def fetch(self, plan):
        with self._log.open("a") as stream:
            stream.write(f"{plan.grid.bounds[0]:.0f} {plan.grid.crs}\n")
        time.sleep(0.004)
        return MemoryProvider().fetch(plan)


def export(target: Path) -> None:
    where = {"out_path": str(target)} if target.suffix else {"out_dir": str(target)}
    export_batch(
        spatials=PLACES, temporal=TemporalSpec.year(2022), models=["mosaiks"], backend="slow",
        chunk_size=3, resume=True, show_progress=False, **where,
    )  # fmt: skip


def finished(target: Path) -> list[str]:
    """Names of the places that are on the disk and whole."""
    if not target.suffix:
        return [
            path.stem
            for path in target.glob("*.json")
            if intact(target, json.loads(path.read_text())["files"])
        ]
    files = [*target.parent.glob(f".{target.name}.parts/part-*.npz")]
    files += [target] if target.exists() else []
    names = []
    for path in files:
        with npz.PlacesFile(path) as opened:
            names += [place["name"] for place in opened.places]
    return names


def place_names() -> dict[str, str]:
    from rs_embed.core.grid import roi_grid

    grids = [roi_grid(place, 10).unwrap() for place in PLACES]
    return {f"{grid.bounds[0]:.0f} {grid.crs}": f"p{i:05d}" for i, grid in enumerate(grids)}


def main(target: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    log, names, runs, killed = target.parent / "fetches.txt", place_names(), [], 0
    register_provider("slow", Slow(log))
    while True:
        log.write_text("")
        before = finished(target)
        child = os.fork()
        if child == 0:
            export(target)
            os._exit(0)
        ended = 0
        if killed < kills:
            lines = chance.randrange(8)
            while not ended and log.read_text().count("\n") < lines:
                ended = os.waitpid(child, os.WNOHANG)[0]
                time.sleep(0.001)
            time.sleep(chance.random() * 0.01)
            if not ended:
                os.kill(child, signal.SIGKILL)
                killed += 1
        if not ended:
            _, status = os.waitpid(child, 0)
            ended = child if status == 0 else 0
        fetched = [names[line] for line in log.read_text().splitlines() if line in names]
        runs.append({"finished": before, "fetched": fetched})
        if ended:
            break
    print(json.dumps({"killed": killed, "runs": runs}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
