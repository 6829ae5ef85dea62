"""Every text in every language: none missing, the same placeholders, one word per thing, no page that falls into English."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from flask import Flask, render_template_string
from flask.testing import FlaskClient
from lxml import html

from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.customers.models import Asset
from fieldapp.i18n import LOCALES, gettext, lazy, ngettext
from fieldapp.records import operations as records
from fieldapp.records.content import CONSENTS
from fieldapp.records.values import Evaluation, Given
from fieldapp.tickets.models import Ticket
from fieldapp.visits.models import Visit
from fieldapp.visits.transitions import LABELS, STATES
from tests.records.samples import DRAWN, NOT_NEEDED, filled, signed

LogIn = Callable[[User], FlaskClient]
TRANSLATED = [name for name in LOCALES if name != "en"]
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]")
CHINESE = r"\u3400-\u9fff"


def _collector() -> ModuleType:
    """``make messages``, whose way of collecting texts is the one tested here."""
    spec = importlib.util.spec_from_file_location("messages", ROOT / ".setup" / "messages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MESSAGES = _collector()


@pytest.fixture(scope="module")
def collected() -> Catalog:
    """Every text that the code and the templates say now."""
    found: Catalog = MESSAGES.collect()
    return found


@pytest.fixture(scope="module", params=TRANSLATED)
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    read: Catalog = MESSAGES.read(request.param)
    return read


def _forms(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ())


def _said(catalogue: Catalog) -> Iterator[tuple[str, str]]:
    """Each English text (its plural, where there is one) with each of its translations."""
    for message in catalogue:
        english = message.id if isinstance(message.id, str) else message.id[1]
        if english:
            yield from ((english, text) for text in _forms(message))


# ---- the catalogues -----------------------------------------------------------------------------------------


def test_every_text_is_translated(collected: Catalog, catalogue: Catalog) -> None:
    known = {(message.id, message.context): message for message in catalogue}

    missing = [message.id for message in collected if message.id and (message.id, message.context) not in known]
    empty = [message.id for message in catalogue if message.id and not MESSAGES.is_filled(message)]
    fuzzy = [message.id for message in catalogue if message.id and message.fuzzy]

    assert (missing, empty, fuzzy) == ([], [], []), "run `make messages` and translate what is new"


@pytest.mark.parametrize("locale", TRANSLATED)
def test_the_catalogue_in_use_is_the_present_one(locale: str) -> None:
    source = MESSAGES.path_of(locale)

    assert source.with_suffix(".mo").stat().st_mtime >= source.stat().st_mtime, "run `make setup`: it compiles them"


def test_every_plural_has_all_its_forms(catalogue: Catalog) -> None:
    plural = [message for message in catalogue if not isinstance(message.id, str)]

    assert plural
    assert [message.id for message in plural if len(_forms(message)) != catalogue.num_plurals] == []


def test_a_translation_has_the_same_placeholders(catalogue: Catalog) -> None:
    wrong = [
        (english, said)
        for english, said in _said(catalogue)
        if sorted(PLACEHOLDER.findall(english)) != sorted(PLACEHOLDER.findall(said))
    ]

    assert wrong == []


def test_texts_in_the_code_are_english(collected: Catalog) -> None:
    assert [message.id for message in collected if re.search(f"[{CHINESE}]", str(message.id))] == []


def test_chinese_is_punctuated_as_chinese(catalogue: Catalog) -> None:
    """Half-width marks stand only in what the customer signs, as the printed form has them."""
    signed_words = [MESSAGES.in_taiwan(each) + each for each in CONSENTS.values()]
    half_width = re.compile(f'[{CHINESE}][,;:!?.(]|[,;:!?)][{CHINESE}]|"')

    wrong = [said for _, said in _said(catalogue) if half_width.search(said) and not _is_part(said, signed_words)]

    assert wrong == []


def _is_part(said: str, texts: list[str]) -> bool:
    return any(said in text for text in texts)


def test_the_customer_reads_the_words_that_are_kept_with_the_signature() -> None:
    said = {message.id: message.string for message in MESSAGES.read("zh_Hans_CN")}
    reminded = said["The customer was reminded to back up the ledger set!"]
    confirmed = said["I confirm that I was reminded to back up before work on data."]

    assert f"{reminded} {confirmed}" == CONSENTS["backup_ack/1"]
    assert said["I have read what was done and how it ended, and confirm it."] == CONSENTS["customer/1"]
    assert said["I confirm that this record is true."] == CONSENTS["engineer/1"]
    assert said["I have reviewed this record."] == CONSENTS["manager/1"]
    assert said["I have read what was corrected and why, and take note of it."] == CONSENTS["correction/1"]


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_one_word_on_its_badge_and_in_sentences(app: Flask, state: str) -> None:
    badge = '{% from "components/status.html" import status_word %}{{ status_word(state) }}'
    for locale in LOCALES:
        with app.test_request_context(f"/?lang={locale}"):
            assert render_template_string(badge, state=state).strip() == str(LABELS[state])


def test_a_placeholder_may_have_any_name(app: Flask) -> None:
    with app.test_request_context("/?lang=en"):
        assert gettext("%(text)s", text="a") + ngettext("%(singular)s", "%(plural)s", 2, plural="b") == "ab"
        assert str(lazy("%(text)s", text="c")) == "c"


# ---- the pages ----------------------------------------------------------------------------------------------

SPOKEN_OF_ITSELF = {  # names, file formats and log-in names that are the same in every language
    *("PIN", "PDF", "CSV", "VIP", "QQ", "APP", "PNG", "JPEG", "WebP", "UTF-8", "WGS", "MB", "UUID"),
    *("English", "Chrome", "Firefox", "Linux", "Windows", "Apple", "create-user", "flask", "work", "demo"),
    *("wanglei", "liting", "zhaomin", "qianjun", "admin"),
}
READ_ALOUD = ("aria-label", "title", "placeholder", "alt", "data-saving", "data-saved", "data-failed")


def english_on(page: str) -> list[str]:
    """The Latin words of a page that are no names, numbers or codes."""
    tree = html.document_fromstring(page)
    for silent in tree.xpath("//script | //style | //svg | //*[@lang='en' or @translate='no']"):
        silent.drop_tree()
    texts = [*tree.xpath("//text()"), *(str(value) for name in READ_ALOUD for value in tree.xpath(f"//@{name}"))]
    said = [re.sub(r"\{\w+\}", "", text) for text in texts]  # places that the phone fills in
    words = [word for text in said for word in re.findall(r"[A-Za-z][A-Za-z0-9_.@:/-]*", text)]
    return sorted({word for word in words if len(word) > 1 and not re.search(r"[\d@/]", word)} - SPOKEN_OF_ITSELF)


class Reader:
    """Opens pages as somebody whose browser asks for Simplified Chinese, and collects the English on them."""

    def __init__(self, browser: FlaskClient) -> None:
        self.browser = browser
        self.read: set[str] = set()
        self.english: dict[str, list[str]] = {}

    def open(self, path: str, **form: Any) -> None:
        headers = {"Accept-Language": "zh-CN"}
        send = self.browser.post if form else self.browser.get
        answer = send(path, data=form or None, headers=headers)
        if answer.mimetype == "text/html" and answer.status_code not in (301, 302, 303, 308):
            self.read.add(path)
            if words := english_on(answer.text):
                self.english[path] = words

    def open_all(self, app: Flask, **known: Any) -> None:
        """Every page whose address has no part that is not ``known``; what is refused must say so in Chinese too."""
        adapter = app.url_map.bind("localhost")
        for rule in app.url_map.iter_rules():
            if "GET" in (rule.methods or ()) and rule.arguments <= known.keys() and rule.endpoint != "static":
                self.open(adapter.build(rule.endpoint, {name: known[name] for name in rule.arguments}))


@pytest.mark.parametrize("role", ["dispatcher", "manager", "admin", "engineer"])
def test_no_page_of_the_app_falls_into_english(
    app: Flask, visit: Visit, ticket: Ticket, asset: Asset, role: str, request: Any, logged_in: LogIn
) -> None:
    who: User = request.getfixturevalue(role)
    reader = Reader(logged_in(who))

    reader.open_all(
        app, visit_id=visit.id, ticket_id=ticket.id, customer_id=asset.customer_id, asset_id=asset.id, user_id=who.id,
        number=ticket.number, content_hash="0" * 64, token="nobody-s",
    )  # fmt: skip

    assert reader.english == {}
    assert len(reader.read) > 20


def test_nothing_is_english_from_the_start_of_work_to_the_review(
    working: Visit, engineer: User, manager: User, logged_in: LogIn
) -> None:
    mine, office, base = Reader(logged_in(engineer)), Reader(logged_in(manager)), f"/visits/{working.id}"
    mine.open(base)
    mine.open(f"{base}/record")
    mine.open(f"{base}/backup-acknowledgement")
    mine.open(f"{base}/backup-acknowledgement", backup_ack_name="", backup_ack_strokes="")
    mine.open(f"{base}/hand-over", content_text="")
    mine.open(f"{base}/record", **{"parts-0-name": "x" * 300, "parts-0-quantity": "many", "started_at": "soon"})
    records.save(working, filled(), by=engineer)
    records.acknowledge_backup(working, NOT_NEEDED, by=engineer)
    records.finish(working, by=engineer)
    mine.open(base)
    mine.open(f"{base}/hand-over")
    mine.open(f"{base}/customer-signature", customer_name="", skill_rating="great")
    records.customer_sign(working, Evaluation(), Given(method="refused", reason="赶时间"), by=engineer)
    mine.open(f"{base}/hand-over")
    mine.open(f"{base}/completion")
    mine.open(f"{base}/completion", engineer_strokes="")
    records.complete(working, Given(method="drawn", strokes=DRAWN), by=engineer)
    for page in ("", "/record", "/correction", "/completion"):
        mine.open(base + page)
    mine.open(f"{base}/correction", content_text="更换主板", correction_reason="")
    for page in ("", "/record", "/review"):
        office.open(base + page)
    office.open("/dispatch/reviews")

    assert (mine.english, office.english) == ({}, {})
    assert len(mine.read) > 5


def test_nothing_is_english_for_strangers(client: FlaskClient, working: Visit, engineer: User) -> None:
    signed(working, engineer)
    reader = Reader(client)

    for path in ("/login", "/invitations/nobody-s", "/nowhere", f"/verify/{'0' * 64}"):
        reader.open(path)
    reader.open("/login", username="wanglei", password="wrong")

    assert reader.english == {}
    assert len(reader.read) >= 4
