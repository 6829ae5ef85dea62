"""The main job from end to end: by command in three languages, and through the pages as people do it."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from xml.etree.ElementTree import Element

import flask_migrate
import html5lib
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from fieldapp import clock, create_app, outbox
from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.customers.models import Asset
from fieldapp.demo import journey, seed
from fieldapp.dispatch.devices.queries import silent_phones
from fieldapp.extensions import db, operation, settings, uuid7
from fieldapp.offline.models import Case
from fieldapp.outbox import Attempt, Claim
from fieldapp.reports.models import Report
from fieldapp.sync import breaker, worker
from fieldapp.sync.handlers import HANDLERS
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk.models import DeskTicket
from fieldapp.tickets.models import Ticket, TicketNews
from fieldapp.tickets.stores import store
from fieldapp.visits.models import Visit
from tests.conftest import settings_for
from tests.records.samples import DRAWN

# The printed form's title.
WORDS = {"zh_CN": "客户服务记录", "zh_TW": "客戶服務記錄", "en": "Service"}


# ---- by command -------------------------------------------------------------------------------------


def demo_app(folder: Path) -> Flask:
    return create_app(settings_for(folder, demo="1", locale="zh_Hans_CN", log_level="ERROR"))


def demo_visit(app: Flask, locale: str, out: Path) -> Result:
    try:
        return app.test_cli_runner().invoke(args=["demo-visit", "--locale", locale, "--out", str(out)])
    finally:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def test_demo_visits_on_a_fresh_folder_until_nothing_waits(tmp_path: Path) -> None:
    """The first one migrates and loads the demo day; each takes the next waiting ticket."""
    app = demo_app(tmp_path / "fresh")
    for locale, title in WORDS.items():
        out = tmp_path / f"{locale}.pdf"

        told = demo_visit(app, locale, out)

        assert told.exit_code == 0, told.output
        assert "DOES NOT HOLD" not in told.output
        assert "the ticket is resolved in the store" in told.output
        printed = subprocess.run(["pdftotext", "-layout", out, "-"], capture_output=True, check=True, text=True).stdout
        squeezed = re.sub(r"\s", "", printed)
        assert title in squeezed
        assert "更换电源模块" in squeezed  # what the engineer wrote stays as it was written

    with app.app_context():
        assert not seed.load_if_empty()
        cases = db.session.scalars(select(Case.kind).where(Case.settled_at.is_(None)))
        assert sorted(cases) == ["conflict", "despite_cancellation"]  # the office of the demo has something to decide
        assert [phone.device.waiting for phone in silent_phones(2)] == [2]
        assert "客服坐席 018" in db.session.scalars(select(TicketNews.by).where(TicketNews.kind == "changed")).all()
        _nothing_waits()
    told = demo_visit(app, "en", tmp_path / "none.pdf")
    assert told.exit_code == 1
    assert "no ticket is waiting" in told.output
    assert not (tmp_path / "none.pdf").exists()


def test_a_demo_visit_waits_for_what_the_worker_of_a_running_server_has_in_hand(tmp_path: Path) -> None:
    """The server takes each promise before the command can, and keeps it in its own time."""
    app, said, in_hand = demo_app(tmp_path / "fresh"), list[str](), list[Claim]()

    def beside(line: str) -> None:
        said.append(line)
        if "the engineer signs" in line or "another worker" in line:
            for claim in in_hand:
                outbox.delivered(claim, HANDLERS[claim.kind](claim))
            in_hand[:] = iter(lambda: outbox.claim("server", breaker.room), None)

    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        seed.load_if_empty()
        held = journey.run("en", tmp_path / "en.pdf", say=beside)
        kept_by = set(db.session.scalars(select(Attempt.worker)))
        db.session.remove()
        db.engine.dispose()

    assert held, said
    assert kept_by == {"server"}
    assert (tmp_path / "en.pdf").exists()


@operation
def _nothing_waits() -> None:
    change = db.session.scalar(select(func.max(DeskTicket.change))) or 0
    for row in db.session.scalars(select(DeskTicket).where(DeskTicket.status.in_(("new", "triaged")))):
        change += 1
        row.status, row.version, row.change = "closed", row.version + 1, change
    for ticket in db.session.scalars(select(Ticket).where(Ticket.status.in_(("new", "triaged")))):
        ticket.status = "closed"


def test_the_command_needs_demo_mode(app: Flask, tmp_path: Path) -> None:
    refused = app.test_cli_runner().invoke(args=["demo-visit", "--out", str(tmp_path / "x.pdf")])

    assert refused.exit_code == 1
    assert "set FIELDAPP_DEMO=1" in refused.output


def test_the_command_needs_a_language_that_is_spoken_here(tmp_path: Path) -> None:
    refused = demo_visit(demo_app(tmp_path), "tlh", tmp_path / "x.pdf")

    assert refused.exit_code == 1
    assert "'tlh' is not spoken here" in refused.output


# ---- through the pages ------------------------------------------------------------------------------


def filled_in(page: TestResponse, action: str) -> dict[str, str]:
    """What a browser would send from the page's form to ``action`` if nobody typed anything."""
    assert page.status_code == 200, page.get_data(as_text=True)[-2000:]
    root = html5lib.parse(page.get_data(as_text=True), namespaceHTMLElements=False)
    forms = [form for form in root.iter("form") if form.get("action") == action and form.get("method") == "post"]
    assert forms, f"no form to {action}"
    inside = [each for form in forms[:1] for each in form.iter()]
    outside = [each for each in root.iter() if forms[0].get("id") and each.get("form") == forms[0].get("id")]
    return {str(each.get("name")): _value(each) for each in [*inside, *outside] if each.get("name") and _sent(each)}


