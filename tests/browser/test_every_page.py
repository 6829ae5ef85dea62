"""Every page as every role that may see it: readable by everybody, in Chinese and English, light and dark, phone and desk.

Each address is loaded once per language; sizes and colours change without loading. axe, the slow judge, looks at the
Chinese page on the phone as an engineer and as one of the office, and at the first one's dark page in English.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from fieldapp import clock, create_app
from fieldapp.extensions import uuid7
from fieldapp.offline.models import CASE_KINDS
from tests.browser.conftest import Served
from tests.browser.hands import AXE, DESK, PHONE, someone
from tests.conftest import settings_for

pytestmark = pytest.mark.browser

ENGINEER, DISPATCHER, MANAGER, ADMIN = "liting", "zhaomin", "qianjun", "admin"
EVERYBODY, OFFICE = (ENGINEER, DISPATCHER, MANAGER, ADMIN), (DISPATCHER, MANAGER, ADMIN)
NOBODY = ""
FIRST_PAGE = 14 * 1024

# endpoint: (address with names of EXAMPLES in it, who may see it)
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "accounts.account": ("/account", EVERYBODY),
    "accounts.login": ("/login", (NOBODY,)),
    "accounts.new_person": ("/people/new", (ADMIN,)),
    "accounts.people": ("/people", (ADMIN,)),
    "accounts.person": ("/people/{user}", (ADMIN,)),
    "accounts.taking_back": ("/taking-back", (ENGINEER,)),
    "accounts.invitation": ("/invitations/no-such-invitation", (NOBODY,)),
    "customers.edit_asset": ("/customers/assets/{asset}/edit", (DISPATCHER,)),
    "customers.edit_contact": ("/contacts/{contact}/edit", (DISPATCHER,)),
    "customers.edit_customer": ("/customers/{customer}/edit", (DISPATCHER,)),
    "customers.edit_site": ("/sites/{site}/edit", (DISPATCHER,)),
    "customers.new_asset": ("/customers/{customer}/assets", (DISPATCHER,)),
    "customers.new_contact": ("/customers/{customer}/contacts", (DISPATCHER,)),
    "customers.new_customer": ("/customers/new", (DISPATCHER,)),
    "customers.new_site": ("/customers/{customer}/sites", (DISPATCHER,)),
    "customers.show_import": ("/customers/import", (DISPATCHER,)),
    "devices.index": ("/devices", OFFICE),
    "devices.rescue_form": ("/devices/rescue", (DISPATCHER,)),
    "dispatch.board": ("/dispatch", OFFICE),
    "dispatch.customer_of": ("/dispatch/tickets/{ticket}/customer", (DISPATCHER,)),
    "dispatch.plan_ticket": ("/dispatch/tickets/{ticket}/plan", (DISPATCHER,)),
    "dispatch.plan_visit": ("/dispatch/visits/{scheduled}/plan", (DISPATCHER,)),
    "dispatch.reviews": ("/dispatch/reviews", (MANAGER,)),
    "dispatch.rows": ("/dispatch/table", (DISPATCHER,)),
    "exceptions.index": ("/exceptions", OFFICE),
    "exceptions.show": ("/exceptions/{case_conflict}", (DISPATCHER, MANAGER)),
    "history.asset": ("/assets/{asset}", (ENGINEER, DISPATCHER)),
    "history.customer": ("/customers/{customer}", (ENGINEER, DISPATCHER)),
    "history.customers": ("/customers", EVERYBODY),
    "history.tickets": ("/customers/{customer}/tickets", (ENGINEER, DISPATCHER)),
    "news.index": ("/dispatch/news", OFFICE),
    "outbox.show": ("/outbox", (ENGINEER,)),
    "records.backup": ("/visits/{working}/backup-acknowledgement", (ENGINEER,)),
    "records.completion": ("/visits/{awaiting_sign}/completion", ("chenhao",)),
    "records.correction": ("/visits/{completed}/correction", (ENGINEER, MANAGER)),
    "records.edit": ("/visits/{working}/record", (ENGINEER,)),
    "records.hand_over": ("/visits/{awaiting_sign}/hand-over", ("chenhao",)),
    "records.review": ("/visits/{completed}/review", (MANAGER, ADMIN)),
    "reports.verify": ("/verify/{content_hash}", (NOBODY,)),
    "shell.offline": ("/offline", (NOBODY, ENGINEER)),
    "sync.mapping": ("/deliveries/mapping", OFFICE),
    "sync.show": ("/deliveries", OFFICE),
    "tickets.desk.index": ("/desk", (DISPATCHER,)),
    "tickets.desk.link": ("/desk/{number}/customer", (DISPATCHER,)),
    "tickets.desk.new": ("/desk/new", (DISPATCHER,)),
    "tickets.desk.show": ("/desk/{number}", (DISPATCHER,)),
    "today.show": ("/", (ENGINEER,)),
    "today.visit": ("/visits/{working}", EVERYBODY),
}
MORE = {  # other looks of the same pages
    "a visit on the way": ("/visits/{traveling}", ("chenhao",)),
    "a visit partly done": ("/visits/{partial}", ("zhangqiang",)),
    "a visit not to be completed": ("/visits/{cannot_complete}", ("chenhao",)),
    "a signed record": ("/visits/{completed}/record", EVERYBODY),
    "a reviewed visit": ("/visits/{reviewed}", ("wanglei", MANAGER)),
    "a reviewed record in review": ("/visits/{reviewed}/review", (MANAGER,)),
    "a page that does not exist": ("/no-such-page", (ENGINEER, DISPATCHER)),
    "a page of another role": ("/people", (ENGINEER,)),
    "an empty day": ("/?day=2024-01-01", (ENGINEER,)),
    "another day on the board": ("/dispatch?day=2024-01-01", (DISPATCHER,)),
    "what a phone sent in vain": ("/exceptions/{case_quarantine}", (DISPATCHER,)),
    "work on a cancelled visit": ("/exceptions/{case_despite_cancellation}", (DISPATCHER,)),
    "two records": ("/exceptions/{case_second_record}", (DISPATCHER,)),
    "photos that did not come": ("/exceptions/{case_photos_missing}", (DISPATCHER,)),
    "another telephone number": ("/exceptions/{case_contact_suggestion}", (DISPATCHER,)),
    "a ticket that ended in the store": ("/exceptions/{case_ticket_ended}", (DISPATCHER,)),
    "settled exceptions": ("/exceptions?state=settled", (DISPATCHER,)),
    "nobody found": ("/customers?q=nobody-is-called-this", (ENGINEER,)),
}
NO_PAGES = {  # files and answers for programs: what they are, they say by their type
    "assets.show": "",
    "customers.template": "text/csv",
    "customers.wrong_rows": "",
    "dispatch.export": "text/csv",
    "dispatch.states": "application/json",
    "health.live": "application/json",
    "health.ready": "application/json",
    "pack.show": "application/json",
    "records.photo": "image/jpeg",
    "records.signature_picture": "image/png",
    "reports.newest": "",
    "reports.show": "application/pdf",
    "shell.manifest": "application/manifest+json",
    "shell.service_worker": "text/javascript",
    "tickets.desk.download": "",
}
ALL = {**PAGES, **MORE}

CHEAP = """() => {
    const seen = (e) => e.checkVisibility({visibilityProperty: true, opacityProperty: false});
    const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
    return {
        sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        headings: [...document.querySelectorAll('h1')].filter(seen).length,
        title: document.title.length > 3,
        twice: ids.filter((id, n) => ids.indexOf(id) !== n),
        styled: [...document.querySelectorAll('[style]:not(canvas):not([data-thumbs] *)')].map((e) => e.outerHTML.slice(0, 120)),
    };
}"""
RIGHT = {"sideways": 0, "headings": 1, "title": True, "twice": [], "styled": []}
TOO_SMALL = """() => [...document.querySelectorAll(`button, a.button, a.link, a.place, a.back, select, summary, .options label,
        input:not([type=hidden], [type=checkbox], [type=radio], [type=file]), textarea`)].filter((e) => !e.classList.contains('unseen'))

    .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 43.9).map((e) => e.outerHTML.slice(0, 160))"""


@pytest.fixture(scope="module")
def examples(served: Served) -> dict[str, str]:
    """Things of the demo day by name: a visit per state, a customer, a ticket …"""
    with closing(sqlite3.connect(f"file:{served.folder / 'fieldapp.db'}?mode=ro", uri=True)) as database:
        found = {status: _uuid(key) for status, key in database.execute(_VISITS)}
        found |= {name: _uuid(database.execute(query).fetchone()[0]) for name, query in _EXAMPLES.items()}
    return found | _cases(served, found)


def _cases(served: Served, found: dict[str, str]) -> dict[str, str]:
    """A case of every kind about the visit of that engineer's work: what phones without signal lead to."""
    facts = {"fields": {"content_text": {"before": "检查电源", "phone": "更换电源", "office": "更换主板"}}}
    insert = """INSERT INTO office_case (id, kind, unique_for, visit_id, facts, created_at, decision)
        VALUES (?, ?, ?, ?, ?, ?, '')"""
    keys = {kind: uuid7() for kind in CASE_KINDS}
    with closing(sqlite3.connect(served.folder / "fieldapp.db", timeout=30)) as database:
        for kind, key in keys.items():
            said = json.dumps(facts if kind == "conflict" else {})
            row = (key.hex, kind, f"page:{kind}", UUID(found["working"]).hex, said, f"{clock.now():%F %T.%f}")
            database.execute(insert, row)
        database.commit()
    return {f"case_{kind}": str(key) for kind, key in keys.items()}


