"""The service's limits, and everything that can go wrong on the way."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import ee
import google.auth.exceptions
import numpy as np
import pytest
import requests

from tests.earth_engine import Constant, Fault, Layer, Scene, array_scene, serve
from tests.earth_engine.queries import MAIN, make_grid


def image() -> ee.Image:
    return ee.Image("HAND/STACK/day1").select("B1")


def status(caught: pytest.ExceptionInfo[ee.EEException]) -> int:
    return caught.value.__context__.resp.status


def post(server, body: object, project: str = "local-test") -> requests.Response:
    url = f"{server.url}/v1/projects/{project}/image:computePixels"
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, **({"data": body} if isinstance(body, bytes) else {"json": body}))


def test_request_size_counts_a_mask_byte_per_value(fetch):
    twelve = ee.Image.constant([1] * 12).toFloat()
    assert fetch(twelve, make_grid(500000, 4600000, 915, 915)).shape == (915, 915)
    # 60 bytes a pixel: 916 * 917 = 839972 pixels are too many, 838860 fit.
    with pytest.raises(ee.EEException) as caught:
        fetch(twelve, make_grid(500000, 4600000, 916, 917))
    assert str(caught.value) == (
        "Total request size (50398320 bytes) must be less than or equal to 50331648 bytes."
    )


def test_sides_and_bands(fetch):
    with pytest.raises(ee.EEException) as caught:
        fetch(image(), make_grid(500000, 4600000, 40818, 1))
    expected = "Pixel grid dimensions (40818x1) must be less than or equal to 32768."
    assert str(caught.value) == expected
    many = ee.Image.constant([1] * 1025).toByte()
    with pytest.raises(ee.EEException, match=r"Number of bands \(1025\)"):
        fetch(many, make_grid(500000, 4600000, 2, 2))
    assert len(fetch(many.select("constant_.{1,2}"), MAIN).dtype) == 100


def test_body_size(server):
    answer = post(server, b"{" + b" " * 10485760 + b"}")
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message == "Request payload size exceeds the limit: 10485760 bytes."


def test_nesting(fetch, server):
    deep = image()
    for _ in range(300):
        deep = deep.add(1)  # the client lifts deep parts out, so this passes
    assert fetch(deep, MAIN)["B1"].dtype == np.int32
    node: object = {"constantValue": 1}
    for _ in range(40):
        call = {"functionName": "Image.abs", "arguments": {"value": node}}
        node = {"functionInvocationValue": call}
    answer = post(server, {"expression": {"result": "0", "values": {"0": node}}, "grid": MAIN})
    assert answer.status_code == 400
    assert "Message too deep" in answer.json()["error"]["message"]
    circle = {"result": "0", "values": {"0": {"valueReference": "0"}}}
    answer = post(server, {"expression": circle, "fileFormat": "NPY", "grid": MAIN})
    assert "nested too deeply" in answer.json()["error"]["message"]


def test_memory_limit(fetch, server):
    server.set(memory_pixels=100 * 100)
    with pytest.raises(ee.EEException) as caught:
        fetch(image(), make_grid(500000, 4600000, 101, 100))
    assert str(caught.value) == "User memory limit exceeded."
    assert fetch(image(), make_grid(500000, 4600000, 100, 100)).shape == (100, 100)


def test_concurrency_is_counted_and_limited(server):
    server.set(latency=0.15, max_concurrent=4)
    body = {"expression": ee.serializer.encode(image()), "fileFormat": "NPY", "grid": MAIN}
    with ThreadPoolExecutor(8) as pool:
        codes = [answer.status_code for answer in pool.map(post, [server] * 8, [body] * 8)]
    assert codes.count(200) == 4
    assert codes.count(429) == 4
    assert server.peak == 8


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("429", 429, "Too Many Requests: Request was rejected because the request rate or"),
        ("429-rate-limit", 429, "Rate limit"),
        ("403-rate-limit", 403, "Rate limit"),
        ("429-aggregations", 429, "Too many concurrent aggregations."),
        ("403", 403, "Caller does not have required permission to use project"),
        ("404", 404, "Requested entity was not found."),
        ("500", 500, "An internal error has occurred"),
        ("503", 503, "The service is currently unavailable."),
        ("503-html", 503, "Ok"),
        ("memory", 400, "User memory limit exceeded."),
        ("timed-out", 400, "Computation timed out."),
    ],
)
def test_faults_that_answer(fetch, server, kind, code, message):
    server.fail(kind)
    with pytest.raises(ee.EEException) as caught:
        fetch(image(), MAIN)
    assert str(caught.value).startswith(message)
    assert status(caught) == code
    assert fetch(image(), MAIN)["B1"][0, 0] == 0  # the next request is served again


def test_faults_of_the_connection(fetch, server):
    server.fail("401", "drop", "truncate")
    with pytest.raises(google.auth.exceptions.InvalidOperation):
        fetch(image(), MAIN)
    with pytest.raises(ConnectionError):
        fetch(image(), MAIN)
    with pytest.raises(ValueError, match=r"EOF|cannot reshape|array"):
        fetch(image(), MAIN)
    assert [entry["fault"] for entry in server.log] == ["401", "drop", "truncate"]
    assert [entry["status"] for entry in server.log] == [401, 0, 200]


def test_slow_answers_and_latency(fetch, server):
    server.fail(Fault("slow", seconds=0.3))
    began = time.perf_counter()
    fetch(image(), MAIN)
    assert time.perf_counter() - began > 0.3
    server.set(latency=0.1)
    began = time.perf_counter()
    fetch(image(), MAIN)
    assert time.perf_counter() - began > 0.1
    assert server.log[-1]["fault"] is None


def test_the_client_retries(fetch, server, monkeypatch):
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda seconds: None)
    ee.data.setMaxRetries(5)
    server.fail("429", "403-rate-limit", "503-html", "drop", "500")
    assert fetch(image(), make_grid(500000, 4600000))["B1"][0, 0] == 1
    assert [entry["status"] for entry in server.log] == [429, 403, 503, 0, 500, 200]
    assert server.pending_faults == 0


def test_faults_by_path(fetch, server):
    server.fail("500", path="value")
    assert fetch(image(), MAIN).shape == (8, 8)
    with pytest.raises(ee.EEException, match="An internal error has occurred"):
        ee.Number(1).getInfo()
    server.fail(Fault("ok", "any"), Fault("404", "any"))
    fetch(image(), MAIN)
    with pytest.raises(ee.EEException):
        ee.Number(1).getInfo()
    with requests.Session() as session:
        session.trust_env = False
        server.fail("403", path="discovery")
        assert session.get(f"{server.url}/$discovery/rest?version=v1").status_code == 403
        assert session.get(f"{server.url}/$discovery/rest?version=v1").status_code == 200
        server.fail("403", path="algorithms")
        algorithms = f"{server.url}/v1/projects/local-test/algorithms"
        assert session.get(algorithms).status_code == 403
        assert len(session.get(algorithms).json()["algorithms"]) > 900


def test_random_faults_repeat_with_their_seed(fetch, server):
    def run(seed: int) -> list[str | None]:
        server.reset()
        server.fail_randomly(0.3, seed, kinds=("429", "500", "503-html"))
        for _ in range(40):
            with contextlib.suppress(ee.EEException):
                fetch(image(), MAIN)
        return [entry["fault"] for entry in server.log]

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    assert 4 <= sum(fault is not None for fault in first) <= 22


def test_soak_under_mixed_faults(fetch, server, monkeypatch):
    """Ten per cent of mixed transient faults, eight threads: the client's retries win."""
    monkeypatch.setattr("googleapiclient.http.time.sleep", lambda seconds: None)
    ee.data.setMaxRetries(8)
    server.fail_randomly(0.1, seed=3, kinds=("429", "403-rate-limit", "500", "503-html", "drop"))
    scenes = ee.ImageCollection("HAND/STACK").select("B1").median()

    def one(step: int) -> float:
        pixels = fetch(scenes.add(step), make_grid(500000, 4600000))
        return float(pixels["B1"][0, 0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(200))) == [10.5 + step for step in range(200)]
    assert server.counters["200"] == 200
    assert 8 <= server.counters["requests"] - 200 <= 50
    assert server.peak <= 8


