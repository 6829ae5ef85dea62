"""Reading the customer file: search by name, number, serial and phone; one customer, one asset.

Who may see what is decided by the steps above (an engineer by the visits); they hand it down as a ``Scope``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true, tuple_
from sqlalchemy.orm import joinedload

from fieldapp.customers.models import Asset, Contact, Customer, Site, squashed
from fieldapp.errors import NotFound
from fieldapp.extensions import db
from fieldapp.i18n import _

PAGE = 30
MOST_BEHIND = 200  # customers found through contacts and through assets, each
SURE_LENGTH = 6  # from here on what begins with the words is what was meant
LAST = "\U0010ffff"
COUNTRY = re.compile(r"^(\+|00)86(?=\d{5})")


@dataclass(frozen=True)
class Scope:
    """Conditions on customers, sites and assets; the default is everything."""

    customers: ColumnElement[bool] = field(default_factory=true)
    sites: ColumnElement[bool] = field(default_factory=true)
    assets: ColumnElement[bool] = field(default_factory=true)


EVERYTHING = Scope()


@dataclass(frozen=True)
class Hit:
    """A customer that was found, with the contacts and assets through which it was."""

    customer: Customer
    contacts: Sequence[Contact] = ()
    assets: Sequence[Asset] = ()


@dataclass(frozen=True)
class Found:
    """One page of a search. ``after`` is where the next page starts; ``too_many``: say more to see all."""

    hits: list[Hit]
    after: UUID | None
    too_many: bool = False


def search_key(query: str) -> str:
    """What is looked for: ``+86 139-0000 0001`` and ``１３９００００-0001`` are both ``13900000001``."""
    return COUNTRY.sub("", squashed(query))


def search(query: str, *, scope: Scope = EVERYTHING, after: UUID | None = None, limit: int = PAGE) -> Found:
    """Customers whose name, number or phone, contact or asset holds ``query``, by name; all when it is empty.

    A page reads one index in the order of names and stops when it is full (requirements S1, 客户报修).
    """
    key = search_key(query)
    if query.strip() and not key:
        return Found([], None)
    behind, too_many = _behind(key, scope) if key else ([], False)
    wanted = select(Customer).where(scope.customers, _named(key, behind), _after(after))
    customers = list(db.session.scalars(wanted.order_by(Customer.name, Customer.id).limit(limit + 1)))
    page = customers[:limit]
    return Found(_with_reasons(page, key, scope), page[-1].id if len(customers) > limit else None, too_many)


def customer_or_404(customer_id: UUID, scope: Scope = EVERYTHING) -> Customer:
    """The customer, when this person may see it (raises NotFound)."""
    customer = db.session.scalar(select(Customer).where(Customer.id == customer_id, scope.customers))
    if customer is None:
        raise NotFound(_("This customer does not exist, or it is not yours to see."))
    return customer


def contact_or_404(contact_id: UUID) -> Contact:
    """The contact with its customer (raises NotFound)."""
    query = select(Contact).where(Contact.id == contact_id).options(joinedload(Contact.customer))
    contact = db.session.scalar(query)
    if contact is None:
        raise NotFound(_("This contact does not exist."))
    return contact


def site_or_404(site_id: UUID) -> Site:
    """The service site with its customer (raises NotFound)."""
    site = db.session.scalar(select(Site).where(Site.id == site_id).options(joinedload(Site.customer)))
    if site is None:
        raise NotFound(_("This site does not exist."))
    return site


def asset_or_404(asset_id: UUID, scope: Scope = EVERYTHING) -> Asset:
    """The asset with its customer and site, when this person may see it (raises NotFound)."""
    query = select(Asset).where(Asset.id == asset_id, scope.assets)
    asset = db.session.scalar(
        query.options(joinedload(Asset.customer), joinedload(Asset.site), joinedload(Asset.parent))
    )
    if asset is None:
        raise NotFound(_("This device does not exist, or it is not yours to see."))
    return asset


def contacts_of(customer: Customer, limit: int = 100) -> list[Contact]:
    """The contacts of a customer by name."""
    query = select(Contact).where(Contact.customer_id == customer.id)
    return list(db.session.scalars(query.order_by(Contact.name, Contact.id).limit(limit)))


def sites_of(customer: Customer, scope: Scope = EVERYTHING, limit: int = 100) -> list[Site]:
    """The service sites of a customer by name."""
    query = select(Site).where(Site.customer_id == customer.id, scope.sites)
    return list(db.session.scalars(query.order_by(Site.name, Site.id).limit(limit)))


def assets_of(
    customer: Customer, scope: Scope = EVERYTHING, *, after: UUID | None = None, limit: int = PAGE
) -> tuple[list[Asset], UUID | None]:
    """One page of a customer's assets by model, and where the next page starts."""
    query = select(Asset).where(Asset.customer_id == customer.id, scope.assets)
    last = db.session.execute(select(Asset.model, Asset.id).where(Asset.id == after)).first() if after else None
    if last:
        query = query.where(Asset.model >= last.model, tuple_(Asset.model, Asset.id) > (last.model, last.id))
    query = query.options(joinedload(Asset.site)).order_by(Asset.model, Asset.id)
    assets = list(db.session.scalars(query.limit(limit + 1)))
    page = assets[:limit]
    return page, page[-1].id if len(assets) > limit else None


