"""Creating and changing customers, contacts, sites and assets.

Each change says which revision it was made from. When someone else saved meanwhile it is refused with what is
stored now, so that the page can show both and nothing typed is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select

from fieldapp import audit
from fieldapp.accounts.models import User
from fieldapp.customers.models import TIERS, Asset, Contact, Customer, Site
from fieldapp.errors import Invalid, NotAllowedNow, NotFound
from fieldapp.extensions import db, locked, operation
from fieldapp.i18n import _

T = TypeVar("T", Customer, Contact, Site, Asset)


@dataclass(frozen=True, kw_only=True)
class CustomerDetails:
    """All that people type about a customer (requirements S1, 客户报修: 客户名称, 公司电话)."""

    number: str
    name: str
    tier: str = "standard"
    phone: str = ""
    region: str = ""
    credit: str = ""
    special_needs: str = ""
    blackout: str = ""
    account_owner_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class ContactDetails:
    """All that people type about a contact (requirements S1: 联系人, 联系人手机, 联系人QQ)."""

    name: str
    mobile: str = ""
    phone: str = ""
    qq: str = ""
    wechat: str = ""
    email: str = ""
    role: str = ""
    language: str | None = None


@dataclass(frozen=True, kw_only=True)
class SiteDetails:
    """All that people type about a service site; coordinates in millionths of a degree."""

    name: str
    address: str
    access_notes: str = ""
    region: str = ""
    latitude_e6: int | None = None
    longitude_e6: int | None = None


@dataclass(frozen=True, kw_only=True)
class AssetDetails:
    """All that people type about an asset (requirements S1: 购买产品信息, 软件版本)."""

    model: str
    serial: str
    software_version: str = ""
    bought_on: date | None = None
    warranty_until: date | None = None
    config: str = ""
    site_id: UUID | None = None


Details = CustomerDetails | ContactDetails | SiteDetails | AssetDetails


class ChangedMeanwhile(NotAllowedNow):
    """Someone else saved while this person typed. ``stored`` holds the values that are there now, by field."""

    code = "changed_meanwhile"

    def __init__(self, sentence: str, *, revision: int, stored: dict[str, Any]) -> None:
        super().__init__(sentence)
        self.revision = revision
        self.stored = stored


# ---- new things ---------------------------------------------------------------------------------------


@operation
def add_customer(details: CustomerDetails, *, by: User | None) -> Customer:
    """A new customer (raises Invalid when the number is taken)."""
    _check_customer(details)
    return _added(Customer(**_values(details)), "customer", by)


@operation
def add_contact(customer_id: UUID, details: ContactDetails, *, by: User | None) -> Contact:
    """A new contact of a customer (raises NotFound)."""
    return _added(Contact(customer_id=_customer(customer_id).id, **_values(details)), "contact", by)


@operation
def add_site(customer_id: UUID, details: SiteDetails, *, by: User | None) -> Site:
    """A new service site of a customer (raises NotFound)."""
    return _added(Site(customer_id=_customer(customer_id).id, **_values(details)), "site", by)


@operation
def add_asset(customer_id: UUID, details: AssetDetails, *, by: User | None) -> Asset:
    """A new asset of a customer (raises NotFound; Invalid when the serial is taken or the site is another's)."""
    customer = _customer(customer_id)
    _check_asset(details, customer.id)
    return _added(Asset(customer_id=customer.id, **_values(details)), "asset", by)


# ---- changes ------------------------------------------------------------------------------------------


@operation
def change_customer(customer: Customer, details: CustomerDetails, *, revision: int, by: User | None) -> Customer:
    """Change a customer (raises ChangedMeanwhile, Invalid)."""
    _check_revision(locked(customer), details, revision)
    _check_customer(details, customer.id)
    return _changed(customer, details, "customer", by)


@operation
def change_contact(contact: Contact, details: ContactDetails, *, revision: int, by: User | None) -> Contact:
    """Change a contact (raises ChangedMeanwhile)."""
    _check_revision(locked(contact), details, revision)
    return _changed(contact, details, "contact", by)


@operation
def change_site(site: Site, details: SiteDetails, *, revision: int, by: User | None) -> Site:
    """Change a service site (raises ChangedMeanwhile)."""
    _check_revision(locked(site), details, revision)
    return _changed(site, details, "site", by)


@operation
def change_asset(asset: Asset, details: AssetDetails, *, revision: int, by: User | None) -> Asset:
    """Change an asset (raises ChangedMeanwhile, Invalid)."""
    _check_revision(locked(asset), details, revision)
    _check_asset(details, asset.customer_id, asset.id)
    return _changed(asset, details, "asset", by)


# ---- guards and what they share -----------------------------------------------------------------------


def _customer(customer_id: UUID) -> Customer:
    customer = db.session.get(Customer, customer_id)
    if customer is None:
        raise NotFound(_("This customer does not exist."))
    return customer


def _check_customer(details: CustomerDetails, own_id: UUID | None = None) -> None:
    if details.tier not in TIERS:
        raise Invalid(_("This tier does not exist."), fields={"tier": _("Choose one of the tiers.")})
    taken = db.session.scalar(select(Customer.id).where(Customer.number == details.number))
    if taken is not None and taken != own_id:
        sentence = _("Another customer has the number %(number)s.", number=details.number)
        raise Invalid(sentence, fields={"number": sentence})


def _check_asset(details: AssetDetails, customer_id: UUID, own_id: UUID | None = None) -> None:
    taken = db.session.scalar(select(Asset.id).where(Asset.serial == details.serial))
    if taken is not None and taken != own_id:
        sentence = _("Another device has the serial number %(serial)s.", serial=details.serial)
        raise Invalid(sentence, fields={"serial": sentence})
    if details.site_id is None:
        return
    if db.session.scalar(select(Site.customer_id).where(Site.id == details.site_id)) != customer_id:
        sentence = _("This site belongs to another customer.")
        raise Invalid(sentence, fields={"site_id": sentence})


def _check_revision(thing: T, details: Details, revision: int) -> None:
    if thing.revision == revision:
        return
    stored = {name: getattr(thing, name) for name in _values(details)}
    who = _last_writer(thing)
    sentence = (
        _("%(who)s saved this while you were typing.", who=who) if who else _("This was saved while you were typing.")
    )
    raise ChangedMeanwhile(sentence, revision=thing.revision, stored=stored)


def _last_writer(thing: T) -> str | None:
    entry = select(audit.AuditEntry.by).where(audit.AuditEntry.subject_id == str(thing.id))
    user_id = db.session.scalar(entry.order_by(audit.AuditEntry.seq.desc()).limit(1))
    return db.session.scalar(select(User.name).where(User.id == user_id)) if user_id else None


def _added(thing: T, kind: str, by: User | None) -> T:
    db.session.add(thing)
    db.session.flush()
    audit.record(f"{kind}.added", kind, thing.id, by=by.id if by else None)
    return thing


def _changed(thing: T, details: Details, kind: str, by: User | None) -> T:
    changed = [name for name, value in _values(details).items() if getattr(thing, name) != value]
    for name in changed:
        setattr(thing, name, getattr(details, name))
    if changed:
        db.session.flush()
        audit.record(f"{kind}.changed", kind, thing.id, by=by.id if by else None, fields=",".join(changed))
    return thing


def _values(details: Details) -> dict[str, Any]:
    return {each.name: getattr(details, each.name) for each in fields(details)}
