"""Whatever an engineer's phone sends of their own visit has a receipt, the same again, and a page for the office."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

from flask import Flask
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.extensions import db, uuid7
from fieldapp.offline.models import Case, Submission
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan
from tests.conftest import Browser
from tests.offline.queue import Item, receipt_of
from tests.records.wholes import whole

NOUNS = (
    "acceptance refusal departure arrival start pause resumption inability absence record hand-over reopening"
    " backup-acknowledgement photos customer-signature completion completion correction"
).split()
MORE_FIELDS = (
    "reason note parts-0-name parts-0-quantity open_items-0-text open_items-0-promised_by solved correction_reason"
    " customer_typed customer_reason revision device device_at zone backup_ack_method backup_ack_strokes kind never_heard_of"
).split()
HASH = "a" * 64
ODD = (
    "",
    "\0",
    "\x01\x0b\x1f\u202e",
    "\ud800",
    "汉" * 5000,
    "x" * 1_000_000,
    "\r\n" * 500,
    "-1",
    "9" * 5000,
    "٣²",
    "NaN",
    "[" * 50_000,
    "0001-01-01T00:00",
    "9999-12-31T23:59",
    "1970-01-01T00:00",
    "2026-02-30",
    "absent",
    '{"strokes": [[[NaN, 1, 1]]]}',
    '{"strokes": {"a": 1}}',
    '[{"sha256": 5}, null]',
    f'[{{"sha256": "{HASH}", "size": 7, "kind": "after", "caption": "\\u0000\\ud800", "taken_at": "0001-01-01T00:00:00+14:00"}}]',
    '{"revision": true, "fields": {"content_text": ["\\ud800", 5, null], "parts-²-name": ["x"]}}',
)
HEADERS = {
    "X_Device_At": ("x", "0001-01-01T00:00:00+00:00", "8999-12-31T23:59:59-12:00", "1970-01-01T00:00:00+14:00"),
    "X_Sent_At": ("", "1970-01-01T00:00:00+14:00", "8999-12-31T23:59:59-12:00"),
    "X_Form_Version": ("0", "1", "3", "é"),
    "X_Base_Revision": ("-1", "99999999999"),
    "X_Time_Zone": ("Mars/Olympus", "x" * 500),
    "X_Waiting": ("-1", "9" * 30),
    "X_Device": ("x" * 500, "somebody else's"),
}
TYPES = ("application/json", "text/plain", "multipart/form-data")


def test_a_hundred_odd_items_all_have_their_receipt(
    app: Flask, ticket: Ticket, engineer: User, colleague: User, dispatcher: User
) -> None:
    whatever_comes(app, ticket, engineer, colleague, dispatcher)


def whatever_comes(app: Flask, ticket: Ticket, engineer: User, colleague: User, dispatcher: User) -> None:
    """A hundred odd items, in no sensible order, of visits that the office moves, cancels and gives away meanwhile."""
    rng = random.Random(20261128)
    app.test_client_class = Browser
    phone, desk = app.test_client(), app.test_client()
    for browser, user in ((phone, engineer), (desk, dispatcher)):
        browser.set_cookie(accounts.COOKIE, accounts.open_session(user, user_agent="tests", address="::1"))
    visit = some_visit(ticket, engineer, dispatcher)
    for n in range(100):
        if n % 10 == 9:
            meddle(rng, visit, colleague, dispatcher)
            visit = some_visit(ticket, engineer, dispatcher)
        item, headers = odd_item(rng, visit, n)

        receipt = receipt_of(item.sent(phone, **headers))

        assert receipt["submission_id"] == str(item.id)
        again = receipt_of(item.sent(phone, **headers))
        assert {**again, "replayed": False} == receipt
    assert len(db.session.scalars(select(Submission.id)).all()) == 100
    for case in db.session.scalars(select(Case.id)).all():
        language = rng.choice(("en", "zh_CN", "zh_TW"))
        assert desk.get(f"/exceptions/{case}?lang={language}").status_code == 200
    assert desk.get("/exceptions").status_code == desk.get("/devices").status_code == 200


def some_visit(ticket: Ticket, engineer: User, dispatcher: User) -> Visit:
    visit = visits.draft(ticket, by=dispatcher)
    visits.plan(visit, Plan(lead_id=engineer.id, window_start=clock.now(), override_reason="x"), by=dispatcher)
    return visit


def meddle(rng: random.Random, visit: Visit, colleague: User, dispatcher: User) -> None:
    """What the office does meanwhile, where the visit's state allows it."""
    wanted = Plan(lead_id=colleague.id, window_start=clock.now() + timedelta(days=1), override_reason="x")
    acts = (
        lambda: visits.cancel(visit, "x", by=dispatcher),
        lambda: visits.plan(visit, wanted, by=dispatcher),
        lambda: visits.take_back(visit, "x", by=dispatcher),
    )
    try:
        rng.choice(acts)()
    except visits.transitions.NotAllowedNow:
        return


def odd_item(rng: random.Random, visit: Visit, sequence: int) -> tuple[Item, dict[str, str]]:
    """One frozen form in which some fields are odd, with some odd headers."""
    db.session.refresh(visit)
    fields = {name: str(value) for name, value in whole(visit).items()}
    for name in rng.sample((*fields, *MORE_FIELDS), rng.choice((0, 1, 2, 5))):
        fields[name] = rng.choice(ODD)
    body = "&".join(f"{quote(name)}={_quoted(text)}" for name, text in fields.items())[:2_000_000].encode()
    key = visit.id if rng.random() < 0.95 else uuid7()  # a backup may be older than the visit
    item = Item(f"/visits/{key}/{rng.choice(NOUNS)}", body, sequence=sequence)
    if rng.random() < 0.05:
        item = replace(item, type=rng.choice(TYPES))
    return item, {name: rng.choice(HEADERS[name]) for name in rng.sample(sorted(HEADERS), rng.choice((0, 0, 1, 2)))}


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")