_VISITS = """SELECT status, visit.id FROM visit JOIN user ON user.id = lead_id
    WHERE username IN ('liting', 'chenhao', 'zhangqiang') OR (username = 'wanglei' AND status = 'reviewed') ORDER BY visit.id"""
_OF_WORK = "FROM visit JOIN user ON user.id = lead_id WHERE username = 'liting' AND status = 'working'"
_EXAMPLES = {
    "user": "SELECT id FROM user WHERE username = 'liting'",
    "customer": f"SELECT customer_id {_OF_WORK}",
    "asset": f"SELECT asset_id {_OF_WORK}",
    "site": f"SELECT site_id {_OF_WORK}",
    "contact": f"SELECT contact_id {_OF_WORK}",
    "ticket": "SELECT id FROM ticket WHERE id NOT IN (SELECT ticket_id FROM visit) ORDER BY id DESC",
    "number": "SELECT number FROM ticket WHERE id IN (SELECT ticket_id FROM visit WHERE status = 'completed') ORDER BY id DESC",
    "content_hash": "SELECT content_hash FROM service_record WHERE signed_at IS NOT NULL",
}


def _uuid(value: Any) -> str:
    """A UUID as addresses say it; other texts as they are."""
    try:
        return str(UUID(bytes=value) if isinstance(value, bytes) else UUID(value) if len(value) == 32 else value)
    except ValueError:
        return str(value)


