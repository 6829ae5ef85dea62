"""X27: an engineer asks for everything that belongs to another. The URL map is the list, so nothing is forgotten.

A new route fails the first test until it is written down here whose things it shows or changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import or_, select

from fieldapp.accounts.models import LoginSession
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.extensions import db
from fieldapp.records.models import Photo, ServiceRecord
from fieldapp.reports.models import Report
from fieldapp.visits.models import Visit
from tests.security.world import World, the_world
from tests.test_rules import ROLES, Tables

# Whose things a route touches, for an engineer. "office": no engineer comes in at all.
OPEN = "open to everybody, names nothing"
SELF = "one's own account, whoever asks"
LISTS = "a list of what one may see"
OFFICE = "office"
VISIT = "one visit: the engineer's who makes it"
CUSTOMER = "one customer: engineers with a visit there"
ASSET = "one asset: engineers with a visit to it"
PICTURE = "one photo, as its visit"
REPORT = "one report, as its visit"
SESSION = "one log-in, of oneself"

CLASSES = {
    OPEN: "accounts.login accounts.log_in accounts.invitation accounts.accept_invitation assets.show health.live"
    " health.ready hooks.hear reports.verify shell.manifest shell.offline shell.service_worker",
    SELF: "accounts.account accounts.change_account accounts.change_password accounts.change_pin accounts.logout"
    " accounts.taking_back accounts.take_back today.map_app offline.contact outbox.show"
    " records.upload_state records.upload",
    SESSION: "accounts.end_device",
    LISTS: "today.show pack.show history.customers",
    VISIT: "today.visit visits.accept visits.decline visits.depart visits.arrive visits.start visits.pause"
    " visits.resume visits.cannot_complete visits.no_show records.edit records.save records.autosave records.finish"
    " records.reopen records.backup records.acknowledge_backup records.add_photo records.remove_photo"
    " records.signature_picture records.hand_over records.enter_customer_mode records.customer_sign records.completion"
    " records.complete records.correction records.correct reports.newest",
    CUSTOMER: "history.customer history.tickets history.ask",
    ASSET: "history.asset",
    PICTURE: "records.photo",
    REPORT: "reports.show",
    OFFICE: "accounts.people accounts.create_person accounts.person accounts.disable_person accounts.enable_person"
    " accounts.invite_person accounts.change_role accounts.new_person customers.edit_asset customers.edit_contact"
    " customers.edit_customer customers.edit_site customers.new_asset customers.new_contact customers.new_customer"
    " customers.new_site customers.show_import customers.upload_import customers.template customers.load_import"
    " customers.wrong_rows sync.show sync.retry sync.retry_all sync.skip tickets.desk.index tickets.desk.file_ticket"
    " tickets.desk.show tickets.desk.link tickets.desk.download tickets.desk.add_note tickets.desk.new dispatch.board"
    " dispatch.reviews dispatch.states dispatch.rows dispatch.export dispatch.customer_of dispatch.link_customer"
    " dispatch.plan_ticket dispatch.save_ticket_plan dispatch.cancel dispatch.plan_visit dispatch.save_visit_plan"
    " dispatch.take_back visits.cancel records.review records.sign_review exceptions.index exceptions.show"
    " exceptions.settle exceptions.issue_without exceptions.try_again devices.index devices.rescue_form"
    " devices.take_in devices.write_off news.index news.see news.see_all sync.mapping sync.probe sync.replace_word sync.take_back_word sync.want_check",
}
CLASS_OF = {endpoint: kind for kind, endpoints in CLASSES.items() for endpoint in endpoints.split()}


@pytest.fixture
def world(migrated: Path) -> Iterator[World]:
    built = the_world(migrated)
    with built.app.app_context():
        yield built


@pytest.fixture
def theirs(world: World) -> dict[str, list[str]]:
    """The keys of everything that belongs to wanglei and that liting never had to do with."""
    return belongings(world.people["wanglei"], world.people["liting"])


def belongings(owner: UUID, stranger: UUID) -> dict[str, list[str]]:
    his = select(Visit.id).where(or_(Visit.lead_id == owner, Visit.parent_id.in_(_visits_of(owner))))
    visited = select(Visit.customer_id).where(Visit.lead_id == stranger)
    elsewhere = select(Customer.id).where(Customer.id.not_in(visited))
    records = select(ServiceRecord.id).where(ServiceRecord.visit_id.in_(his))

    def keys(column: object, condition: object) -> list[str]:
        return [str(key) for key in db.session.scalars(select(column).where(condition))]  # type: ignore[call-overload]

    return {
        "visit_id": keys(Visit.id, Visit.id.in_(his)),
        "photo_id": keys(Photo.id, Photo.record_id.in_(records)),
        "report_id": keys(Report.id, Report.record_id.in_(records)),
        "customer_id": keys(Customer.id, Customer.id.in_(elsewhere)),
        "contact_id": keys(Contact.id, Contact.customer_id.in_(elsewhere)),
        "site_id": keys(Site.id, Site.customer_id.in_(elsewhere)),
        "asset_id": keys(Asset.id, Asset.customer_id.in_(elsewhere)),
    }


def _visits_of(owner: UUID):
    return select(Visit.id).where(Visit.lead_id == owner)


# ---- the matrix -------------------------------------------------------------------------------------


def test_x27_every_route_is_classified(world: World) -> None:
    routes = {rule.endpoint for rule in world.app.url_map.iter_rules()}

    assert routes - set(CLASS_OF) == set(), "say in CLASSES whose things these routes touch"
    assert set(CLASS_OF) - routes == set(), "these routes are gone"


def test_x27_the_classes_agree_with_the_declared_roles(world: World) -> None:
    for rule in world.app.url_map.iter_rules():
        access = world.app.view_functions[rule.endpoint].access
        kind = CLASS_OF[rule.endpoint]
        assert access.open == (kind == OPEN), rule.endpoint
        assert ("engineer" in access.roles) == (kind not in (OPEN, OFFICE)), rule.endpoint


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_x27_an_engineer_gets_nothing_of_another(world: World, theirs: dict[str, list[str]], method: str) -> None:
    assert all(theirs.values()), "the world has nothing to try for one of the keys"
    stranger = world.browser("liting")
    tried = 0
    with Tables(world) as tables:
        for rule in world.rules(method):
            if CLASS_OF[rule.endpoint] in (OPEN, SELF, LISTS, SESSION):
                continue
            for url in world.urls(rule, **theirs):
                answer = stranger.open(url, method=method, data=FORM if method == "POST" else None)
                wanted = (403,) if CLASS_OF[rule.endpoint] == OFFICE else (404,)
                assert answer.status_code in wanted, (method, url, rule.endpoint, answer.status_code)
                tried += 1
        assert not tables.touched(), "a refused request changed the database"
    assert tried > 100


# What would be valid of one's own, so that nothing is refused only for being empty.
FORM = {"reason": "break", "cause": "x", "content_text": "x", "revision": "1", "engineer_typed": "李婷"}


def test_x27_the_owner_sees_them(world: World, theirs: dict[str, list[str]]) -> None:
    """So the refusals above are for the person, not because nothing is there."""
    owner = world.browser("wanglei")
    for endpoint in ("today.visit", "history.customer", "history.asset", "records.photo", "reports.show"):
        rule = next(rule for rule in world.rules("GET") if rule.endpoint == endpoint)
        for url in world.urls(rule, **theirs):
            visible = owner.get(url).status_code
            assert visible == 200 or (endpoint == "today.visit" and visible == 404), url  # a draft is nobody's yet


def test_x27_lists_name_nothing_of_another(world: World, theirs: dict[str, list[str]]) -> None:
    stranger = world.browser("liting")
    for url in ("/", "/customers", "/customers?q=1001", "/customers?q=S-1001", "/customers?q=13900001001"):
        page = stranger.get(url).get_data(as_text=True)
        shown = [key for keys in theirs.values() for key in keys if key in page]
        assert shown == [], url
        assert "客户 1001" not in page, url


def test_x27_nobody_ends_the_log_in_of_another(world: World) -> None:
    stranger = world.browser("liting")
    with Tables(world) as tables:
        before = tables.contents()
        for key in world.keys["login_session_id"]:
            if key not in _sessions_of(world.people["liting"]):
                assert stranger.post(f"/account/devices/{key}/end").status_code == 404
        assert tables.contents() == before


def _sessions_of(user_id: UUID) -> list[str]:
    return [str(key) for key in db.session.scalars(select(LoginSession.id).where(LoginSession.user_id == user_id))]


def test_x27_a_handed_over_phone_shows_one_visit_only(world: World) -> None:
    customer = world.browser("handed over")
    (visit_id,) = world.keys["handed_over_visit"]
    allowed = {"records.hand_over", "records.photo", "records.signature_picture", "accounts.taking_back", "assets.show"}
    for rule in world.rules("GET"):
        if rule.endpoint in allowed or rule.endpoint.startswith("shell.") or CLASS_OF[rule.endpoint] == OFFICE:
            continue
        answer = customer.get(next(world.urls(rule)), buffered=True)
        if str(rule).startswith("/offline/"):  # for programs: they are told, not led
            assert answer.status_code == 409, str(rule)
            continue
        assert answer.status_code == 303, str(rule)
        assert answer.location == f"/visits/{visit_id}/hand-over", str(rule)
    others = [key for key in world.keys["visit_id"] if key != visit_id]
    for url in (f"/visits/{others[0]}/hand-over", f"/visits/{others[0]}/signatures/customer.png"):
        assert customer.get(url).status_code == 303


def test_x27_every_role_is_tried(world: World) -> None:
    roles = {
        role for rule in world.app.url_map.iter_rules() for role in world.app.view_functions[rule.endpoint].access.roles
    }

    assert roles == set(ROLES.values())
