"""The customer file: customer, contacts, service sites, assets (设备/产品)."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from fieldapp import clock
from fieldapp.extensions import Base, Keyed

TIERS = ("standard", "enterprise", "vip", "key_account")  # 普通 / 企业 / VIP / 大客户


class Customer(Keyed, Base):
    """A company or person we serve. ``number`` is the key in the ticket store and in imports."""

    __tablename__ = "customer"

    number: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(160), index=True)
    tier: Mapped[str] = mapped_column(String(20), default="standard")
    phone: Mapped[str] = mapped_column(String(40), default="", index=True)
    region: Mapped[str] = mapped_column(String(60), default="")
    credit: Mapped[str] = mapped_column(String(20), default="")
    special_needs: Mapped[str] = mapped_column(Text, default="")
    blackout: Mapped[str] = mapped_column(Text, default="")
    account_owner_id: Mapped[UUID | None] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime] = mapped_column(default=clock.now)
    revision: Mapped[int] = mapped_column(default=1)

    contacts: Mapped[list[Contact]] = relationship(back_populates="customer", order_by="Contact.name")
    sites: Mapped[list[Site]] = relationship(back_populates="customer", order_by="Site.name")
    assets: Mapped[list[Asset]] = relationship(back_populates="customer", order_by="Asset.model")

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012 - SQLAlchemy's own spelling


class Contact(Keyed, Base):
    """A person at the customer's."""

    __tablename__ = "contact"

    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customer.id"), index=True)
    name: Mapped[str] = mapped_column(String(80), index=True)
    mobile: Mapped[str] = mapped_column(String(40), default="", index=True)
    phone: Mapped[str] = mapped_column(String(40), default="")
    qq: Mapped[str] = mapped_column(String(40), default="")
    wechat: Mapped[str] = mapped_column(String(60), default="")
    email: Mapped[str] = mapped_column(String(160), default="")
    role: Mapped[str] = mapped_column(String(60), default="")
    language: Mapped[str | None] = mapped_column(String(12))

    customer: Mapped[Customer] = relationship(back_populates="contacts")

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

    customer: Mapped[Customer] = relationship(back_populates="sites")


class Asset(Keyed, Base):
    """A device or software product at a customer's, with its warranty and version."""

    __tablename__ = "asset"
    __table_args__ = (Index("ix_asset_customer_id_model", "customer_id", "model"),)

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

    customer: Mapped[Customer] = relationship(back_populates="assets")
    site: Mapped[Site | None] = relationship()
    parent: Mapped[Asset | None] = relationship(remote_side="Asset.id")

    def in_warranty(self, day: date) -> bool | None:
        """保内/保外 on that day; None when no warranty date is known."""
        return None if self.warranty_until is None else day <= self.warranty_until