def test_canned_answers_depend_on_the_shape_only(fetch, server):
    server.set(canned=True)
    inside = make_grid(500000, 4600000)
    assert fetch(image(), inside)["B1"][0, 0] == 1
    far_away = make_grid(700000, 4600000)
    assert fetch(image(), far_away)["B1"][0, 0] == 1
    assert fetch(image(), make_grid(700000, 4600000, 9, 9))["B1"][0, 0] == 0


def test_log_tells_what_was_asked(fetch, server):
    fetch(image().toFloat(), MAIN, ["B1"])
    entry = server.log[-1]
    assert entry["path"] == "compute"
    assert entry["status"] == 200
    assert entry["functions"] == ["Image.load", "Image.select", "Image.toFloat"]
    assert entry["body"]["grid"]["crsCode"] == "EPSG:32631"
    assert entry["body"]["bandIds"] == ["B1"]
    assert entry["headers"]["X-Goog-User-Project"] == "local-test"
    assert server.counters == {"requests": 1, "compute": 1, "200": 1}


def test_catalogues_of_a_test():
    """A list of scenes, or a function; each server stops with its block."""
    ones = np.ones((4, 4), "uint16")
    scenes = [
        array_scene("MY/ONE", "a", "2022-01-01", {"B1": ones}),
        Scene(
            "MY/TWO",
            "b",
            "2022-01-01",
            "EPSG:32631",
            500000,
            4600000,
            40,
            40,
            (Layer("B1", Constant(2)),),
        ),
    ]
    for catalog, asset in ((scenes, "MY/TWO/b"), (small_catalogue, "MY/ONE/a")):
        with serve(catalog, latency=0.01) as own:
            url = f"{own.url}/v1/projects/earthengine-public/assets/{asset}"
            with requests.Session() as session:
                session.trust_env = False
                assert session.get(url).json()["id"] == asset
        with pytest.raises(requests.ConnectionError):
            requests.get(own.url, timeout=1, proxies={"http": ""})


def small_catalogue() -> list[Scene]:
    return [array_scene("MY/ONE", "a", "2022-01-01", {"B1": np.ones((2, 2), "uint8")})]
