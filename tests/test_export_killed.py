"""An export that is killed and called again gives what one that is left alone gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests import killed

ROOT = Path(__file__).parents[1]


def run(*words, **keywords):
    return subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords,
    )  # fmt: skip


def arrays(target):
    found = {}
    for path in sorted(target.glob("*.npz")) if target.is_dir() else [target]:
        with np.load(path) as held:
            name = path.name if target.is_dir() else ""
            found |= {(name, key): held[key] for key in held.files if key != "manifest"}
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills children that were forked")
@pytest.mark.parametrize("name", ["out", "all.npz"])
def test_killed_at_twenty_instants_nothing_is_lost(tmp_path, name):
    process = run("-m", "tests.killed", tmp_path / name, 7, 20)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["killed"] >= 10
    for one in told["runs"]:
        again = set(one["finished"]) & set(one["fetched"])
        assert not again, "finished places were computed again"
    assert sum(len(one["fetched"]) for one in told["runs"]) >= len(killed.PLACES)
    whole = tmp_path / "whole" / name
    whole.parent.mkdir()
    process = run("-m", "tests.killed", whole, 7, 0)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert len(json.loads(out)["runs"]) == 1
    one, other = arrays(tmp_path / name), arrays(whole)
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
    assert not list(tmp_path.rglob(".rs_embed*"))
    assert not list(tmp_path.rglob("*.parts"))


SCRIPT = """
import itertools, os, sys, time
from rs_embed import PointBuffer, TemporalSpec, export_batch, register_provider
from rs_embed.providers.memory import MemoryProvider
from rs_embed.providers.source import Provider

class Stuck(Provider):
    name, workers = "stuck", 4
    count = itertools.count()
    def describe(self, item, sensor):
        return MemoryProvider().describe(item, sensor)
    def fetch(self, plan):
        if next(Stuck.count) >= 6:
            os.write(1, b"stuck" + bytes([10]))
            time.sleep(600)
        return MemoryProvider().fetch(plan)

register_provider("stuck", Stuck())
export_batch(
    spatials=[PointBuffer(10 + 0.05 * i, 50, 160) for i in range(400)],
    temporal=TemporalSpec.year(2022), models=["mosaiks"], backend="stuck",
    out_dir=sys.argv[1], show_progress=False, chunk_size=2,
)
"""


def test_an_interrupt_ends_the_call_and_the_process(tmp_path):
    """Requests in flight, ten minutes long, are not waited for; what was finished is there."""
    process = run("-c", SCRIPT, tmp_path / "out")
    assert "stuck" in process.stdout.readline()
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("*.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert "resume=True" in err
    assert len(list((tmp_path / "out").glob("*.npz"))) >= 4