Open = Callable[[str], BrowserContext]


@pytest.fixture(scope="module")
def as_person(browser: Browser, served: Served) -> Iterator[Open]:
    """``as_person(username)``: that person's browser, logged in once; a stranger's without a name."""
    open_ones: dict[str, BrowserContext] = {}

    def person(username: str) -> BrowserContext:
        if username not in open_ones:
            plain = {"base_url": served.address, "viewport": PHONE, "reduced_motion": "reduce", "locale": "zh-CN"}
            open_ones[username] = someone(browser, served, username) if username else browser.new_context(**plain)
        return open_ones[username]

    yield person
    for context in open_ones.values():
        context.close()


def test_every_address_is_tried(tmp_path: Any) -> None:
    rules = create_app(settings_for(tmp_path)).url_map.iter_rules()

    assert {rule.endpoint for rule in rules if "GET" in (rule.methods or ())} == {*PAGES, *NO_PAGES}


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_readable_by_everybody(name: str, as_person: Open, examples: dict[str, str]) -> None:
    address, people = ALL[name]
    judged = {people[0], *people[1:2]}
    for username in people:
        page = as_person(username).new_page()
        complaints = _listen(page)
        for language in ("zh_CN", "en"):
            found = _load(page, address.format(**examples), language)
            if language == "zh_CN" and username in judged:
                found += _axe(page)
            assert found == [], (username, language, found)
        if username == people[0]:
            page.emulate_media(color_scheme="dark")
            assert _axe(page) == [], (username, "dark")
        assert complaints == [], (username, complaints)
        page.close()


def _load(page: Page, address: str, language: str) -> list[Any]:
    """What is plainly wrong with a page in one language, at both sizes; it is left at the phone's."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    answer = page.goto(f"{address}{'&' if '?' in address else '?'}lang={language}")
    assert answer is not None
    wrong: list[Any] = []
    if page.locator("body.office").count() == 0:
        wrong += page.evaluate(TOO_SMALL)
        size = len(gzip.compress(answer.body()))
        wrong += [f"{size} bytes of first HTML"] if size > FIRST_PAGE else []
    for viewport in (DESK, PHONE):
        page.set_viewport_size(viewport)  # type: ignore[arg-type]
        cheap = page.evaluate(CHEAP)
        wrong += [{"size": viewport["width"], **cheap}] if cheap != RIGHT else []
    return wrong


def _axe(page: Page) -> list[Any]:
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"]][:4]) for each in found]


def _listen(page: Page) -> list[str]:
    """What the console complains about; that an error page came with its status is no complaint."""
    heard: list[str] = []

    def hear(text: str) -> None:
        if "the server responded with a status of" not in text:
            heard.append(text)

    page.on("console", lambda message: hear(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: hear(str(error)))
    return heard


@pytest.mark.parametrize(
    ("address", "username", "media_type"),
    [
        ("/healthz", NOBODY, "application/json"),
        ("/readyz", NOBODY, "application/json"),
        ("/customers/import/customers.csv", DISPATCHER, "text/csv"),
        ("/dispatch/table.csv", DISPATCHER, "text/csv"),
        ("/dispatch/states", DISPATCHER, "application/json"),
        ("/visits/{completed}/signatures/customer.png", ENGINEER, "image/png"),
    ],
)
def test_what_is_no_page_says_what_it_is(
    address: str, username: str, media_type: str, as_person: Open, examples: dict[str, str]
) -> None:
    answer = as_person(username).request.get(address.format(**examples))

    assert answer.status == 200
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["x-content-type-options"] == "nosniff"
