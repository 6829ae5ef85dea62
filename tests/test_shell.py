"""What makes the pages an app: service worker, manifest, the page for no connection, and the marks on every page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.visits.models import Visit

LogIn = Callable[[User], FlaskClient]


def test_the_service_worker_serves_every_page_and_is_asked_for_anew_each_time(app: Flask, client: FlaskClient) -> None:
    answer = client.get("/service-worker.js")

    assert answer.status_code == 200
    assert answer.mimetype == "text/javascript"
    assert answer.headers["Service-Worker-Allowed"] == "/"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert f'const BUILD = "{app.extensions["assets"].build}"' in answer.text
    assert "%" + "BUILD%" not in answer.text
    assert "%" + "FILES%" not in answer.text


def test_the_service_worker_takes_along_what_a_phone_loads(app: Flask, client: FlaskClient) -> None:
    taken = _taken(client)
    build = app.extensions["assets"].build

    assert {"js/main.js", "js/offline/shell.js", "vendor/idb.js", "img/icons.svg"} <= set(taken)
    assert "js/service-worker.js" not in taken
    for name in taken:
        assert client.get(f"/assets/{build}/{name}", buffered=True).status_code == 200, name


def test_every_import_of_what_is_taken_along_is_taken_along(client: FlaskClient) -> None:
    taken = set(_taken(client))

    for name in taken:
        if not name.endswith(".js"):
            continue
        path = ROOT / "static" / name
        for wanted in re.findall(r'(?:from|import\()\s*"(\.{1,2}/[^"]+)"', path.read_text("utf-8")):
            found = (path.parent / wanted).resolve().relative_to((ROOT / "static").resolve()).as_posix()
            assert found in taken, f"{name} imports {found}"


def test_the_record_page_asks_for_all_its_modules_at_once(
    app: Flask, logged_in: LogIn, engineer: User, visit: Visit
) -> None:
    page = logged_in(engineer).get(f"/visits/{visit.id}/record").text
    prefix = f"/assets/{app.extensions['assets'].build}/"

    asked = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)

    assert len(asked) == len(set(asked))
    assert prefix + "js/offline/record-page.js" in asked
    for address in asked:
        module = ROOT / "static" / address.removeprefix(prefix)
        for wanted in re.findall(r'^(?:import|}) .*from "([^"]+)";$', module.read_text("utf-8"), re.M):
            found = (module.parent / wanted).resolve().relative_to((ROOT / "static").resolve()).as_posix()
            assert prefix + found in asked, f"{module.name} waits for {found}"


def _taken(client: FlaskClient) -> list[str]:
    found = re.search(r'const FILES = "([^"]*)"', client.get("/service-worker.js").text)
    assert found is not None
    return found[1].split(" ")


@pytest.mark.parametrize(("language", "name"), [("zh-CN", "现场服务"), ("en", "Field service")])
def test_the_manifest_speaks_the_persons_language(app: Flask, client: FlaskClient, language: str, name: str) -> None:
    answer = client.get("/manifest.webmanifest", headers={"Accept-Language": language})

    assert answer.mimetype == "application/manifest+json"
    told: dict[str, Any] = answer.get_json(force=True)
    assert (told["name"], told["lang"], told["start_url"], told["scope"]) == (name, language, "/", "/")
    icons = {(icon["sizes"], icon["purpose"]): client.get(icon["src"], buffered=True) for icon in told["icons"]}
    assert set(icons) == {(size, purpose) for size in ("192x192", "512x512") for purpose in ("any", "maskable")}
    for (size, _purpose), picture in icons.items():
        width = int.from_bytes(picture.data[16:20])
        assert (picture.mimetype, f"{width}x{width}") == ("image/png", size)


def test_the_page_for_no_connection_is_nobodys_and_leads_on(client: FlaskClient) -> None:
    answer = client.get("/offline")

    assert answer.status_code == 200
    assert "data-user" not in answer.text
    assert "X-Fieldapp-Page" not in answer.headers
    for address in ('href=""', 'href="/"', 'href="/outbox"'):
        assert address in answer.text


def test_a_page_says_that_it_is_ours_and_whose_it_is(
    app: Flask, client: FlaskClient, logged_in: LogIn, engineer: User, dispatcher: User, visit: Visit
) -> None:
    build = app.extensions["assets"].build

    for person in (engineer, dispatcher):
        answer = logged_in(person).get(f"/visits/{visit.id}")
        assert (answer.headers["X-Fieldapp-Build"], answer.headers["X-Fieldapp-Page"]) == (build, str(person.id))
    for address in ("/login", "/no-such-page"):
        answer = client.get(address)
        assert answer.headers["X-Fieldapp-Build"] == build
        assert "X-Fieldapp-Page" not in answer.headers
    refused = logged_in(engineer).get("/people")
    assert "X-Fieldapp-Page" not in refused.headers, "an error is no page to keep"


def test_the_page_for_no_connection_promises_only_what_is_on_the_phone(
    client: FlaskClient, logged_in: LogIn, engineer: User
) -> None:
    promise = "visits are on this phone: go on there"

    assert promise in logged_in(engineer).get("/offline").text
    nobodys = client.get("/offline").text

    assert promise not in nobodys
    assert "is sent when its engineer logs in again" in nobodys


def test_the_one_policy_for_scripts_is_named(client: FlaskClient) -> None:
    policy = client.get("/login").headers["Content-Security-Policy"]

    for directive in (
        "trusted-types fieldapp",
        "require-trusted-types-for 'script'",
        "worker-src 'self'",
        "manifest-src 'self'",
    ):
        assert directive in policy


def test_what_a_person_queued_does_not_go_out_under_another_name(
    logged_in: LogIn, engineer: User, colleague: User, visit: Visit
) -> None:
    headers = {"Accept": "application/json", "X-User": str(colleague.id)}

    answer = logged_in(engineer).post(f"/visits/{visit.id}/acceptance", headers=headers)

    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["error"] == "login_needed"
    own = {**headers, "X-User": str(engineer.id)}
    assert logged_in(engineer).post(f"/visits/{visit.id}/acceptance", headers=own).status_code == 200
