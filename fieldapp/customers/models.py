"""The customer file: customer, contacts, service sites, assets (设备/产品)."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from fieldapp import clock
from fieldapp.extensions import Base, Keyed

TIERS = ("standard", "enterprise", "vip", "key_account")  # 普通 / 企业 / VIP / 大客户
SEPARATORS = re.compile(r"[\s\-‐‑–—_.·/()\[\]|]+")
PHONE = re.compile(r"\+?[\d\s\-–—()（）·.]{3,30}((转|轉|ext\.?|#|,)\s*\d{1,6})?", re.IGNORECASE)
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# Ranges of text must mean the same on every engine, so that "begins with" is a range of the index.
SearchText = Text().with_variant(Text(collation="C"), "postgresql")


def squashed(text: str) -> str:
    """Text as it is searched: full-width as half-width, small letters, without spaces, dashes and brackets."""
    return SEPARATORS.sub("", unicodedata.normalize("NFKC", text).lower())


def dialable(phone: str) -> str:
    """A phone number for ``tel:``, digits with a leading plus at most; an extension (转 / ext) becomes a pause."""
    main, *extension = re.split(r"转|轉|ext\.?|#|,", unicodedata.normalize("NFKC", phone).lower(), maxsplit=1)
    number = ("+" if main.strip().startswith("+") else "") + re.sub(r"\D", "", main)
    inner = re.sub(r"\D", "", extension[0]) if extension else ""
    return f"{number},{inner}" if number.strip("+") and inner else number


def is_phone(text: str) -> bool:
    """Whether this can be dialled: digits with spaces, dashes or brackets, and perhaps an extension."""
    return bool(PHONE.fullmatch(text)) and sum(letter.isdigit() for letter in text) >= 3


def is_email(text: str) -> bool:
    """Whether this looks like an e-mail address."""
    return bool(EMAIL.fullmatch(text))


def millionths(value: Decimal | None) -> int | None:
    """Degrees as whole millionths."""
    return None if value is None else round(value * 1_000_000)


def degrees(value: int | None) -> Decimal | None:
    """Whole millionths as degrees."""
    return None if value is None else Decimal(value) / 1_000_000


def search_text_of(*names: str) -> Any:
    """Default of a ``search_text`` column for rows that are inserted without building the object."""

    def build(context: DefaultExecutionContext) -> str:
        given = context.get_current_parameters()
        return "|".join(squashed(given.get(name) or "") for name in names)

    return build


class Customer(Keyed, Base):
    """A company or person we serve. ``number`` is the key in the ticket store and in imports."""

    __tablename__ = "customer"
    __table_args__ = (Index("ix_customer_name_id_search_text", "name", "id", "search_text"),)

    number: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(160))
    tier: Mapped[str] = mapped_column(String(20), default="standard")
    phone: Mapped[str] = mapped_column(String(40), default="")
    region: Mapped[str] = mapped_column(String(60), default="")
    credit: Mapped[str] = mapped_column(String(20), default="")
    special_needs: Mapped[str] = mapped_column(Text, default="")
    blackout: Mapped[str] = mapped_column(Text, default="")
    account_owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    search_text: Mapped[str] = mapped_column(SearchText, default=search_text_of("number", "phone", "name"))
    revision: Mapped[int] = mapped_column(default=1)

    contacts: Mapped[list[Contact]] = relationship(back_populates="customer", order_by="Contact.name")
    sites: Mapped[list[Site]] = relationship(back_populates="customer", order_by="Site.name")
    assets: Mapped[list[Asset]] = relationship(back_populates="customer", order_by="Asset.model")

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's own spelling

    @validates("number", "phone", "name")
    def _searched(self, name: str, value: str) -> str:
        self.search_text = _search_text(self, ("number", "phone", "name"), {name: value})
        return value


class Contact(Keyed, Base):
    """A person at the customer's."""

    __tablename__ = "contact"
    __table_args__ = (Index("ix_contact_search_text_customer_id", "search_text", "customer_id"),)

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    mobile: Mapped[str] = mapped_column(String(40), default="")
    phone: Mapped[str] = mapped_column(String(40), default="")
    qq: Mapped[str] = mapped_column(String(40), default="")
    wechat: Mapped[str] = mapped_column(String(60), default="")
    email: Mapped[str] = mapped_column(String(160), default="")
    role: Mapped[str] = mapped_column(String(60), default="")
    language: Mapped[str | None] = mapped_column(String(12))
    search_text: Mapped[str] = mapped_column(SearchText, default=search_text_of("mobile", "phone", "name"))
    revision: Mapped[int] = mapped_column(default=1)

    customer: Mapped[Customer] = relationship(back_populates="contacts")

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's own spelling

    @validates("mobile", "phone", "name")
    def _searched(self, name: str, value: str) -> str:
        self.search_text = _search_text(self, ("mobile", "phone", "name"), {name: value})
        return value

    @property
    def reach(self) -> str:
        """The number to call first."""
        return self.mobile or self.phone


class Site(Keyed, Base):
    """A place where we serve. Coordinates are whole millionths of a degree (WGS 84)."""

    __tablename__ = "site"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    address: Mapped[str] = mapped_column(String(240))
    latitude_e6: Mapped[int | None]
    longitude_e6: Mapped[int | None]
    access_notes: Mapped[str] = mapped_column(Text, default="")
    region: Mapped[str] = mapped_column(String(60), default="")
    revision: Mapped[int] = mapped_column(default=1)

    customer: Mapped[Customer] = relationship(back_populates="sites")

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's own spelling


class Asset(Keyed, Base):
    """A device or software product at a customer's, with its warranty and version."""

    __tablename__ = "asset"
    __table_args__ = (
        Index("ix_asset_customer_id_model", "customer_id", "model"),
        Index("ix_asset_search_text_customer_id", "search_text", "customer_id"),
    )

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"))
    site_id: Mapped[UUID | None] = mapped_column(ForeignKey("site.id"), index=True)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("asset.id"))
    model: Mapped[str] = mapped_column(String(120))
    serial: Mapped[str] = mapped_column(String(80), unique=True)
    software_version: Mapped[str] = mapped_column(String(60), default="")
    bought_on: Mapped[date | None]
    warranty_until: Mapped[date | None]
    config: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    search_text: Mapped[str] = mapped_column(SearchText, default=search_text_of("serial"))
    revision: Mapped[int] = mapped_column(default=1)

    customer: Mapped[Customer] = relationship(back_populates="assets")
    site: Mapped[Site | None] = relationship()
    parent: Mapped[Asset | None] = relationship(remote_side="Asset.id")

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's own spelling

    @validates("serial")
    def _searched(self, name: str, value: str) -> str:
        self.search_text = _search_text(self, ("serial",), {name: value})
        return value

    def in_warranty(self, day: date) -> bool | None:
        """保内/保外 on that day; None when no warranty date is known."""
        return None if self.warranty_until is None else day <= self.warranty_until


def _search_text(thing: Base, names: tuple[str, ...], coming: dict[str, str]) -> str:
    return "|".join(squashed(coming[name] if name in coming else getattr(thing, name) or "") for name in names)
