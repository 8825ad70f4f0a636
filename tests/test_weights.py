"""Weights found, fetched and checked against a hub in another process, and what goes wrong."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from returns.result import Failure, Success

from rs_embed.core.errors import ModelError
from rs_embed.core.model import WeightRecord
from rs_embed.embedders import store, transfer
from rs_embed.embedders.watched import Watched
from tests.hub import CHECKOUT, Client, Hub, serve

pytest.importorskip("huggingface_hub")
FileLock = pytest.importorskip("filelock").FileLock
hub_constants = pytest.importorskip("huggingface_hub.constants")

COMMIT = "c0ffee" + "0" * 34
HUB_RESUMES = version("huggingface_hub") < "1"
"""Older clients keep the part under a name of its own, and continue it in the next call."""
GALILEO = CHECKOUT.parent / "shared" / "weights" / "galileo-nano" / "encoder.pt"
GALILEO_SHA256 = "eab6acacf527886a508a555bc24efe4b4a2cf91b162e84cd1c4a1807e942180c"
SCENES = (
    "first", "cut", "empty", "spoilt", "silent", "mute", "reset", "down", "gone", "moved", "gated",
    "barred", "changed", "again", "grown", "main", "huge", "untold", "pair", "late", "page", "html",
    "part", "ignored", "lost", "broken", "xet", "xets", "mine", "slow", "zenodo",
)  # fmt: skip
"""One repository each, so that no test sees another one's cache."""


def content(scene: str) -> bytes:
    return hashlib.shake_256(scene.encode()).digest(300_000)


def name_of(scene: str) -> str:
    return f"lfs/{scene}.pth"


def hub_record(scene: str, **changes: Any) -> WeightRecord:
    body = content(scene)
    facts = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "revision": COMMIT}
    return WeightRecord(name_of(scene), repo=f"acme/{scene}", **(facts | changes))


def url_record(hub: Hub, scene: str, **changes: Any) -> WeightRecord:
    body = content(scene)
    facts = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    url = f"{hub.url}/plain/acme/{scene}/{name_of(scene)}"
    return WeightRecord(f"{scene}.pth", url=url, **(facts | changes))


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    files = {f"acme/{scene}/{name_of(scene)}": content(scene) for scene in SCENES}
    with serve(files | {"acme/small/config.json": b"{}"}, commit=COMMIT) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(hub: Hub) -> Iterator[None]:
    yield
    hub.heal()


