"""Creating and changing customers, contacts, sites and assets through the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.datastructures import MultiDict

from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.customers import operations
from fieldapp.customers.forms import AssetForm, ContactForm, CustomerForm, SiteForm
from fieldapp.customers.models import Asset, Contact, Customer, Site
from fieldapp.customers.operations import AssetDetails, CustomerDetails, SiteDetails
from fieldapp.errors import Invalid, NotFound
from fieldapp.extensions import db, uuid7
from tests.conftest import add

LogIn = Callable[[User], FlaskClient]
NEW_CUSTOMER = {
    "name": "宁波示范港务集团",
    "number": "Ｃ－3001".replace("－", "-"),
    "tier": "vip",
    "phone": "0574 1234567",
}
NEW_ASSET = {"model": "ZW-1000", "serial": "NB-1", "bought_on": "2025-01-10", "warranty_until": "2028-01-09"}


@pytest.fixture
def desk(logged_in: LogIn, dispatcher: User) -> FlaskClient:
    """The dispatcher's browser."""
    return logged_in(dispatcher)


def edit(thing: Customer | Contact | Site | Asset) -> str:
    """Address of the form of a thing."""
    kind = {Customer: "customers", Contact: "contacts", Site: "sites", Asset: "customers/assets"}[type(thing)]
    return f"/{kind}/{thing.id}/edit"


def as_typed(desk: FlaskClient, thing: Customer | Contact | Site | Asset, **changes: str) -> dict[str, str]:
    """What a desk sends when a person changes some fields of a form."""
    form_class = {Customer: CustomerForm, Contact: ContactForm, Site: SiteForm, Asset: AssetForm}[type(thing)]
    typed = {}
    for name in form_class()._fields:
        value = getattr(thing, name, None)
        typed[name] = "" if value is None else str(value)
    return {**typed, "revision": str(thing.revision), **changes}


def fresh(thing: Any) -> Any:
    """The thing as it is stored now."""
    db.session.expire_all()
    return db.session.get(type(thing), thing.id)


# ---- new ------------------------------------------------------------------------------------------------------


def test_a_new_customer_is_made_and_shown(desk: FlaskClient, dispatcher: User) -> None:
    answer = desk.post("/customers/new", data=NEW_CUSTOMER)

    customer = db.session.scalars(select(Customer)).one()
    assert (answer.status_code, answer.location) == (303, f"/customers/{customer.id}")
    assert (customer.number, customer.tier, customer.revision) == ("C-3001", "vip", 1)
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "customer.added")).one()
    assert (entry.subject_id, entry.by) == (str(customer.id), dispatcher.id)


def test_the_same_form_sent_twice_makes_one_customer(desk: FlaskClient) -> None:
    form = {**NEW_CUSTOMER, "submission_id": str(uuid7())}

    first, second = desk.post("/customers/new", data=form), desk.post("/customers/new", data=form)

    assert first.location == second.location
    assert db.session.scalar(select(func.count()).select_from(Customer)) == 1


def test_contact_site_and_asset_are_added_to_a_customer(desk: FlaskClient, customer: Customer) -> None:
    home = f"/customers/{customer.id}"
    desk.post(f"{home}/contacts", data={"name": "周敏", "mobile": "１３８００００２００１", "qq": "10001"})
    desk.post(f"{home}/sites", data={"name": "仓库", "address": "示例路9号", "latitude": "31.2", "longitude": "121.5"})
    site = db.session.scalars(select(Site).where(Site.name == "仓库")).one()
    answer = desk.post(f"{home}/assets", data={**NEW_ASSET, "site_id": str(site.id)})

    asset = db.session.scalars(select(Asset)).one()
    contact = db.session.scalars(select(Contact).where(Contact.name == "周敏")).one()
    assert contact.mobile == "13800002001"
    assert (site.latitude_e6, site.longitude_e6) == (31200000, 121500000)
    assert (asset.site_id, asset.bought_on, answer.location) == (site.id, date(2025, 1, 10), f"/assets/{asset.id}")


@pytest.mark.parametrize("page", ["contacts", "sites", "assets", "edit"])
def test_every_form_is_shown(desk: FlaskClient, customer: Customer, page: str) -> None:
    answer = desk.get(f"/customers/{customer.id}/{page}")

    assert answer.status_code == 200
    assert customer.name in answer.text


