"""What one printed report says, as plain values: strings, numbers, moments, and the bytes of pictures.

A document holds everything that the paper shows and nothing that can reach the database, so that it can travel
as JSON to the process that renders it, and so that the same document gives the same bytes tomorrow.
Words of the form (labels) are not in here: they come from ``labels.py`` in the document's language.
"""

from __future__ import annotations

import base64
import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

LOCALES = ("zh_Hans_CN", "zh_Hant_TW", "en")
SERVICE_KINDS = ("implementation", "maintenance", "remote")
OUTCOMES = ("", "all_done", "more_needed")
RATINGS = ("", "poor", "fair", "good")
PHOTO_KINDS = ("before", "after", "label", "document")
ROLES = ("backup_ack", "customer", "engineer", "manager")
SIGNED_METHODS = ("drawn", "typed", "remote")
METHODS = (*SIGNED_METHODS, "refused", "absent", "not_applicable", "pending")
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class BadDocument(ValueError):
    """The values do not make a report; a mistake of the program that built them, not of a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Who was served (F3) and whom to ask there."""

    name: str
    contact: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the work was done."""

    name: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """The device or product that was served."""

    model: str = ""
    serial: str = ""
    software_version: str = ""
    warranty_until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The hours of one visit. ``started_at`` and ``ended_at`` are F9; moments are aware, spans whole minutes."""

    started_at: datetime
    ended_at: datetime
    planned_start: datetime | None = None
    planned_end: datetime | None = None
    arrived_at: datetime | None = None
    travel_minutes: int | None = None
    work_minutes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part put in or taken out; ``number`` is the part number, ``serial`` that of the piece."""

    name: str
    number: str = ""
    serial: str = ""
    quantity: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """What is still to be done after this visit (F5), and why."""

    text: str
    cause: str = ""
    part: str = ""
    promised_by: str = ""
    due: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One picture at print size; ``kind`` is one of PHOTO_KINDS."""

    kind: str
    jpeg: bytes
    caption: str = ""
    taken_at: datetime | None = None

    def __post_init__(self) -> None:
        _one_of("photo kind", self.kind, PHOTO_KINDS)
        if not self.jpeg.startswith(JPEG):
            raise BadDocument("A photo of a report must be a JPEG.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One of the four places to sign (F6, F11, F13, F14).

    ``method`` says how it was filled: drawn (``png`` holds the picture), typed, remote; or why it is not:
    refused and absent with a ``reason``, not_applicable, pending (to be signed later, by hand or in the office).
    ``code`` is the short code of the content that was signed.
    """

    role: str
    method: str
    name: str = ""
    phone: str = ""
    signed_at: datetime | None = None
    reason: str = ""
    png: bytes = b""
    code: str = ""

    def __post_init__(self) -> None:
        _one_of("signature role", self.role, ROLES)
        _one_of("signature method", self.method, METHODS)
        if self.png and not self.png.startswith(PNG):
            raise BadDocument("The picture of a signature must be a PNG.")
        if self.method == "drawn" and not self.png:
            raise BadDocument("A drawn signature needs its picture.")
        if self.method in ("refused", "absent") and not self.reason:
            raise BadDocument("A signature that was not given needs its reason.")

    @property
    def given(self) -> bool:
        """True when somebody signed."""
        return self.method in SIGNED_METHODS


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that a correction changed; ``field`` is its label in the document's language."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """更正单: this document replaces revision ``of_revision`` of ``of_number``, which stays as it was signed."""

    of_number: str
    of_revision: int
    reason: str
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDocument:
    """One 客户服务记录表 with everything it says (requirements F1–F14). Raises BadDocument when it cannot be one.

    ``issued_at`` becomes the date inside the PDF; ``record_json`` is the canonical JSON of the signed record, attached
    to the PDF as ``record.json``; ``content_hash`` its SHA-256 in hex and ``short_code`` what people compare.
    ``clock_skew_minutes``: how far the phone's clock was ahead (+) or behind (−); 0 when it agreed.
    ``received_at``: when what it recorded reached the server, said when the clock did not agree.
    """

    company: str
    number: str
    revision: int
    locale: str
    timezone: str
    issued_at: datetime
    # -- the form
    customer: Customer
    times: Times
    service_kind: str
    service_content: str
    signatures: tuple[Signature, ...]
    outcome: str = ""
    outcome_text: str = ""
    backup_reminded: bool = False
    rating_skill: str = ""
    rating_attitude: str = ""
    remarks: str = ""
    contact_phone: str = ""
    # -- around the form
    ticket_number: str = ""
    engineers: tuple[str, ...] = ()
    site: Site = Site()
    asset: Asset = Asset()
    cause: str = ""
    solution: str = ""
    prevention: str = ""
    tools: str = ""
    parts: tuple[Part, ...] = ()
    open_items: tuple[OpenItem, ...] = ()
    photos: tuple[Photo, ...] = ()
    photos_pending: bool = False
    photos_lost: int = 0
    correction: Correction | None = None
    clock_skew_minutes: int = 0
    received_at: datetime | None = None
    # -- proof
    record_json: bytes = b"{}"
    content_hash: str = ""
    short_code: str = ""
    verify_url: str = ""

    def __post_init__(self) -> None:
        _one_of("language", self.locale, LOCALES)
        _one_of("service kind", self.service_kind, SERVICE_KINDS)
        _one_of("outcome", self.outcome, OUTCOMES)
        _one_of("rating", self.rating_skill, RATINGS)
        _one_of("rating", self.rating_attitude, RATINGS)
        roles = [signature.role for signature in self.signatures]
        if len(roles) != len(set(roles)):
            raise BadDocument("A report has one place for each signature.")
        if self.verify_url and not re.match(r"https?://[^\s]+\Z", self.verify_url):
            raise BadDocument("The address for checking a report must begin with https:// or http://.")
        _aware(self)

    def signature(self, role: str) -> Signature:
        """The place of ``role``; an empty one, still to be signed, when nobody has yet."""
        return next((each for each in self.signatures if each.role == role), Signature(role=role, method="pending"))

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def as_json(self) -> str:
        """The document as JSON text, keys sorted; pictures in base64."""
        return json.dumps(_plain(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ReportDocument:
        """The document that ``as_json`` wrote; raises BadDocument for anything else."""
        try:
            document = _typed(cls, json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise BadDocument(f"This is no report document: {error}") from error
        return typing.cast(ReportDocument, document)


# ---- checks --------------------------------------------------------------------------------------------


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadDocument(f"Unknown {what} {value!r}.")


def _aware(thing: Any) -> None:
    """Refuses moments without a zone anywhere in the document: the paper would say another hour elsewhere."""
    if isinstance(thing, datetime) and thing.utcoffset() is None:
        raise BadDocument("A report needs moments with their time zone.")
    if isinstance(thing, tuple):
        for each in thing:
            _aware(each)
    if is_dataclass(thing):
        for field in fields(thing):
            _aware(getattr(thing, field.name))


# ---- to JSON and back -------------------------------------------------------------------------------------


def _plain(thing: Any) -> Any:
    if is_dataclass(thing):
        return {field.name: _plain(getattr(thing, field.name)) for field in fields(thing)}
    if isinstance(thing, tuple):
        return [_plain(each) for each in thing]
    if isinstance(thing, bytes):
        return base64.b64encode(thing).decode("ascii")
    if isinstance(thing, date):  # a datetime is one too
        return thing.isoformat()
    return thing


def _typed(kind: Any, value: Any) -> Any:
    """``value`` as read from JSON, in the type that the field declares."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _typed(choices[0], value)
    if origin is tuple:
        return tuple(_typed(choices[0], each) for each in _checked(list, value))
    if is_dataclass(kind) and isinstance(kind, type):
        return _built(kind, _checked(dict, value))
    if kind is bytes:
        return base64.b64decode(_checked(str, value), validate=True)
    if kind in (datetime, date):
        return kind.fromisoformat(_checked(str, value))
    return _checked(kind, value)


def _built(kind: type, values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    return kind(**{name: _typed(hints[name], value) for name, value in values.items()})


def _checked(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not {kind.__name__}")
    return value
