"""The page of one visit: what an engineer must know, in order; one next step; and what the office sees of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
from flask import url_for
from flask.testing import FlaskClient
from lxml import html

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Customer
from fieldapp.extensions import db, operation, settings, uuid7
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.reports.models import Report
from fieldapp.visits import operations
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.today.conftest import GiveVisit

LogIn = Callable[[User], FlaskClient]


@operation
def change(thing: object, **values: object) -> None:
    """Give a row other values."""
    for name, value in values.items():
        setattr(thing, name, value)


def put_into(visit: Visit, status: str) -> None:
    """The state as if everything before had happened."""
    change(visit, status=status)


@pytest.fixture
def earlier(give: GiveVisit, engineer: User) -> Visit:
    """A visit of last month, completed with a signed record, a report and two things left open."""
    visit = give(clock.now() - timedelta(days=30))
    for step in (operations.accept, operations.depart, operations.arrive, operations.start):
        step(visit, by=engineer)
    record = ServiceRecord(
        visit_id=visit.id,
        number="SR-20261021-0001",
        author_id=engineer.id,
        signed_at=clock.now(),
        content_hash="a" * 64,
    )
    add(record)
    for position, text in enumerate(("电源风扇异响", "培训备份操作")):
        add(
            OpenItem(
                record_id=record.id,
                customer_id=visit.customer_id,
                asset_id=visit.asset_id,
                ticket_id=visit.ticket_id,
                position=position,
                text=text,
                cause="缺备件" if position == 0 else "",
                part="PSU-650" if position == 0 else "",
                promised_by=date(2026, 12, 1) if position == 0 else None,
            )
        )
    for locale in ("en", "zh_Hans_CN"):
        add(Report(record_id=record.id, locale=locale, sha256="b" * 64, size=1, pages=2, content_hash="a" * 64))
    put_into(visit, "completed")
    return visit


def test_everything_stands_in_the_order_in_which_it_is_needed(
    phone: FlaskClient, visit: Visit, earlier: Visit, customer: Customer, asset: Asset
) -> None:
    change(customer, special_needs="进机房须穿鞋套", blackout="每月 28 日结账")
    change(asset, config="2×CPU")

    page = phone.get(f"/visits/{visit.id}").text

    wanted = (
        "<h1>华东精密机械有限公司</h1>", "data-visit-id", "Assigned", "陈晓", "设备主管", 'href="tel:13900000001"',
        'href="tel:021-55501234"', "上海市松江区示例路88号", "北门登记", "uri.amap.com", "Copy address", "maps.apple.com",
        "geo:0,0", "进机房须穿鞋套", "每月 28 日结账", "Open from last time", "电源风扇异响",
        "缺备件 · part: PSU-650 · promised by 2026-12-01", "培训备份操作", "服务器无法启动", "开机后蓝屏", "T-20261121-0001",
        "ZW-3000 工业服务器", "In warranty until", "ZW3000-0001", "V5.2", "2×CPU", "Last visits", "Completed", "王磊",
        "Report of", f"/customers/{customer.id}", "What happened", "Visit drafted", "赵敏", "Decline", "Accept",
    )  # fmt: skip
    at = 0
    for words in wanted:
        assert words in page[at:], f"{words} is missing, or stands too early"
        at = page.index(words, at)


def test_the_report_of_a_past_visit_is_the_one_in_the_persons_language(
    phone: FlaskClient, visit: Visit, earlier: Visit
) -> None:
    reports = {report.locale: report.id for report in db.session.scalars(db.select(Report))}

    assert f"/reports/{reports['en']}.pdf" in phone.get(f"/visits/{visit.id}").text
    assert f"/reports/{reports['zh_Hans_CN']}.pdf" in phone.get(f"/visits/{visit.id}?lang=zh-CN").text


def test_what_is_closed_unsigned_or_ones_own_is_not_open_from_last_time(
    phone: FlaskClient, visit: Visit, earlier: Visit
) -> None:
    first, second = db.session.scalars(db.select(OpenItem).order_by(OpenItem.position)).all()
    change(first, closed_at=clock.now())

    assert first.text not in phone.get(f"/visits/{visit.id}").text
    assert second.text in phone.get(f"/visits/{visit.id}").text
    assert second.text not in phone.get(f"/visits/{earlier.id}").text

    record = db.session.get_one(ServiceRecord, second.record_id)
    change(record, signed_at=None)
    assert second.text not in phone.get(f"/visits/{visit.id}").text


@pytest.mark.parametrize(
    ("days", "words", "tone"),
    [(1, "In warranty until", "good"), (0, "In warranty until", "good"), (-2, "Out of warranty since", "warn"),
     (None, "Warranty not known", "neutral")],
)  # fmt: skip
def test_the_warranty_is_one_line(
    days: int | None, words: str, tone: str, phone: FlaskClient, visit: Visit, asset: Asset
) -> None:
    today = clock.now().astimezone(settings.zone).date()
    change(asset, warranty_until=None if days is None else today + timedelta(days=days))

    assert re.search(f'data-tone="{tone}"><svg[^>]*>.*</svg>{words}', phone.get(f"/visits/{visit.id}").text)


@pytest.mark.parametrize(
    ("state", "step", "ways_out"),
    [
        ("scheduled", "acceptance", ["refusal"]),
        ("accepted", "departure", ["refusal"]),
        ("traveling", "arrival", ["absence"]),
        ("arrived", "start", ["absence", "inability"]),
        ("working", "record", ["pause", "inability"]),
        ("paused", "resumption", ["inability"]),
        ("awaiting_sign", "record", []),
        ("completed", None, []),
        ("no_show", None, []),
    ],
)
def test_there_is_one_next_step_and_the_ways_out_are_one_tap_away(
    state: str, step: str | None, ways_out: list[str], phone: FlaskClient, visit: Visit
) -> None:
    put_into(visit, state)

    page = phone.get(f"/visits/{visit.id}").text

    assert html.fromstring(page).xpath("//@data-status")[0] == state
    wanted = f"/visits/{visit.id}/{step}" if step else "/"
    assert shown(page, "//*[@class='actionbar']//*[self::form or self::a][not(@href='#other')]") == [wanted]
    assert bool(shown(page, "//*[@class='actionbar']//a[@href='#other']")) == bool(ways_out)
    assert shown(page, "//main//details[contains(@class, 'card')]") == ways_out


def shown(page: str, path: str) -> list[str]:
    """The addresses or names of these elements, without those that are hidden or in something hidden."""
    found = html.fromstring(page).xpath(f"{path}[not(ancestor-or-self::*[@hidden])]")
    return [each.get("action") or each.get("href") or each.get("id") for each in found]


def test_a_phone_can_show_every_later_step(phone: FlaskClient, visit: Visit) -> None:
    tree = html.fromstring(phone.get(f"/visits/{visit.id}").text)

    steps = {
        form.get("action").rpartition("/")[2]: (form.get("data-when"), form.get("data-leads-to"))
        for form in tree.xpath("//*[@class='actionbar']//form[@data-queue]")
    }
    assert steps == {
        "acceptance": ("scheduled", "accepted"),
        "departure": ("accepted", "traveling"),
        "arrival": ("traveling", "arrived"),
        "start": ("arrived", "working"),
        "resumption": ("paused", "working"),
    }
    ways = {each.get("id"): each.get("data-when") for each in tree.xpath("//main//details[@data-when]")}
    assert ways == {
        "pause": "working",
        "absence": "traveling arrived",
        "inability": "arrived working paused",
        "refusal": "scheduled accepted",
    }
    assert {form.get("data-visit") for form in tree.xpath("//form[@data-queue]")} == {str(visit.id)}
    assert tree.xpath("//*[@data-record]/@data-when") == ["arrived working paused"]
    assert set(tree.xpath("//template//*/@data-for")) >= {"accepted", "traveling", "arrived", "working", "completed"}


def test_whoever_is_logged_in_stands_on_the_page(phone: FlaskClient, visit: Visit, engineer: User) -> None:
    answer = phone.get(f"/visits/{visit.id}")

    body = html.fromstring(answer.text).find("body")
    assert body is not None
    assert (body.get("data-user"), body.get("data-role")) == (str(engineer.id), "engineer")
    assert answer.headers["X-Fieldapp-Page"] == str(engineer.id)
    assert answer.headers["X-Fieldapp-Build"] == body.get("data-build")
    assert datetime.fromisoformat(body.get("data-rendered-at", "")) <= clock.now()


def test_two_forms_of_a_page_have_two_numbers(phone: FlaskClient, visit: Visit) -> None:
    numbers = re.findall(r'name="submission_id" value="([^"]+)"', phone.get(f"/visits/{visit.id}").text)

    assert len(numbers) == len(set(numbers)) >= 2


def test_the_timeline_says_who_did_what_and_why(phone: FlaskClient, working: Visit, engineer: User) -> None:
    operations.pause(working, "wait_part", by=engineer)

    page = phone.get(f"/visits/{working.id}").text

    times = re.findall(
        r'<li data-tone="\w+"><time>\d\d:\d\d</time><div><strong>([^<]+)</strong> <span[^>]*>([^<]*)', page
    )
    assert [what for what, _who in times] == [
        "Visit drafted", "Assigned", "Accepted", "Set off", "Arrived", "Work started", "Paused",
    ]  # fmt: skip
    assert [who for _what, who in times] == ["赵敏", "赵敏"] + ["王磊"] * 5
    assert '<p class="quiet">Waiting for a part</p>' in page


def test_an_event_of_another_step_says_its_own_name(phone: FlaskClient, visit: Visit) -> None:
    @operation
    def happen() -> None:
        operations.note_event(visit, "pack.built", by=None, override_reason="同一栋楼")

    happen()

    assert "<strong>pack built</strong>" in phone.get(f"/visits/{visit.id}").text
    assert "overlap allowed: 同一栋楼" in phone.get(f"/visits/{visit.id}").text


def test_a_device_that_is_new_to_us_is_no_customer_who_is(phone: FlaskClient, visit: Visit) -> None:
    page = phone.get(f"/visits/{visit.id}").text

    assert "No visit to this device so far." in page
    assert "Nobody of us was here before." not in page


def test_a_visit_without_site_contact_asset_or_past_is_still_a_page(phone: FlaskClient, visit: Visit) -> None:
    change(visit, site_id=None, contact_id=None, asset_id=None)

    page = phone.get(f"/visits/{visit.id}")

    assert page.status_code == 200
    assert "Nobody of us was here before." in page.text
    assert "uri.amap.com" not in page.text


# ---- who sees it --------------------------------------------------------------------------------------


def test_another_engineer_sees_nothing(logged_in: LogIn, colleague: User, visit: Visit) -> None:
    answer = logged_in(colleague).get(f"/visits/{visit.id}")

    assert answer.status_code == 404
    assert "华东精密" not in answer.text


def test_ones_own_work_is_seen_for_ninety_days(phone: FlaskClient, visit: Visit) -> None:
    change(visit, closed_at=clock.now(), window_start=clock.now() - timedelta(days=89))
    assert phone.get(f"/visits/{visit.id}").status_code == 200
    change(visit, window_start=clock.now() - timedelta(days=91))
    assert phone.get(f"/visits/{visit.id}").status_code == 404


def test_the_office_reads_it_plans_and_cancels(logged_in: LogIn, dispatcher: User, visit: Visit) -> None:
    page = logged_in(dispatcher).get(f"/visits/{visit.id}").text

    assert f"/dispatch/visits/{visit.id}/plan" in page
    assert re.findall(rf'action="/visits/{visit.id}/([a-z-]+)"', page) == ["cancellation"]
    assert 'class="actionbar"' not in page
    assert "王磊" in page


def test_the_office_sees_a_draft_that_has_no_time_and_no_engineer(
    logged_in: LogIn, manager: User, dispatcher: User, visit: Visit
) -> None:
    draft = operations.draft(visit.ticket, by=dispatcher)

    page = logged_in(manager).get(f"/visits/{draft.id}")

    assert page.status_code == 200
    assert "No engineer yet" in page.text


def test_a_closed_visit_cannot_be_planned_or_cancelled(logged_in: LogIn, dispatcher: User, earlier: Visit) -> None:
    page = logged_in(dispatcher).get(f"/visits/{earlier.id}").text

    assert "/plan" not in page
    assert "cancellation" not in page
    assert f"/visits/{earlier.id}/record" in page


def test_a_visit_that_does_not_exist_is_not_found(phone: FlaskClient) -> None:
    assert phone.get(f"/visits/{uuid7()}").status_code == 404
    assert phone.get("/visits/7").status_code == 404


# ---- the map this person uses -------------------------------------------------------------------------


def test_the_map_is_remembered_for_the_person(phone: FlaskClient, visit: Visit, engineer: User) -> None:
    answer = phone.post(f"/visits/{visit.id}/map-app", data={"map_app": "tencent"})

    assert (answer.status_code, answer.location) == (303, f"/visits/{visit.id}")
    db.session.refresh(engineer)
    assert engineer.map_app == "tencent"
    first_link = re.search(r'<a class="button quiet" href="(https://[^"]+)"', phone.get(f"/visits/{visit.id}").text)
    assert first_link is not None
    assert first_link[1].startswith("https://apis.map.qq.com/")


def test_a_map_that_nobody_knows_is_refused(phone: FlaskClient, visit: Visit, engineer: User) -> None:
    assert phone.post(f"/visits/{visit.id}/map-app", data={"map_app": "atlas"}).status_code == 422
    db.session.refresh(engineer)
    assert engineer.map_app is None


def test_the_short_addresses_in_lists_are_those_of_the_routes(app: object, visit: Visit) -> None:
    with app.test_request_context():  # type: ignore[attr-defined]
        assert url_for("today.show") == "/"
        assert url_for("today.visit", visit_id=visit.id) == f"/visits/{visit.id}"
        for noun in ("accept", "decline", "depart", "arrive", "start", "pause", "resume", "cannot_complete", "no_show"):
            assert url_for(f"visits.{noun}", visit_id=visit.id).startswith(f"/visits/{visit.id}/")