def test_the_form_of_a_new_customer_is_shown(desk: FlaskClient) -> None:
    assert "New customer" in desk.get("/customers/new").text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "  "}, "Say the customer"),
        ({"number": ""}, "Give the customer a number."),
        ({"number": "C-1001"}, "Another customer has the number C-1001."),
        ({"phone": "call me"}, "Write a phone number with digits"),
        ({"tier": "emperor"}, "Choose one from the list."),
        ({"name": "名" * 161}, "Write at most 160 characters."),
        ({"account_owner_id": "nobody"}, "Choose one from the list."),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    desk: FlaskClient, customer: Customer, changes: dict[str, str], sentence: str
) -> None:
    answer = desk.post("/customers/new", data={**NEW_CUSTOMER, "region": "浙江", **changes})

    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'value="浙江"' in answer.text
    assert db.session.scalar(select(func.count()).select_from(Customer)) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"serial": "ZW3000-0001"}, "Another device has the serial number ZW3000-0001."),
        ({"bought_on": "yesterday"}, "Write the day as year-month-day"),
        ({"warranty_until": "2024-01-01"}, "The warranty cannot end before the day of purchase."),
        ({"model": ""}, "Say the model."),
        ({"site_id": "not-a-site"}, "Choose one from the list."),
    ],
)
def test_wrong_assets_are_not_made(desk: FlaskClient, asset: Asset, changes: dict[str, str], sentence: str) -> None:
    answer = desk.post(f"/customers/{asset.customer_id}/assets", data={**NEW_ASSET, **changes})

    assert answer.status_code == 422
    assert sentence in answer.text
    assert db.session.scalar(select(func.count()).select_from(Asset)) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"latitude": "91"}, "Write degrees from -90 to 90"),
        ({"longitude": "NaN"}, "Write degrees from -180 to 180"),
        ({"latitude": "north"}, "Write a number"),
        ({"address": ""}, "Say the address."),
    ],
)
def test_wrong_sites_are_not_made(
    desk: FlaskClient, customer: Customer, changes: dict[str, str], sentence: str
) -> None:
    answer = desk.post(f"/customers/{customer.id}/sites", data={"name": "x", "address": "y", **changes})

    assert answer.status_code == 422
    assert sentence in answer.text


def test_an_address_without_at_is_no_email(desk: FlaskClient, customer: Customer) -> None:
    answer = desk.post(f"/customers/{customer.id}/contacts", data={"name": "周", "email": "zhou.example.com"})

    assert answer.status_code == 422
    assert "with @" in answer.text


# ---- changes --------------------------------------------------------------------------------------------------


def test_a_change_is_saved_with_the_names_of_the_fields_in_the_audit(
    desk: FlaskClient, customer: Customer, manager: User
) -> None:
    typed = as_typed(desk, customer, tier="vip", account_owner_id=str(manager.id))

    answer = desk.post(edit(customer), data=typed)

    assert (answer.status_code, answer.location) == (303, f"/customers/{customer.id}")
    stored = fresh(customer)
    assert (stored.tier, stored.account_owner_id, stored.revision) == ("vip", manager.id, 2)
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "customer.changed")).one()
    assert entry.facts == {"fields": "tier,account_owner_id"}


def test_saving_without_a_change_changes_nothing(desk: FlaskClient, customer: Customer) -> None:
    desk.post(edit(customer), data=as_typed(desk, customer))

    assert fresh(customer).revision == 1
    assert db.session.scalars(select(AuditEntry).where(AuditEntry.subject_id == str(customer.id))).all() == []


def test_contact_site_and_asset_can_be_changed(desk: FlaskClient, asset: Asset, customer: Customer) -> None:
    contact, site = customer.contacts[0], customer.sites[0]

    desk.post(edit(contact), data=as_typed(desk, contact, wechat="chenxiao", language="en"))
    desk.post(edit(site), data=as_typed(desk, site, access_notes="南门\r\n登记", latitude="31.2"))
    desk.post(edit(asset), data=as_typed(desk, asset, software_version="V6", config="a\r\nb"))

    assert (fresh(contact).wechat, fresh(contact).language) == ("chenxiao", "en")
    assert (fresh(site).access_notes, fresh(site).latitude_e6) == ("南门\n登记", 31200000)
    assert (fresh(asset).software_version, fresh(asset).config) == ("V6", "a\nb")


