"""What stands at the door: hosts, proxies, https, limits, roles that must be declared, and a log without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from fieldapp import create_app, logs
from fieldapp.accounts import operations as accounts
from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.security import Access, public, requires
from tests.conftest import PASSWORD, Browser, person, settings_for


@contextmanager
def installed(folder: Path, migrated: Path, **settings: str) -> Iterator[FlaskClient]:
    """A browser at an installation with these settings."""
    copyfile(migrated, folder / "fieldapp.db")
    app = create_app(settings_for(folder, **settings))
    app.test_client_class = Browser
    with app.app_context():
        try:
            yield app.test_client()
        finally:
            db.session.remove()
            db.engine.dispose()


# ---- declaring --------------------------------------------------------------------------------------


def test_a_view_says_which_roles(app: Flask) -> None:
    assert requires("engineer", "admin")(lambda: "").access == Access(("engineer", "admin"))
    assert public(lambda: "").access == Access((), open=True)


@pytest.mark.parametrize("roles", [(), ("boss",), ("engineer", "boss")])
def test_a_role_that_is_none_is_a_mistake_of_ours(roles: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not roles"):
        requires(*roles)


def test_a_view_that_declares_nothing_is_closed_even_to_the_admin(app: Flask, admin: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    app.add_url_rule("/forgotten", view_func=lambda: "secret")
    answer = logged_in(admin).get("/forgotten", headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json["error"]) == (403, "undeclared")


# ---- hosts and proxies ------------------------------------------------------------------------------


def test_only_known_hosts_are_answered(tmp_path: Path, migrated: Path) -> None:
    with installed(tmp_path, migrated, trusted_hosts="service.example") as browser:
        assert browser.get("/login", headers={"Host": "service.example"}).status_code == 200
        refused = browser.get("/login", headers={"Host": "evil.example"})

    assert refused.status_code == 400
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert "evil.example" not in refused.get_data(as_text=True)


def test_a_proxy_is_believed_only_as_often_as_it_was_said(tmp_path: Path, migrated: Path) -> None:
    headers = {
        "X-Forwarded-For": "9.9.9.9, 8.8.8.8",
        "X-Forwarded-Host": "service.example",
        "X-Forwarded-Proto": "https",
    }
    seen = []
    for hops in ("0", "1"):
        folder = tmp_path / hops
        folder.mkdir()
        with installed(folder, migrated, proxies=hops) as browser:
            browser.application.before_request(lambda: _note(seen))
            browser.get("/healthz", headers=headers)

    assert seen == [("127.0.0.1", "localhost"), ("8.8.8.8", "service.example")]


def _note(seen: list[tuple[str | None, str]]) -> None:
    seen.append((request.remote_addr, request.host))


def test_an_origin_counts_with_its_port(client: FlaskClient) -> None:
    """Without Sec-Fetch-Site: the origin must be the very host that was asked."""
    for origin, status in (("http://localhost", 422), ("http://localhost:8001", 403), ("localhost", 403), ("", 403)):
        bare = client.application.test_client()
        bare.__class__ = FlaskClient
        answer = bare.post("/login", data={"username": "x", "password": "y"}, headers={"Origin": origin})
        assert answer.status_code == status, origin


# ---- https ------------------------------------------------------------------------------------------


def test_https_makes_cookies_secure_and_is_remembered(tmp_path: Path, migrated: Path) -> None:
    with installed(tmp_path, migrated, public_url="https://service.example", demo="1") as browser:
        user = person("wanglei", "engineer")
        assert browser.get("/login").headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        _give_password(user)
        answer = browser.post("/login", data={"username": "wanglei", "password": PASSWORD})
        cookie = next(each for each in answer.headers.getlist("Set-Cookie") if each.startswith(accounts.SECURE_COOKIE))

    for part in ("__Host-", "Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie


@operation
def _give_password(user: User) -> None:
    db.session.get_one(User, user.id).password_hash = passwords.hashed(PASSWORD)


def test_without_https_nothing_is_promised(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/login").headers


# ---- limits -----------------------------------------------------------------------------------------


def test_bodies_fields_and_parts_have_limits(client: FlaskClient) -> None:
    too_long = client.post("/login", data={"username": "x" * (3 * 1024 * 1024)})
    too_many = client.post("/login", data={f"f{n}": "x" for n in range(501)}, content_type="multipart/form-data")
    too_large = client.post("/login", data=b"x" * (17 * 1024 * 1024), content_type="application/x-www-form-urlencoded")

    assert [answer.status_code for answer in (too_long, too_many, too_large)] == [413, 413, 413]
    assert "What you sent is too large." in too_large.get_data(as_text=True)


def test_sentences_fit_their_status(client: FlaskClient) -> None:
    cases = {
        "/no/such/page": (404, "not yours to see"),
        "/visits/not-a-key": (404, "not yours to see"),
        "/customers/import/x%2Fy.csv": (404, "not yours to see"),
    }
    for url, (status, words) in cases.items():
        answer = client.get(url)
        assert answer.status_code == status
        assert words in answer.get_data(as_text=True)
    assert client.post("/healthz").headers["Allow"] == "GET, HEAD, OPTIONS"


# ---- the log ----------------------------------------------------------------------------------------


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the app logs, as text."""
    out, logger = io.StringIO(), logging.getLogger("fieldapp")
    handler, level = logging.StreamHandler(out), logger.level
    handler.setFormatter(logs.JsonLines())
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield out
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_each_line_is_json_with_the_number_of_the_request(client: FlaskClient, written: io.StringIO) -> None:
    answer = client.get("/login?as=wanglei")

    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert line["request"] == answer.headers["X-Request-Id"]
    assert (line["method"], line["path"], line["status"], line["level"]) == ("GET", "/login", 200, "INFO")
    assert line["at"].endswith("+00:00")


def test_no_secret_no_body_and_no_forged_line_is_logged(client: FlaskClient, written: io.StringIO) -> None:
    client.post(
        "/login", data={"username": "wang\nlei", "password": "swordfish"}, headers={"Cookie": "fieldapp=topsecret"}
    )
    client.get("/invitations/a-secret-token")
    client.get("/x%0A%7B%22level%22:%22ERROR%22%7D")

    text = written.getvalue()
    for secret in ("swordfish", "topsecret", "a-secret-token"):
        assert secret not in text
    assert "/invitations/<token>" in text
    assert all(json.loads(line)["level"] in ("INFO", "WARNING") for line in text.splitlines())


def test_an_error_is_logged_with_its_trace_and_the_number_that_the_person_reads(
    app: Flask, client: FlaskClient, written: io.StringIO
) -> None:
    @public
    def fail() -> str:
        raise RuntimeError("what broke")

    app.add_url_rule("/fail", view_func=fail)
    answer = client.get("/fail")

    line = json.loads(written.getvalue().splitlines()[0])
    assert "what broke" in line["trace"]
    assert "what broke" not in answer.get_data(as_text=True)
    assert line["request"] in answer.get_data(as_text=True)


# ---- files ------------------------------------------------------------------------------------------


def test_static_files_are_kept_for_ever_and_other_builds_are_gone(app: Flask, client: FlaskClient) -> None:
    build = app.extensions["assets"].build
    with client.get(f"/assets/{build}/js/main.js", buffered=True) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for url in (f"/assets/{build}/../fieldapp/config.py", f"/assets/{build}/none.js", "/assets/old/js/main.js"):
        answer = client.get(url)
        assert answer.status_code == 404
        assert "immutable" not in answer.headers["Cache-Control"]
