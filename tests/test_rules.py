"""Rules over the whole app, read off its URL map, its settings, its templates and its source."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import template_rendered
from flask.testing import FlaskClient
from jinja2 import meta
from werkzeug.test import TestResponse

from fieldapp.config import ROOT, Settings
from fieldapp.errors import PROGRAMS_ONLY
from fieldapp.sync.handlers import HANDLERS
from tests.security.pages import problems
from tests.security.world import CSV, World, the_world

ROLES = {"wanglei": "engineer", "zhaomin": "dispatcher", "qianjun": "manager", "admin": "admin"}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Templates of printed reports: made by reports.page for WeasyPrint, tested in tests/reports.
PRINTED = ("reports/report.html", "reports/_form.html", "reports/_record.html")


@pytest.fixture
def world(migrated: Path) -> Iterator[World]:
    built = the_world(migrated)
    with built.app.app_context():
        yield built


def access_of(world: World, endpoint: str):
    return getattr(world.app.view_functions[endpoint], "access", None)


# ---- who may come in --------------------------------------------------------------------------------


def test_every_route_declares_who_may_use_it(world: World) -> None:
    undeclared = [str(rule) for rule in world.app.url_map.iter_rules() if access_of(world, rule.endpoint) is None]

    assert undeclared == []


def test_what_is_open_to_everybody_is_known(world: World) -> None:
    opened = {rule.endpoint for rule in world.app.url_map.iter_rules() if access_of(world, rule.endpoint).open}

    assert opened == {
        "accounts.login",
        "accounts.log_in",
        "accounts.invitation",
        "accounts.accept_invitation",
        "assets.show",
        "health.live",
        "health.ready",
        "hooks.hear",
        "reports.verify",
        "shell.manifest",
        "shell.offline",
        "shell.service_worker",
    }


def test_what_programs_write_to_from_elsewhere_is_known(world: World) -> None:
    signed = {rule.endpoint for rule in world.app.url_map.iter_rules() if access_of(world, rule.endpoint).signed}

    assert signed == {"hooks.hear"}


def test_a_stranger_is_led_to_the_log_in_and_back(world: World) -> None:
    stranger = world.browser(None)
    for method in ("GET", "POST"):
        for rule in world.rules(method):
            if access_of(world, rule.endpoint).open:
                continue
            url = next(world.urls(rule), None)
            assert url, f"the world has nothing for {rule}"
            answer = stranger.open(url, method=method)
            if url.startswith(PROGRAMS_ONLY):
                assert answer.status_code == 401, (method, url)
                continue
            assert answer.status_code == 303, (method, url)
            assert parse_qs(urlsplit(answer.location).query) == {"next": [url]}


def test_a_program_without_a_log_in_gets_401_and_no_redirect(world: World) -> None:
    stranger = world.browser(None, accept="application/json")
    for method in ("GET", "POST"):
        for rule in world.rules(method):
            if access_of(world, rule.endpoint).open:
                continue
            answer = stranger.open(next(world.urls(rule)), method=method)
            assert answer.status_code == 401, (method, str(rule))
            assert answer.json is not None
            assert answer.json["error"] == "login_needed"


def test_the_wrong_role_is_refused_everywhere(world: World) -> None:
    for name, role in ROLES.items():
        browser = world.browser(name)
        for method in ("GET", "POST"):
            for rule in world.rules(method):
                access = access_of(world, rule.endpoint)
                if access.open or role in access.roles:
                    continue
                answer = browser.open(next(world.urls(rule)), method=method)
                assert answer.status_code == 403, (name, method, str(rule))


# ---- writes come from our own pages -----------------------------------------------------------------

ELSEWHERE = {
    "nobody says where from": {"Sec-Fetch-Site": None},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sister host": {"Sec-Fetch-Site": "same-site"},
    "typed into the address bar": {"Sec-Fetch-Site": "none"},
    "another origin": {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
    "no origin": {"Sec-Fetch-Site": None, "Origin": "null"},
    "our name within another": {"Sec-Fetch-Site": None, "Origin": "https://localhost.evil.example"},
}


@pytest.mark.parametrize("headers", ELSEWHERE.values(), ids=ELSEWHERE)
def test_no_write_from_elsewhere_gets_in(world: World, headers: dict[str, str | None]) -> None:
    with Tables(world) as tables:
        for rule in world.rules("POST"):
            access = access_of(world, rule.endpoint)
            if access.signed:  # tried in tests/sync/test_hooks.py
                continue
            name = next((name for name, role in ROLES.items() if role in access.roles), None)
            answer = bare(world, name, next(world.urls(rule)), headers)
            assert answer.status_code == 403, str(rule)
            assert answer.json is not None
            assert answer.json["error"] == "cross_site"

        assert not tables.touched()


def test_a_write_with_our_own_origin_gets_in(world: World) -> None:
    answer = bare(world, None, "/login", {"Origin": "http://localhost"}, username="nobody", password="nothing")

    assert answer.status_code == 422


def test_no_other_method_writes(world: World) -> None:
    methods = {method for rule in world.app.url_map.iter_rules() for method in rule.methods or ()}

    assert methods == {"GET", "HEAD", "OPTIONS", "POST", "PUT"}
    assert [rule.endpoint for rule in world.rules("PUT")] == ["records.upload"]


def bare(world: World, name: str | None, url: str, headers: dict[str, str | None], **form: str) -> TestResponse:
    """A POST with exactly these headers, as no page of ours would send it."""
    world.app.test_client_class = FlaskClient
    browser = world.app.test_client()
    if name:
        browser.set_cookie("fieldapp", world.tokens[name])
    given = {key: value for key, value in headers.items() if value is not None}
    return browser.post(url, data=form, headers={"Accept": "application/json", **given})


# ---- every page -------------------------------------------------------------------------------------


def pages(world: World, name: str | None) -> Iterator[str]:
    """Every address that this person may look at, from the URL map and the keys of everything there is."""
    role = ROLES.get(name or "")
    some = {"visit_id": world.keys["visit_id"][::3]} if role in ("manager", "admin") else {}  # as the dispatcher
    for rule in world.rules("GET"):
        access = access_of(world, rule.endpoint)
        if access.open or role in access.roles:
            yield from world.urls(rule, **some)


@pytest.mark.parametrize("name", [*ROLES, None])
def test_every_page_is_whole_and_looking_changes_nothing(world: World, name: str | None) -> None:
    found: dict[str, list[str]] = {}
    browser = world.browser(name)
    with Tables(world) as tables:
        before = tables.contents()
        for url in [*pages(world, name), "/no/such/page"]:
            answer = browser.get(url, buffered=True)
            complaints = _complaints(answer)
            complaints += ["an error of ours"] if answer.status_code >= 500 else []
            complaints += ["it changed the database"] if tables.touched() and tables.contents() != before else []
            found |= {url: complaints} if complaints else {}

    assert found == {}


def test_pages_are_whole_in_every_language(world: World) -> None:
    for name, lang in (("wanglei", "zh_CN"), ("wanglei", "zh_TW"), ("zhaomin", "zh_CN"), (None, "en")):
        browser = world.browser(name)
        for url in ("/", "/login", "/customers", "/account", "/dispatch", "/deliveries", "/desk", "/desk/new"):
            answer = browser.get(f"{url}?lang={lang}", follow_redirects=True)
            assert _complaints(answer) == [], (name, url, lang)


def _complaints(answer: TestResponse) -> list[str]:
    """What is wrong with an answer: its headers, and when it is a page the page."""
    wrong = [
        f"{name}: {answer.headers.get(name)}" for name, value in HEADERS.items() if answer.headers.get(name) != value
    ]
    policy = answer.headers.get("Content-Security-Policy", "")
    if "default-src 'none'" not in policy or "unsafe" in policy:
        wrong.append(f"policy: {policy}")
    if not answer.headers.get("X-Request-Id") or not answer.headers.get("Cache-Control"):
        wrong.append("no X-Request-Id or Cache-Control")
    if answer.mimetype == "text/html" and answer.status_code not in (301, 302, 303, 307, 308):
        html = answer.get_data(as_text=True)
        wrong += problems(html)
        wrong += [] if _style_allowed(html, policy) else ["the style sheet is not the one that the policy allows"]
    return wrong


def _style_allowed(html: str, policy: str) -> bool:
    sheet = re.search(r"<style>(.*?)</style>", html, re.S)
    assert sheet
    digest = base64.b64encode(hashlib.sha256(sheet[1].encode()).digest()).decode()
    return f"'sha256-{digest}'" in policy


def test_refusals_carry_the_headers_too(world: World) -> None:
    engineer = world.browser("wanglei")
    answers = {
        403: engineer.get("/people"),
        404: engineer.get("/visits/00000000-0000-0000-0000-000000000000"),
        405: engineer.post("/healthz"),
        413: engineer.post("/account", data=b"x" * (17 * 1024 * 1024)),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert _complaints(answer) == [], status


# ---- what is written down is so ---------------------------------------------------------------------


def test_every_setting_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\|\s*`([A-Z_0-9]+)`\s*\|(.*)\|\s*$", readme, re.M))

    ours = {each.metadata["env"] for each in fields(Settings)}
    named = {name for name in rows if name.startswith("FIELDAPP_") or name == "PORT"}

    assert named == ours
    for each in fields(Settings):
        if isinstance(each.default, str) and each.default:
            assert each.default in rows[each.metadata["env"]], (
                f"the README says another default of {each.metadata['env']}"
            )


def test_every_promise_has_somebody_who_keeps_it() -> None:
    promised = {
        kind for path in sorted((ROOT / "fieldapp").rglob("*.py")) for kind in _kinds(ast.parse(path.read_text()))
    }

    assert promised == set(HANDLERS)


def test_only_operation_commits() -> None:
    found = {path: _calls(ast.parse(path.read_text()), "commit") for path in (ROOT / "fieldapp").rglob("*.py")}

    committing = {path.relative_to(ROOT).as_posix(): len(calls) for path, calls in found.items() if calls}
    assert committing == {"fieldapp/extensions.py": 1}


def _kinds(module: ast.Module) -> set[str]:
    """The kinds that a module promises: written at the promise, or handed to the function that makes it."""
    kinds: set[str] = set()
    for function in (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)):
        for call in _calls(function, "promise"):
            first = call.args[0] if call.args else None
            if isinstance(first, ast.Constant):
                kinds.add(first.value)
            elif isinstance(first, ast.Name):
                place = [argument.arg for argument in function.args.args].index(first.id)
                kinds |= {str(ast.literal_eval(each.args[place])) for each in _calls(module, function.name)}
    return kinds


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if getattr(call.func, "attr", getattr(call.func, "id", "")) == name]


# ---- templates --------------------------------------------------------------------------------------


def test_every_template_is_rendered(world: World) -> None:
    rendered: set[str] = set()

    def note(_app: object, template: object, **_more: object) -> None:
        rendered.add(str(getattr(template, "name", "")))

    with template_rendered.connected_to(note, world.app):
        for name in (*ROLES, None):
            _one_of_each(world, name)
        _seen_only_after_a_write(world)

    every = {path.relative_to(ROOT / "templates").as_posix() for path in (ROOT / "templates").rglob("*.html")}
    assert every - _with_parts(world, rendered) - set(PRINTED) == set()


def _one_of_each(world: World, name: str | None) -> None:
    browser, role = world.browser(name), ROLES.get(name or "")
    for rule in world.rules("GET"):
        access = access_of(world, rule.endpoint)
        if access.open or role in access.roles:
            for url in world.urls(rule, visit_id=world.keys["visit_id"][:20]):
                browser.get(url, buffered=True)


def _seen_only_after_a_write(world: World) -> None:
    """Pages that are the answer to a form, or that only a customer with the phone in hand sees."""
    world.browser("handed over").get(f"/visits/{world.keys['handed_over_visit'][0]}/hand-over")
    office = world.browser("zhaomin")
    office.post("/customers/import", data={"customers": (io.BytesIO(CSV), "customers.csv")}, follow_redirects=True)
    invited = next(key for key in world.keys["user_id"] if key not in {str(each) for each in world.people.values()})
    world.browser("admin").post(f"/people/{invited}/invitation")


def _with_parts(world: World, names: set[str]) -> set[str]:
    """These templates with everything that they extend, include and import, however far down."""
    found, left = set(), set(names)
    while left:
        name = left.pop()
        if not name or name in found:
            continue
        found.add(name)
        source = (ROOT / "templates" / name).read_text("utf-8")
        left |= {part for part in meta.find_referenced_templates(world.app.jinja_env.parse(source)) if part}
    return found


# ---- the database from outside ----------------------------------------------------------------------


class Tables:
    """The contents of every table, read past the app; a person being seen is no change."""

    def __init__(self, world: World) -> None:
        self.connection = sqlite3.connect(world.folder / "fieldapp.db")
        self.version = self._version()

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def touched(self) -> bool:
        """Whether anybody committed anything since this was last asked."""
        before, self.version = self.version, self._version()
        return before != self.version

    def contents(self) -> dict[str, str]:
        names = [name for (name,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: self._digest(name) for name in sorted(names)}

    def _digest(self, table: str) -> str:
        with closing(self.connection.execute(f'SELECT * FROM "{table}"')) as rows:  # noqa: S608 - a table's own name
            columns = [each[0] for each in rows.description]
            kept = [n for n, name in enumerate(columns) if (table, name) not in SEEN]
            lines = sorted(repr([row[n] for n in kept]) for row in rows)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])


SEEN = {("login_session", "seen_at"), ("login_session", "idle_until")}