def _sent(field: Element) -> bool:
    if field.tag == "input" and field.get("type") in ("checkbox", "radio"):
        return field.get("checked") is not None
    return field.tag in ("select", "textarea") or (field.tag == "input" and field.get("type") != "file")


def _value(field: Element) -> str:
    if field.tag == "textarea":
        return (field.text or "").strip()
    if field.tag == "select":
        options = list(field.iter("option"))
        chosen = [each for each in options if each.get("selected") is not None] or options[:1]
        return str(chosen[0].get("value", chosen[0].text)) if chosen else ""
    return field.get("value", "on" if field.get("type") == "checkbox" else "")


def press(browser: FlaskClient, page: str, action: str, **typed: str) -> TestResponse:
    """Open a page, fill the form that posts to ``action``, send it, and follow."""
    fields = filled_in(browser.get(page), action)
    return browser.post(action, data={**fields, **typed}, follow_redirects=True)


def test_from_a_call_to_a_resolved_ticket(
    app: Flask,
    asset: Asset,
    dispatcher: User,
    engineer: User,
    manager: User,
    logged_in,  # type: ignore[no-untyped-def]
) -> None:
    office, phone, boss = logged_in(dispatcher), logged_in(engineer), logged_in(manager)

    # a customer calls
    filed = press(
        office, "/desk/new", "/desk", subject="服务器无法启动", customer_number="C-1001", asset_serial=asset.serial
    )
    assert filed.status_code == 200, filed.get_data(as_text=True)[-3000:]
    pull(store())
    ticket = db.session.scalars(select(Ticket)).one()
    assert ticket.customer_id == asset.customer_id

    # the dispatcher plans
    start = clock.local(clock.now() + timedelta(minutes=30), settings.zone)
    plan = f"/dispatch/tickets/{ticket.id}/plan"
    planned = press(
        office,
        plan,
        plan,
        lead_id=str(engineer.id),
        day=f"{start:%Y-%m-%d}",
        start=f"{start:%H:%M}",
        end=f"{start + timedelta(minutes=20):%H:%M}",
        kind="maintenance",
    )
    visit = db.session.scalars(select(Visit)).one()
    assert visit.status == "scheduled", planned.get_data(as_text=True)[-3000:]

    # the engineer goes there
    page = f"/visits/{visit.id}"
    assert f'data-visit-id="{visit.id}"' in phone.get("/").get_data(as_text=True)
    for step, status in (
        ("acceptance", "accepted"),
        ("departure", "traveling"),
        ("arrival", "arrived"),
        ("start", "working"),
    ):
        answer = press(phone, page, f"{page}/{step}")
        assert f'data-status="{status}"' in answer.get_data(as_text=True), step

    # and works
    backup = f"{page}/backup-acknowledgement"
    assert press(phone, backup, backup, backup_ack_name="陈晓", backup_ack_strokes=DRAWN).status_code == 200
    typed = {
        "service_type": "maintenance",
        "content_text": "更换主板,测试正常",
        "outcome": "all_done",
        "cause": "电容老化",
    }
    fields = filled_in(phone.get(f"{page}/record"), f"{page}/record")
    handed = phone.post(f"{page}/hand-over", data={**fields, **typed}, follow_redirects=True)
    assert "更换主板,测试正常" in handed.get_data(as_text=True)

    # the customer holds the phone: nothing else can be seen
    assert phone.get("/").location == f"{page}/hand-over"
    customer = {"skill_rating": "good", "attitude_rating": "good", "customer_name": "陈晓", "customer_strokes": DRAWN}
    thanks = press(phone, f"{page}/hand-over", f"{page}/customer-signature", **customer)
    assert thanks.status_code == 200

    # back in the engineer's hand
    _give_pin(engineer)
    taken = press(phone, "/taking-back", "/taking-back", pin="2468")
    assert taken.status_code == 200, taken.get_data(as_text=True)[-2000:]
    ended = press(phone, f"{page}/completion", f"{page}/completion", engineer_strokes=DRAWN)
    assert 'data-status="completed"' in ended.get_data(as_text=True)

    # the worker tells the ticket store
    worker.run_until_idle("journey")
    report = db.session.scalars(select(Report).where(Report.locale == "en")).one()
    pdf = phone.get(f"/reports/{report.id}.pdf")
    assert pdf.mimetype == "application/pdf"
    assert pdf.data.startswith(b"%PDF-")
    desk = office.get(f"/desk/{ticket.number}").get_data(as_text=True)
    assert report.file_name in desk
    pull(store())
    db.session.rollback()
    assert db.session.get_one(Ticket, ticket.id).status == "resolved"

    # the manager signs in the office
    reviewed = press(boss, f"{page}/review", f"{page}/review", manager_strokes=DRAWN)
    assert reviewed.status_code == 200
    worker.run_until_idle("journey")
    db.session.rollback()
    assert db.session.get_one(Visit, visit.id).status == "reviewed"
    assert office.get("/deliveries").status_code == 200


@operation
def _give_pin(user: User) -> None:
    db.session.get_one(User, user.id).pin_hash = passwords.hashed("2468")


def test_a_second_try_at_the_same_page_is_one_effect(visit: Visit, engineer: User, logged_in) -> None:  # type: ignore[no-untyped-def]
    """Two presses of one button: the form's own number makes them one."""
    phone = logged_in(engineer)
    action = f"/visits/{visit.id}/acceptance"
    fields = filled_in(phone.get(f"/visits/{visit.id}"), action)
    assert fields["submission_id"]

    first, second = phone.post(action, data=fields), phone.post(action, data=fields)

    assert (first.status_code, second.status_code) == (303, 303)
    assert len([event for event in visit.events if event.type == "accepted"]) == 1
    assert phone.post(action, data={"submission_id": str(uuid7())}).status_code == 409