# ---- how a search finds ---------------------------------------------------------------------------------


def _named(key: str, behind: Sequence[UUID]) -> ColumnElement[bool]:
    if not key:
        return true()
    return or_(_contains(Customer.search_text, key), Customer.id.in_(behind) if behind else false())


def _after(customer_id: UUID | None) -> ColumnElement[bool]:
    """What follows a customer in the order of the list; an unknown one is no bound."""
    if customer_id is None:
        return true()
    name = db.session.scalar(select(Customer.name).where(Customer.id == customer_id))
    if name is None:
        return true()
    return and_(Customer.name >= name, tuple_(Customer.name, Customer.id) > (name, customer_id))


def _behind(key: str, scope: Scope) -> tuple[list[UUID], bool]:
    """Customers whose contacts or assets fit, and whether there are more of them than we look at."""
    if len(key) >= SURE_LENGTH and (found := _through(key, scope, _begins))[0]:
        return found
    return _through(key, scope, _contains)


def _through(key: str, scope: Scope, fits: Any) -> tuple[list[UUID], bool]:
    contacts = _customer_ids(select(Contact.customer_id).where(fits(Contact.search_text, key)), Contact, scope)
    assets = []
    if key.isascii():  # what stands on a type plate
        query = select(Asset.customer_id).where(fits(Asset.search_text, key), scope.assets)
        assets = _customer_ids(query, Asset, scope)
    too_many = max(len(contacts), len(assets)) > MOST_BEHIND
    return list({*contacts[:MOST_BEHIND], *assets[:MOST_BEHIND]}), too_many


def _customer_ids(query: Select[Any], thing: type[Contact] | type[Asset], scope: Scope) -> list[UUID]:
    if scope is not EVERYTHING:
        query = query.where(thing.customer_id.in_(select(Customer.id).where(scope.customers)))
    # The rows are cut off before they are made distinct: so the narrow index is read, not the table by customers.
    first = query.limit(10 * MOST_BEHIND).subquery()
    return list(db.session.scalars(select(first.c.customer_id).distinct().limit(MOST_BEHIND + 1)))


def _begins(column: Any, key: str) -> ColumnElement[bool]:
    return and_(column >= key, column < key + LAST)


def _contains(column: Any, key: str) -> ColumnElement[bool]:
    """Both sides are squashed, so bytes are compared: several times faster than LIKE with Chinese text."""
    place = func.instr if db.session.get_bind().dialect.name == "sqlite" else func.strpos
    found: ColumnElement[bool] = place(column, key) > 0
    return found


def _with_reasons(customers: list[Customer], key: str, scope: Scope) -> list[Hit]:
    if not key or not customers:
        return [Hit(customer) for customer in customers]
    ids = [customer.id for customer in customers]
    contacts = _reasons(select(Contact).where(Contact.customer_id.in_(ids), _contains(Contact.search_text, key)))
    query = select(Asset).where(Asset.customer_id.in_(ids), _contains(Asset.search_text, key), scope.assets)
    assets = _reasons(query)
    return [Hit(each, contacts.get(each.id, ())[:3], assets.get(each.id, ())[:5]) for each in customers]


def _reasons(query: Select[Any]) -> dict[UUID, Any]:
    found: dict[UUID, list[Any]] = {}
    for thing in db.session.scalars(query.limit(MOST_BEHIND)):
        found.setdefault(thing.customer_id, []).append(thing)
    return found
