"""What people give for a record, as plain values: the form, the ratings, signatures, photos that are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class PartLine:
    """One part as typed."""

    name: str
    serial: str = ""
    quantity: int = 1
    old_serial: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenLine:
    """One open item as typed."""

    text: str
    cause: str = ""
    part: str = ""
    promised_by: date | None = None


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The fields of the form as typed values; what is empty is simply not filled yet."""

    service_type: str | None = None
    customer_name: str = ""
    content_text: str = ""
    outcome: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    times_reason: str = ""
    remark: str = ""
    contact_phone: str = ""
    cause: str = ""
    solution: str = ""
    prevention: str = ""
    tools: str = ""
    parts: tuple[PartLine, ...] = ()
    open_items: tuple[OpenLine, ...] = ()
    solved_item_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """客户评价 (F7, F8) and the signer's phone (F12)."""

    skill_rating: str | None = None
    attitude_rating: str | None = None
    contact_phone: str = ""


@dataclass(frozen=True, kw_only=True)
class Given:
    """A signature as it was given, or the reason why it was not. ``strokes`` is the pad's JSON, kept as it came;
    ``at``: when, by the phone (else when the form was sent); ``evidence``: address and user agent at upload."""

    method: str
    name: str = ""
    phone: str = ""
    reason: str = ""
    strokes: str = ""
    at: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NamedPhoto:
    """A photo that the phone names in the record and uploads afterwards; ``sha256`` is that of the phone's bytes."""

    sha256: str
    size: int
    kind: str
    caption: str = ""
    taken_at: datetime | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a draft on the phone started from: the server's draft revision (None: there was none), and its fields."""

    revision: int | None = None
    filled: Filled | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the customer's screen displayed, as the phone wrote it down; ``matches``: the form that came says the same."""

    text: str
    matches: bool


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A record that was filled, shown, signed and finished on the phone, and came in one piece."""

    filled: Filled
    customer: Given
    evaluation: Evaluation
    engineer: Given
    photos: tuple[NamedPhoto, ...] = ()
    basis: Basis = Basis()
    shown: Shown | None = None