@pytest.mark.parametrize("which", ["customer", "contact", "site", "asset"])
def test_when_someone_else_saved_meanwhile_both_are_shown(
    desk: FlaskClient, asset: Asset, customer: Customer, manager: User, which: str
) -> None:
    things = {"customer": customer, "contact": customer.contacts[0], "site": customer.sites[0], "asset": asset}
    field = {"customer": "region", "contact": "role", "site": "region", "asset": "software_version"}[which]
    thing = things[which]
    typed = as_typed(desk, thing, **{field: "mine"})
    desk.post(edit(thing), data=as_typed(desk, thing, **{field: "theirs"}))

    answer = desk.post(edit(thing), data=typed)

    assert answer.status_code == 409
    assert "赵敏 saved this while you were typing." in answer.text
    assert "Stored meanwhile: theirs" in answer.text
    assert 'value="mine"' in answer.text
    assert getattr(fresh(thing), field) == "theirs"

    again = desk.post(edit(thing), data={**typed, "revision": str(fresh(thing).revision)})

    assert again.status_code == 303
    assert getattr(fresh(thing), field) == "mine"


def test_choices_and_empty_values_are_compared_in_words(desk: FlaskClient, customer: Customer) -> None:
    site = customer.sites[0]
    typed_customer, typed_site = as_typed(desk, customer, tier="standard"), as_typed(desk, site, latitude="31.2")
    desk.post(edit(customer), data=as_typed(desk, customer, tier="key_account"))
    desk.post(edit(site), data=as_typed(desk, site, region="x"))

    assert "Stored meanwhile: Key account" in desk.post(edit(customer), data=typed_customer).text
    assert "Stored meanwhile: –" in desk.post(edit(site), data=typed_site).text


@pytest.mark.parametrize("revision", ["", "abc", "99999999999999999999"])
def test_a_form_of_no_known_revision_overwrites_nothing(desk: FlaskClient, customer: Customer, revision: str) -> None:
    answer = desk.post(edit(customer), data=as_typed(desk, customer, region="x", revision=revision))

    assert answer.status_code == 409
    assert "This was saved while you were typing." in answer.text
    assert fresh(customer).region == ""


def test_a_change_to_a_number_that_is_taken_is_refused(desk: FlaskClient, customer: Customer) -> None:
    add(Customer(number="C-2", name="另一家"))

    answer = desk.post(edit(customer), data=as_typed(desk, customer, number="C-2"))

    assert answer.status_code == 422
    assert "Another customer has the number C-2." in answer.text
    assert fresh(customer).number == "C-1001"


def test_a_wrong_change_keeps_what_was_typed(desk: FlaskClient, customer: Customer) -> None:
    answer = desk.post(edit(customer), data=as_typed(desk, customer, name="", region="浙江"))

    assert answer.status_code == 422
    assert 'value="浙江"' in answer.text


# ---- who may, and what there is ---------------------------------------------------------------------------------


def test_engineers_change_nothing_in_the_customer_file(logged_in: LogIn, engineer: User, asset: Asset) -> None:
    desk = logged_in(engineer)
    home = f"/customers/{asset.customer_id}"

    for path in ("/customers/new", f"{home}/edit", f"{home}/contacts", edit(asset), "/customers/import"):
        assert desk.get(path).status_code == 403
        assert desk.post(path, data={}).status_code == 403


@pytest.mark.parametrize("kind", ["customers", "contacts", "sites", "customers/assets"])
def test_what_does_not_exist_is_not_found(desk: FlaskClient, kind: str) -> None:
    assert desk.get(f"/{kind}/{uuid7()}/edit").status_code == 404


@pytest.mark.usefixtures("app")
def test_operations_guard_what_the_form_cannot_send(customer: Customer, dispatcher: User) -> None:
    other = Customer(number="C-9", name="另一家")
    other.sites.append(Site(name="别处", address="别处"))
    add(other)

    with pytest.raises(Invalid, match="tier"):
        operations.add_customer(CustomerDetails(number="C-8", name="x", tier="emperor"), by=dispatcher)
    details = AssetDetails(model="x", serial="y", site_id=other.sites[0].id)
    with pytest.raises(Invalid, match="another customer"):
        operations.add_asset(customer.id, details, by=dispatcher)
    with pytest.raises(NotFound):
        operations.add_site(UUID(int=0), SiteDetails(name="x", address="y"), by=dispatcher)


@pytest.mark.usefixtures("app")
def test_a_form_gives_empty_choices_as_nothing() -> None:
    form = ContactForm(MultiDict({"name": " 陈 ", "language": ""}))

    assert (form.values()["name"], form.values()["language"]) == ("陈", None)
