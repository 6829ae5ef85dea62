"""Today, a visit and a completion, in processor time a request, against a bare Flask route on the same server.

Processor time of the server's own processes, so that the load generator and whatever else the machine does do not count.
"""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlencode

from tests.bench.installation import Installation, prepared
from tests.bench.report import Line
from tests.bench.server import Server, data_folder, serving

REQUESTS = 600
BARE_REQUESTS = 4000
WARM_UP = 40
AIM, MUST = 12, 20


def measure(folder: Path) -> list[Line]:
    """Ratios of the pages and of a completion."""
    there = prepared(folder)
    with serving("tests.bench.bare:app", {}) as server:
        bare = _get(server, "/", BARE_REQUESTS)
        bare_post = _post(server, [("/", {})] * BARE_REQUESTS)
    with serving("app:app", data_folder(folder)) as server:
        today = _get(server, "/", REQUESTS, there.cookie)
        visit = _get(server, f"/visits/{there.visit}", REQUESTS, there.cookie)
        record = _get(server, f"/visits/{there.working}/record", REQUESTS, there.cookie)
        completion = _post(server, _completions(there), there.cookie)
    return [
        Line("bare Flask route", bare * 1000, "ms cpu"),
        Line("today page, times the bare route", today / bare, "×", AIM, MUST, f"{today * 1000:.2f} ms cpu"),
        Line("visit page, times the bare route", visit / bare, "×", AIM, MUST, f"{visit * 1000:.2f} ms cpu"),
        Line("record form, times the bare route", record / bare, "×", note=f"{record * 1000:.2f} ms cpu"),
        Line("completion, times a bare POST", completion / bare_post, "×", note=f"{completion * 1000:.2f} ms cpu"),
    ]


def _completions(there: Installation) -> list[tuple[str, dict[str, str]]]:
    form = {"engineer_strokes": there.strokes}
    return [(f"/visits/{visit}/completion", form) for visit in there.waiting_for_signature]


def _get(server: Server, path: str, count: int, cookie: str = "") -> float:
    """Processor seconds a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"Cookie": cookie, "Accept-Language": "zh-CN"}
    before = 0.0
    for n in range(WARM_UP + count):
        if n == WARM_UP:
            before = server.cpu_seconds()
        _asked(connection, "GET", path, headers)
    return (server.cpu_seconds() - before) / count


def _post(server: Server, requests: list[tuple[str, dict[str, str]]], cookie: str = "") -> float:
    """Processor seconds a POST; each request is sent once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {
        "Cookie": cookie,
        "Sec-Fetch-Site": "same-origin",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    before = server.cpu_seconds()
    for path, form in requests:
        _asked(connection, "POST", path, headers, urlencode(form))
    return (server.cpu_seconds() - before) / len(requests)


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: str | None = None
) -> None:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status not in (200, 303):
        raise RuntimeError(f"{method} {path} was answered with {answer.status}")