@pytest.fixture(scope="module")
def client(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Client(hub.url, tmp_path_factory.mktemp("home")) as running:
        yield running


def failed(result: dict[str, Any], *words: str, transient: bool, within_s: float = 30) -> None:
    assert result.get("type") == "ModelError", result
    for word in words:
        assert word in result["error"]
    assert result["transient"] is transient, result
    assert result["seconds"] < within_s
    assert "Traceback" not in result["error"]


def nothing_left(client: Client, scene: str) -> None:
    half = [] if HUB_RESUMES else [name for name in client.files() if "incomplete" in name]
    kept = half + [name for name in client.files() if scene in name]
    assert kept == []


def heals(client: Client, record: WeightRecord, scene: str) -> dict[str, Any]:
    result = client.locate(record)
    assert Path(result["path"]).read_bytes() == content(scene)
    return result


# What works


def test_first_download_lies_in_the_hubs_own_cache(hub: Hub, client: Client) -> None:
    result = heals(client, hub_record("first"), "first")
    path = Path(result["path"]).relative_to(client.home)
    assert path.as_posix() == f"hub/models--acme--first/snapshots/{COMMIT}/lfs/first.pth"
    told = result["provenance"]
    assert told["commit"] == told["revision"] == COMMIT
    assert told["pinned"] is told["published"] is True
    assert not hub.requests("agent")

    before = hub.requests()
    assert client.locate(hub_record("first"))["path"] == result["path"]
    assert hub.requests() == before, "a cached file needs no request"


def test_checked_once_and_again_only_after_a_change(hub: Hub, client: Client) -> None:
    record = hub_record("changed")
    blob = Path(heals(client, record, "changed")["path"]).resolve()
    stat = blob.stat()
    blob.write_bytes(content("other"))
    os.utime(blob, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with Client(hub.url, client.home, HF_HUB_OFFLINE="1") as later:
        assert "path" in later.locate(record), "size and time are the same: not read again"
        os.utime(blob, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        failed(later.locate(record), "damaged", "SHA-256", transient=True)
        assert not blob.exists()
        failed(later.locate(record), "HF_HUB_OFFLINE", transient=False)
    heals(client, record, "changed")


def test_unpinned_record_takes_main_and_says_what_it_got(hub: Hub, client: Client) -> None:
    record = hub_record("main", revision=None, sha256=None, size=None)
    told = heals(client, record, "main")["provenance"]
    assert told["revision"] is None
    assert told["pinned"] is False
    assert told["published"] is None
    assert told["commit"] == COMMIT
    assert told["sha256"] == hashlib.sha256(content("main")).hexdigest()
    before = hub.requests()
    heals(client, record, "main")
    assert hub.requests() == before


def test_small_files_that_are_not_in_lfs(client: Client) -> None:
    record = WeightRecord("config.json", repo="acme/small", revision=COMMIT, size=2)
    assert Path(client.locate(record)["path"]).read_bytes() == b"{}"


def test_dropped_connection_is_mended_within_a_call(hub: Hub, client: Client) -> None:
    record = hub_record("cut")
    hub.fault(f"/blobs/{record.sha256}", "cut", after=120_000, times=1)
    if HUB_RESUMES:
        failed(client.locate(record), "no complete answer", transient=True)
    heals(client, record, "cut")
    assert len(hub.requests(f"/blobs/{record.sha256}")) == 2


def test_url_resumes_the_part_an_earlier_process_left(hub: Hub, client: Client) -> None:
    record = url_record(hub, "part")
    hub.fault("part", "cut", after=100_000, times=1)
    hub.fault("part", "status", status=503)
    failed(client.locate(record), "503", transient=True)
    assert next(n for n in client.files("rs_embed/**/*") if "part.pth" in n).endswith(".part")
    hub.heal()
    with Client(hub.url, client.home) as later:
        told = heals(later, record, "part")["provenance"]
    assert hub.requests("/plain/acme/part")[-1].endswith("bytes=100000-")
    assert told["published"] is True
    before = hub.requests()
    heals(client, record, "part")
    assert hub.requests() == before


def test_url_server_that_ignores_ranges(hub: Hub, client: Client) -> None:
    hub.fault("ignored", "cut", after=100_000, times=1)
    hub.fault("ignored", "whole")
    heals(client, url_record(hub, "ignored"), "ignored")


def test_two_processes_at_once(hub: Hub, tmp_path: Path) -> None:
    record, elsewhere = hub_record("pair"), url_record(hub, "pair")
    with Client(hub.url, tmp_path) as one, Client(hub.url, tmp_path) as two:
        for wanted in (record, elsewhere):
            one.begin(wanted)
            two.begin(wanted)
            paths = {one.result()["path"], two.result()["path"]}
            assert len(paths) == 1
            assert Path(paths.pop()).read_bytes() == content("pair")
        assert not [n for n in one.files() if n.endswith((".part", ".incomplete"))]


# What goes wrong at the hub


def test_no_server(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}", tmp_path) as client:
        failed(client.locate(hub_record("first")), "HF_ENDPOINT", "weights=FILE", transient=True)
        elsewhere = WeightRecord("w.pth", url=f"http://127.0.0.1:{port}/w.pth")
        failed(client.locate(elsewhere), "network", "weights=FILE", transient=True)
        assert client.files() == []


def test_unknown_host_and_an_endpoint_that_is_no_address(tmp_path: Path) -> None:
    with Client("http://hub.invalid", tmp_path) as client:
        failed(client.locate(hub_record("first")), "hub.invalid", transient=True)
    with Client("nonsense", tmp_path) as client:
        failed(client.locate(hub_record("first")), "HF_ENDPOINT is 'nonsense'", transient=False)


def test_offline(hub: Hub, client: Client) -> None:
    heals(client, hub_record("again"), "again")
    before = hub.requests()
    with Client(hub.url, client.home, HF_HUB_OFFLINE="1") as offline:
        heals(offline, hub_record("again"), "again")
        failed(offline.locate(hub_record("late")), "HF_HUB_OFFLINE", transient=False)
        failed(offline.locate(url_record(hub, "late")), "HF_HUB_OFFLINE", transient=False)
    assert hub.requests() == before


@pytest.mark.parametrize(
    ("scene", "fault", "words", "transient"),
    [
        ("empty", {"kind": "cut", "after": 0}, ("no complete answer",), True),
        ("reset", {"kind": "reset", "after": 50_000}, ("no complete answer",), True),
        ("spoilt", {"kind": "spoil"}, ("SHA-256", "removed"), False),
        ("silent", {"kind": "stall", "after": 40_000}, ("no complete answer",), True),
        ("broken", {"kind": "status", "status": 500}, ("500", "try again"), True),
        ("html", {"kind": "page"}, ("weights=FILE",), True),
    ],
)
def test_bad_bodies(
    hub: Hub,
    client: Client,
    scene: str,
    fault: dict[str, Any],
    words: tuple[str, ...],
    transient: bool,
) -> None:
    record = hub_record(scene)
    hub.fault(f"/blobs/{record.sha256}", **fault)
    failed(client.locate(record, timeout_s=0.3), *words, transient=transient)
    nothing_left(client, f"lfs/{scene}.pth")
    assert not [n for n in client.files() if n.endswith(str(record.sha256))]
    hub.heal()
    if HUB_RESUMES and scene == "html":
        failed(client.locate(record), "SHA-256", transient=False)  # the page was continued
    heals(client, record, scene)


@pytest.mark.parametrize(
    ("scene", "fault", "words", "transient"),
    [
        ("mute", {"kind": "stall"}, ("no complete answer", "timed out"), True),
        ("down", {"kind": "status", "status": 503}, ("503", "try again"), True),
        ("late", {"kind": "status", "status": 429}, ("429", "try again"), True),
        ("barred", {"kind": "status", "status": 403}, ("403", "hf auth login"), False),
        (
            "gated",
            {"kind": "status", "status": 403, "code": "GatedRepo"},
            ("accept its terms", "hf auth login"),
            False,
        ),
        ("page", {"kind": "page"}, ("does not answer as a hub", "HF_ENDPOINT"), False),
    ],
)
def test_bad_answers(
    hub: Hub,
    client: Client,
    scene: str,
    fault: dict[str, Any],
    words: tuple[str, ...],
    transient: bool,
) -> None:
    hub.fault(f"/acme/{scene}/", **fault)
    failed(client.locate(hub_record(scene), timeout_s=0.5), *words, transient=transient)
    nothing_left(client, scene)
    hub.heal()
    heals(client, hub_record(scene), scene)


def test_missing_repository_revision_and_file(client: Client) -> None:
    absent = WeightRecord("w.pth", repo="acme/nowhere", revision=COMMIT)
    failed(client.locate(absent), "no such repository", transient=False)
    failed(client.locate(hub_record("moved", revision="d" * 40)), "no revision", transient=False)
    failed(
        client.locate(WeightRecord("lfs/gone.bin", repo="acme/gone", revision=COMMIT)),
        "no file 'lfs/gone.bin'",
        "weights=FILE",
        transient=False,
    )
    heals(client, hub_record("moved"), "moved")
    heals(client, hub_record("gone"), "gone")


def test_another_file_than_recorded_is_refused_before_it_is_fetched(
    hub: Hub, client: Client
) -> None:
    failed(client.locate(hub_record("grown", sha256="0" * 64)), "SHA-256", transient=False)
    failed(client.locate(hub_record("grown", size=7)), "300,000 bytes, not 7", transient=False)
    assert not hub.requests(str(hub_record("grown").sha256))
    nothing_left(client, "grown")
    heals(client, hub_record("grown"), "grown")


# What goes wrong elsewhere


@pytest.mark.parametrize(
    ("changes", "fault", "words"),
    [
        ({"sha256": "0" * 64}, {}, ("SHA-256", "removed")),
        ({"sha256": None, "size": 9}, {}, ("300,000 bytes, not 9",)),
        ({"sha256": None, "size": None}, {"kind": "page"}, ("a web page",)),
        ({}, {"kind": "spoil"}, ("SHA-256",)),
        ({}, {"kind": "status", "status": 404}, ("no such file", "404")),
    ],
)
def test_url_that_gives_something_else(
    hub: Hub, client: Client, changes: dict[str, Any], fault: dict[str, Any], words: tuple[str, ...]
) -> None:
    if fault:
        hub.fault("/plain/acme/lost", **fault)
    failed(client.locate(url_record(hub, "lost", **changes)), *words, transient=False)
    assert not [name for name in client.files() if "lost" in name]
    hub.heal()
    heals(client, url_record(hub, "lost"), "lost")
    Path(client.locate(url_record(hub, "lost"))["path"]).unlink()


def test_url_that_falls_silent(hub: Hub, client: Client) -> None:
    hub.fault("/plain/acme/lost", "stall", after=1000)
    record = url_record(hub, "lost", sha256=None)
    failed(client.locate(record, timeout_s=0.3), "timed out", transient=True)
    assert not [name for name in client.files() if "lost" in name]


def test_url_truncated_for_good(hub: Hub, client: Client) -> None:
    hub.fault("/plain/acme/lost", "cut", after=0)
    failed(client.locate(url_record(hub, "lost")), "after 0 of 300,000 bytes", transient=True)


def test_another_process_that_holds_a_download_and_does_nothing(tmp_path: Path) -> None:
    target = tmp_path / "w.pth"
    record = WeightRecord("w.pth", url="http://127.0.0.1:9/w.pth")
    with FileLock(f"{target}.lock"):
        outcome = transfer.url_fetch(record, target, lambda _: Success(None), timeout_s=0.1)
    assert isinstance(outcome, Failure)
    assert "another process" in str(outcome.failure())
    assert outcome.failure().transient


def test_local_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    own = tmp_path / "mine.pt"
    own.write_bytes(b"tensors")
    record = hub_record("first")
    assert store.locate(record, local=own) == Success(own)
    told = store.provenance(record, own)
    assert told["file"] == "mine.pt"
    assert told["repo"] is told["commit"] is None
    assert told["pinned"] is told["published"] is False
    assert told["sha256"] == hashlib.sha256(b"tensors").hexdigest()
    assert str(tmp_path) not in str(told)
    for wrong, word in ((tmp_path / "none.pt", "does not exist"), (tmp_path, "is a folder")):
        outcome = store.locate(record, local=wrong)
        assert isinstance(outcome, Failure)
        assert word in str(outcome.failure())


def test_nothing_published() -> None:
    for record in (None, WeightRecord("w.pth")):
        outcome = store.locate(record, model="fomo")
        assert isinstance(outcome, Failure)
        assert "fomo" in str(outcome.failure())


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "find_spec", lambda name: None)
    outcome = store.locate(hub_record("first"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.failure(), ModelError)
    text = str(outcome.failure())
    assert "pip install torch timm huggingface_hub safetensors (extra `torch`)" in text


# Consent and licence


def test_large_downloads_are_asked_for(hub: Hub, client: Client) -> None:
    for record in (hub_record("huge", size=None), url_record(hub, "huge", size=None)):
        refused = client.locate(record, consent=False, model="clay")
        failed(refused, "3.0 GB", "rs-embed weights fetch clay --yes", transient=False)
        assert refused["asked"] == [3 * 10**9]
        failed(client.locate(record), "rs-embed weights fetch MODEL --yes", transient=False)
    nothing_left(client, "huge")
    told = hub_record("untold", size=None, approx_size=2_500_000_000)
    allowed = client.locate(told, consent=True)
    assert allowed["asked"] == [2_500_000_000]
    if not HUB_RESUMES:  # those clients refuse files without a size
        assert client.locate(told, consent=False)["asked"] == [], "what is here is not asked for"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("reply", "agreed"), [("y\n", True), ("", False), ("no\n", False)])
def test_the_question_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, reply: str, agreed: bool
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(reply))
    monkeypatch.setattr(sys, "stderr", screen)
    assert store.ask(hub_record("first"), 5_160_000_000) is agreed
    assert "5.2 GB" in screen.getvalue()
    monkeypatch.setattr(sys, "stdin", None)
    assert store.ask(hub_record("first"), 5_160_000_000) is False


def test_licence_is_noted_once() -> None:
    limited = WeightRecord("w.pth", repo="acme/nc", licence="CC BY-NC 4.0", restricted=True)
    with pytest.warns(store.LicenceNotice, match=r"CC BY-NC 4\.0") as seen:
        store.note_licence(limited)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.note_licence(limited)
        store.note_licence(WeightRecord("w.pth", repo="acme/free", licence="MIT"))


# Costs


def test_importing_is_light() -> None:
    code = (
        "import sys, rs_embed.embedders.store, rs_embed.embedders.weights;"
        "heavy = {'torch', 'huggingface_hub', 'safetensors', 'filelock'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CHECKOUT, timeout=60)


@pytest.mark.skipif(not GALILEO.exists(), reason="needs the published Galileo nano weights")
def test_real_weights_have_their_published_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    record = WeightRecord("encoder.pt", size=4_189_406, sha256=GALILEO_SHA256)
    told = store.provenance(record, GALILEO)
    assert told["published"] is True
    assert told["size"] == record.size
    store._remembered_hash.cache_clear()  # as in a new process
    monkeypatch.setattr(hashlib, "file_digest", None)  # a second reading would fail
    assert store.content_sha256(GALILEO) == GALILEO_SHA256


# The hub's cache: links, and bytes that repositories share

XET = "e" * 64
"""A name of the shared store: 64 hexadecimal digits that are no SHA-256 of the bytes."""


def share(client: Client, path: Path) -> Path:
    """Lay a repository's bytes into a store beside it, as the client does with Xet files."""
    entry = Path(os.path.normpath(path.parent / os.readlink(path)))
    store_file = client.home / "hub" / "shared" / XET[:2] / f"{XET[:-4]}{len(entry.name):04x}"
    store_file.parent.mkdir(parents=True, exist_ok=True)
    entry.replace(store_file)
    entry.symlink_to(store_file)
    return store_file


def test_a_name_in_the_shared_store_is_no_hash(hub: Hub, client: Client) -> None:
    record = hub_record("xet", sha256=None, size=None)
    path = Path(heals(client, record, "xet")["path"])
    share(client, path)
    before = hub.requests()
    with Client(hub.url, client.home) as later:
        assert later.locate(record)["path"] == str(path)
    assert hub.requests() == before


def test_healing_leaves_what_others_share(hub: Hub, client: Client) -> None:
    record = hub_record("xets")
    path = Path(heals(client, record, "xets")["path"])
    shared = share(client, path)
    shared.write_bytes(content("other"))
    with Client(hub.url, client.home) as later:
        failed(later.locate(record), "damaged", "SHA-256", transient=True)
        assert shared.read_bytes() == content("other"), "another repository may need it"
        assert not path.is_symlink()
        heals(later, record, "xets")


def test_a_link_out_of_the_cache_goes_and_its_target_stays(
    hub: Hub, client: Client, tmp_path: Path
) -> None:
    record = hub_record("mine")
    path = Path(heals(client, record, "mine")["path"])
    own = tmp_path / "years_of_work.pth"
    own.write_bytes(content("other"))
    path.unlink()
    path.symlink_to(own)
    with Client(hub.url, client.home) as later:
        failed(later.locate(record), "damaged", transient=True)
        assert own.read_bytes() == content("other")
        heals(later, record, "mine")


def test_a_first_byte_may_take_as_long_as_the_documentation_says(hub: Hub, tmp_path: Path) -> None:
    hub.fault("/plain/acme/slow", "late", seconds=2.5)
    record = url_record(hub, "slow")
    with Client(hub.url, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="1") as hasty:
        failed(hasty.locate(record), "timed out", "weights=FILE", transient=True)
    with Client(hub.url, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="60") as patient:
        heals(patient, record, "slow")
    told = inspect.signature(store.locate).parameters["timeout_s"].default
    assert told == hub_constants.DEFAULT_DOWNLOAD_TIMEOUT == 10


def test_a_published_md5_is_checked(hub: Hub, client: Client) -> None:
    body = content("zenodo")
    right = hashlib.md5(body, usedforsecurity=False).hexdigest()
    failed(
        client.locate(url_record(hub, "zenodo", sha256=None, size=None, md5="0" * 32)),
        "MD5", right, transient=False,
    )  # fmt: skip
    told = heals(client, url_record(hub, "zenodo", sha256=None, md5=right), "zenodo")["provenance"]
    assert told["published"] is told["pinned"] is True


def test_what_stands_still_is_left_and_says_so() -> None:
    """A transfer without a time-out of its own, as those of Xet storage are."""
    held, bars = threading.Event(), []

    def still(bar: type) -> None:
        bars.append(bar(total=10, disable=True))
        held.wait(60)

    call = Watched(still)
    with pytest.raises(TimeoutError, match="no byte"):
        call.result(0.3)
    held.set()
    with pytest.raises(TimeoutError, match="nobody waits"):
        bars[0].update(1)
    assert Watched(lambda bar: "here").result(5) == "here"
    with pytest.raises(ValueError, match="no"):
        Watched(lambda bar: int("no")).result(5)


def test_the_clients_constants_are_left_alone(hub: Hub, tmp_path: Path) -> None:
    """Other libraries in the process read them too."""
    code = (
        "import sys, threading\n"
        "from huggingface_hub import constants, file_download\n"
        "from rs_embed.core.model import WeightRecord\n"
        "from rs_embed.embedders.store import locate\n"
        "names = [n for n in dir(constants) if n.isupper()]\n"
        "def now():\n"
        "    return [getattr(constants, n) for n in names], file_download._ETAG_RETRY_TIMEOUT\n"
        "before, seen = now(), []\n"
        "def watch(frame, event, arg):\n"
        "    seen.append(now() == before)\n"
        "threading.setprofile(watch); sys.setprofile(watch)\n"
        f"outcome = locate(WeightRecord('lfs/first.pth', repo='acme/first', revision={COMMIT!r}))\n"
        "sys.setprofile(None)\n"
        "print(type(outcome).__name__, all(seen), len(seen) > 1000)\n"
    )
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False,
        cwd=CHECKOUT, timeout=120,
    )  # fmt: skip
    assert ran.stdout.split() == ["Success", "True", "True"], ran.stderr
