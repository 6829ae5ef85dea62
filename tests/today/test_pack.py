"""What a phone takes along, and that no page of it changes without its digest."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from flask.testing import FlaskClient

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.accounts.operations import open_session
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db, operation, settings
from fieldapp.records import operations as records
from fieldapp.records.models import OpenItem, Photo, ServiceRecord
from fieldapp.reports.models import Report
from fieldapp.visits import operations
from fieldapp.visits.models import Visit
from tests.conftest import add
from tests.records.samples import NOT_NEEDED, filled
from tests.security.world import picture
from tests.today.conftest import GiveVisit
from tests.today.test_cost import WHO_IS_IT, asked
from tests.today.test_visit_page import change

Pack = dict[str, str]


def pack(phone: FlaskClient, language: str = "en") -> Pack:
    """``{url: digest}``."""
    return {page["url"]: page["digest"] for page in told(phone, language)["pages"]}


def told(phone: FlaskClient, language: str = "en") -> dict[str, Any]:
    answer = phone.get("/offline/pack", headers={"Accept": "application/json", "Accept-Language": language})
    assert answer.status_code == 200
    return answer.json  # type: ignore[return-value]


# ---- what is in it ------------------------------------------------------------------------------------


def test_the_pack_says_whose_it_is_and_when_it_was_made(phone: FlaskClient, engineer: User, app: Any) -> None:
    said = told(phone)

    assert said["user"] == str(engineer.id)
    assert said["build"] == app.extensions["assets"].build
    assert UUID(said["server"])
    assert said["epoch"] == 1
    assert abs(datetime.fromisoformat(said["made_at"]) - clock.now()) < timedelta(minutes=1)


def test_the_pack_has_the_fortnight_and_everything_unfinished(
    phone: FlaskClient, visit: Visit, give: GiveVisit, customer: Customer, asset: Asset, colleague: User
) -> None:
    soon, left = give(clock.now() + timedelta(days=9)), give(clock.now() - timedelta(days=30))
    far, foreign = give(clock.now() + timedelta(days=16)), give(clock.now() + timedelta(days=2), colleague)
    old = give(clock.now() - timedelta(days=20))
    change(old, status="completed", closed_at=clock.now() - timedelta(days=20))

    pages = pack(phone)

    for each in (visit, soon, left, far):
        for noun in ("", "/record", "/backup-acknowledgement"):
            assert f"/visits/{each.id}{noun}" in pages
    for each in (foreign, old):
        assert f"/visits/{each.id}" not in pages
    assert {"/", "/offline", "/outbox", "/account", f"/customers/{customer.id}", f"/assets/{asset.id}"} <= set(pages)
    assert f"/?day={_local(clock.now() + timedelta(days=9))}" in pages
    assert f"/?day={_local(clock.now() + timedelta(days=16))}" not in pages


def test_every_page_of_the_pack_can_be_fetched(
    phone: FlaskClient, engineer: User, visit: Visit, give: GiveVisit
) -> None:
    working, canceled = give(clock.now() + timedelta(hours=2)), give(clock.now() + timedelta(hours=3))
    for step in (operations.accept, operations.depart, operations.arrive, operations.start):
        step(working, by=engineer)
    change(canceled, status="canceled", closed_at=clock.now())
    done = give(clock.now() + timedelta(hours=1))
    change(done, status="completed", closed_at=clock.now())

    for page in told(phone)["pages"]:
        answer = phone.get(page["url"])
        assert answer.status_code == 200, page["url"]
        assert answer.headers["X-Fieldapp-Page"] == str(engineer.id)


def test_the_most_needed_comes_first_and_a_metered_phone_knows_what_to_leave(
    phone: FlaskClient, visit: Visit, give: GiveVisit
) -> None:
    later = give(clock.now() + timedelta(days=9))

    pages = told(phone)["pages"]

    assert pages[0] == {**pages[0], "url": "/", "first": True, "day": _local(clock.now()).isoformat()}
    first = {page["url"]: page["first"] for page in pages}
    assert first[f"/visits/{visit.id}/record"]
    assert not first[f"/visits/{later.id}"]
    assert {page["visit"] for page in pages if page["url"].endswith("/record")} == {str(visit.id), str(later.id)}


def test_the_office_and_strangers_have_no_pack(
    client: FlaskClient, logged_in: Callable[[User], FlaskClient], dispatcher: User
) -> None:
    json = {"Accept": "application/json"}
    assert client.get("/offline/pack", headers=json).status_code == 401
    assert logged_in(dispatcher).get("/offline/pack", headers=json).status_code == 403


# ---- digests --------------------------------------------------------------------------------------------


def test_nothing_changes_while_nothing_changes(phone: FlaskClient, working: Visit) -> None:
    before = pack(phone)
    for url in before:
        phone.get(url)

    assert pack(phone) == before


VISIT, DAY, CUSTOMER, ASSET, ACCOUNT, WORDS = "visit", "day", "customer", "asset", "account", "words"
EVERYTHING = {VISIT, DAY, CUSTOMER, ASSET, ACCOUNT, WORDS}


def changes(*, needed: set[str]) -> Callable[[Any], Any]:
    """A change in the world, and the kinds of page that show it."""

    def note(function: Any) -> Any:
        CHANGES[function.__name__.removeprefix("_")] = (function, needed)
        return function

    return note


CHANGES: dict[str, tuple[Callable[[Visit, Visit, User], None], set[str]]] = {}


@changes(needed={VISIT, DAY, CUSTOMER, ASSET})
def _step(visit: Visit, _past: Visit, engineer: User) -> None:
    operations.pause(visit, "break", by=engineer)


@changes(needed={VISIT})
def _event_that_moves_no_state(visit: Visit, _past: Visit, engineer: User) -> None:
    _noted(visit, engineer)


@changes(needed={VISIT, DAY, CUSTOMER, ASSET})
def _new_time(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit, window_start=visit.window_start + timedelta(minutes=5))


@changes(needed={VISIT, DAY})
def _what_to_bring(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit, bring="梯子", note="请走北门")


@changes(needed={VISIT, DAY, CUSTOMER, ASSET})
def _customers_name(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit.customer, name="华东精密")


@changes(needed={VISIT, CUSTOMER})
def _contacts_number(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit.customer.contacts[0], mobile="13911112222")


@changes(needed={CUSTOMER})
def _another_contact(visit: Visit, _past: Visit, _engineer: User) -> None:
    add(Contact(customer_id=visit.customer_id, name="新联系人"))


@changes(needed={VISIT, DAY, CUSTOMER, ASSET})
def _address(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit.customer.sites[0], address="上海市松江区新路1号")


@changes(needed={CUSTOMER})
def _another_site(visit: Visit, _past: Visit, _engineer: User) -> None:
    add(Site(customer_id=visit.customer_id, name="二号厂房", address="示例路 2 号"))


@changes(needed={VISIT, DAY, CUSTOMER, ASSET})
def _devices_model(visit: Visit, _past: Visit, _engineer: User) -> None:
    assert visit.asset is not None
    change(visit.asset, model="ZW-4000", warranty_until=date(2030, 1, 1))


@changes(needed={CUSTOMER})
def _another_device(visit: Visit, _past: Visit, _engineer: User) -> None:
    add(Asset(customer_id=visit.customer_id, site_id=visit.site_id, model="UPS", serial="UPS-1"))


@changes(needed={VISIT, DAY, CUSTOMER, ASSET})
def _tickets_subject(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit.ticket, subject="电源故障", pulled_at=clock.now() + timedelta(seconds=1))


@changes(needed={VISIT, DAY})
def _tickets_urgency(visit: Visit, _past: Visit, _engineer: User) -> None:
    change(visit.ticket, priority="urgent", text="已停产")


@changes(needed={VISIT, CUSTOMER, ASSET})
def _past_visit_reviewed(_visit: Visit, past: Visit, _engineer: User) -> None:
    change(past, status="reviewed")


@changes(needed={VISIT, CUSTOMER, ASSET})
def _past_record_gets_its_report(_visit: Visit, past: Visit, _engineer: User) -> None:
    record = db.session.scalars(db.select(ServiceRecord).where(ServiceRecord.visit_id == past.id)).one()
    add(Report(record_id=record.id, locale="en", sha256="b" * 64, size=1, pages=2, content_hash="a" * 64))


@changes(needed={VISIT, CUSTOMER, ASSET})
def _open_item_settled(_visit: Visit, _past: Visit, _engineer: User) -> None:
    item = db.session.scalars(db.select(OpenItem).order_by(OpenItem.position)).first()
    change(item, closed_at=clock.now())


@changes(needed={VISIT, CUSTOMER, ASSET})
def _one_settled_and_one_opened_again(_visit: Visit, _past: Visit, _engineer: User) -> None:
    first, second = db.session.scalars(db.select(OpenItem).order_by(OpenItem.position)).all()
    change(first, closed_at=clock.now())
    change(second, closed_at=None)


@changes(needed={VISIT})
def _record_saved(visit: Visit, _past: Visit, engineer: User) -> None:
    records.save(visit, filled(content_text="又检查了一遍"), by=engineer)


@changes(needed={VISIT})
def _photo_added(visit: Visit, _past: Visit, engineer: User) -> None:
    records.add_photo(visit, picture(), kind="before", caption="", by=engineer)


@changes(needed={VISIT})
def _photo_removed(visit: Visit, _past: Visit, _engineer: User) -> None:
    photo = db.session.scalars(db.select(Photo)).first()
    change(photo, removed_at=clock.now())


@changes(needed={VISIT})
def _backup_acknowledged(visit: Visit, _past: Visit, engineer: User) -> None:
    records.acknowledge_backup(visit, NOT_NEEDED, by=engineer)


@changes(needed={VISIT, CUSTOMER, ASSET})
def _colleagues_name(_visit: Visit, _past: Visit, _engineer: User) -> None:
    change(db.session.scalars(db.select(User).where(User.username == "zhaomin")).one(), name="赵小敏")


@changes(needed=EVERYTHING)
def _own_language(_visit: Visit, _past: Visit, engineer: User) -> None:
    change(engineer, locale="zh_Hant_TW")


@changes(needed={VISIT, ACCOUNT})
def _own_map(_visit: Visit, _past: Visit, engineer: User) -> None:
    change(engineer, map_app="baidu")


@changes(needed={ACCOUNT})
def _own_pin(_visit: Visit, _past: Visit, engineer: User) -> None:
    change(engineer, pin_hash="x")


@changes(needed={ACCOUNT})
def _another_log_in(_visit: Visit, _past: Visit, engineer: User) -> None:
    open_session(engineer, user_agent="another", address="127.0.0.1")


@changes(needed={DAY})
def _another_visit_this_week(visit: Visit, _past: Visit, engineer: User) -> None:
    dispatcher = db.session.scalars(db.select(User).where(User.username == "zhaomin")).one()
    other = operations.draft(visit.ticket, by=dispatcher)
    start = clock.now() + timedelta(hours=5)
    operations.plan(other, operations.Plan(lead_id=engineer.id, window_start=start), by=dispatcher)


@pytest.fixture
def past(give: GiveVisit, engineer: User) -> Visit:
    """A visit of last month with a signed record and two things left, of which the second is settled."""
    visit = give(clock.now() - timedelta(days=30))
    change(visit, status="completed", closed_at=clock.now() - timedelta(days=30))
    record = ServiceRecord(
        visit_id=visit.id, number="SR-1", author_id=engineer.id, signed_at=clock.now(), content_hash="a" * 64
    )
    add(record)
    for position, closed in enumerate((None, clock.now() - timedelta(days=1))):
        add(
            OpenItem(
                record_id=record.id,
                customer_id=visit.customer_id,
                asset_id=visit.asset_id,
                ticket_id=visit.ticket_id,
                position=position,
                text=f"风扇 {position}",
                closed_at=closed,
            )
        )
    return visit


@pytest.mark.parametrize("name", CHANGES)
def test_no_page_changes_without_its_digest(
    name: str, phone: FlaskClient, working: Visit, past: Visit, engineer: User, asset: Asset
) -> None:
    records.save(working, filled(), by=engineer)
    records.add_photo(working, picture(), kind="label", caption="", by=engineer)
    happen, needed = CHANGES[name]
    kinds = _kinds(working, asset)
    before, pages_before = pack(phone), {url: _page(phone, url) for url in kinds}

    happen(working, past, engineer)

    after = pack(phone)
    changed = {url for url in before if before[url] != after[url]}
    assert needed <= {kind for url, kind in kinds.items() if url in changed}
    for url in kinds:
        assert _page(phone, url) == pages_before[url] or url in changed, f"{url} changed, its digest did not"


def _kinds(visit: Visit, asset: Asset) -> dict[str, str]:
    kinds = {f"/visits/{visit.id}{noun}": VISIT for noun in ("", "/record", "/backup-acknowledgement")}
    more = {f"/customers/{visit.customer_id}": CUSTOMER, f"/assets/{asset.id}": ASSET}
    return {**kinds, **more, "/": DAY, "/account": ACCOUNT, "/outbox": WORDS}


def _page(phone: FlaskClient, url: str) -> str:
    """What the page shows, without what differs at every look."""
    tree = phone.get(url).text.partition("<body")[2].partition(">")[2]
    return re.sub(r'value="[0-9a-f-]{36}"|in \d+ min|\d+ min late|\d\d:\d\d · 127', "", tree)


def test_a_new_day_makes_everything_new(phone: FlaskClient, visit: Visit) -> None:
    before = pack(phone)
    with time_machine.travel(clock.now() + timedelta(days=1), tick=False):
        after = pack(phone)

    assert all(after[url] != digest for url, digest in before.items() if url in after)


def test_another_language_makes_everything_new(phone: FlaskClient, visit: Visit) -> None:
    english, chinese = pack(phone, "en"), pack(phone, "zh-CN")

    assert set(english) == set(chinese)
    assert all(english[url] != chinese[url] for url in english)


# ---- cost -----------------------------------------------------------------------------------------------


def test_a_pack_is_a_few_statements_however_many_visits_there_are(
    phone: FlaskClient, visit: Visit, give: GiveVisit
) -> None:
    counts = []
    for _turn in range(2):
        for number in range(8):
            give(clock.now() + timedelta(days=number, hours=1))
        with asked() as statements:
            pack(phone)
        counts.append(len(statements))

    assert counts[0] == counts[1] <= 22 + WHO_IS_IT


def _local(moment: datetime) -> date:
    return clock.local(moment, settings.zone).date()


@operation
def _noted(visit: Visit, engineer: User) -> None:
    operations.note_event(visit, "pack.built", by=engineer)
