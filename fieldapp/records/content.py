"""What is signed: the record as canonical JSON (RFC 8785) with strings, whole numbers and truth values only.

The customer signs this content, not a PDF: the paper is made from it later, and can be made again.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from typing import Any
from uuid import UUID

import rfc8785
from sqlalchemy import select

from fieldapp.extensions import db, settings
from fieldapp.records.models import OpenItem, PartUse, Photo, ServiceRecord
from fieldapp.visits.models import Visit

FORM_VERSION = "1"
CONSENTS = {
    # the sentence above each signature place; its text's hash is kept with the signature
    "backup_ack/1": "已提醒客户备份账套! 本人确认在数据操作前已收到备份提醒。",
    "customer/1": "本人已阅读以上服务内容与完成情况,确认属实。",
    "engineer/1": "本人确认以上服务记录属实。",
    "manager/1": "本人已审核本服务记录。",
    "correction/1": "本人已阅读更正内容与更正原因,确认知悉。",
}


def canonical(record: ServiceRecord) -> bytes:
    """The record's content as the bytes that are hashed and kept."""
    return rfc8785.dumps(content_of(record))


def with_opinion(record: ServiceRecord) -> bytes:
    """What was frozen and shown to the customer, with what they add to it (F7, F8, F12). Nothing else is read anew: the
    customer file may have changed while they held the phone, and they sign what they saw."""
    added = {
        "skill_rating": record.skill_rating or "",
        "attitude_rating": record.attitude_rating or "",
        "contact_phone": record.contact_phone,
    }
    return rfc8785.dumps({**record.frozen_content, **added})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def consent_hash(consent_id: str) -> str:
    """The hash of the sentence that stood above the signature."""
    return sha256(CONSENTS[consent_id].encode())


def canonical_backup(record: ServiceRecord) -> bytes:
    """What the customer acknowledges before work on data: the reminder, for this record of this visit."""
    statement = {"statement": CONSENTS["backup_ack/1"], "visit": str(record.visit_id), "number": record.number}
    return rfc8785.dumps(statement)


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(field, before, after) for what a correction changed, as text; the frame around the fields is left out."""
    frame = ("form_version", "revision", "correction", "visit", "company", "timezone", "backup", "solved_items")
    names = [name for name in after if name not in frame and before.get(name) != after[name]]
    return [(name, _as_text(before.get(name, "")), _as_text(after[name])) for name in names]


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(_as_text(each) for each in value)
    if isinstance(value, dict):
        subject_first = sorted(value.items(), key=lambda pair: pair[0] not in ("text", "name"))
        return " · ".join(str(each) for _name, each in subject_first if each not in ("", None))
    return str(value)


def content_of(record: ServiceRecord) -> dict[str, Any]:
    """The record's content as plain values; field names follow the printed form (requirements §7)."""
    visit = record.visit
    return {
        "form_version": FORM_VERSION,
        "number": record.number,
        "revision": record.revision,
        "company": settings.company,
        "timezone": settings.timezone,
        "correction": _correction(record),
        "visit": _visit(visit),
        "customer": _customer(record),
        "service_type": record.service_type or "",
        "content": record.content_text,
        "outcome": record.outcome or "",
        "open_items": [_open_item(item) for item in record.open_items],
        "solved_items": [item.text for item in solved_items(record)],
        "backup": _backup(record),
        "skill_rating": record.skill_rating or "",
        "attitude_rating": record.attitude_rating or "",
        "started_at": _moment(record.started_at),
        "ended_at": _moment(record.ended_at),
        "times_reason": record.times_reason,
        "remark": record.remark,
        "contact_phone": record.contact_phone,
        "cause": record.cause,
        "solution": record.solution,
        "prevention": record.prevention,
        "tools": record.tools,
        "parts": [_part(part) for part in record.parts],
        "photos": [_photo(photo) for photo in record.origin.photos if photo.removed_at is None or photo.given_up],
    }


def solved_items(record: ServiceRecord) -> list[OpenItem]:
    """The open items of earlier visits that the engineer ticked as solved."""
    keys = [UUID(text) for text in record.solved_item_ids or []]
    return list(db.session.scalars(select(OpenItem).where(OpenItem.id.in_(keys)).order_by(OpenItem.id))) if keys else []


def _correction(record: ServiceRecord) -> dict[str, Any] | None:
    if record.corrects is None:
        return None
    corrected = record.corrects
    return {
        "corrects_revision": corrected.revision,
        "corrects_hash": corrected.content_hash or "",
        "reason": record.correction_reason,
    }


def _visit(visit: Visit) -> dict[str, Any]:
    asset, site = visit.asset, visit.site
    return {
        "id": str(visit.id),
        "ticket": visit.ticket.number,
        "kind": visit.kind,
        "window_start": _moment(visit.window_start),
        "window_end": _moment(visit.window_end),
        "departed_at": _moment(visit.departed_at),
        "arrived_at": _moment(visit.arrived_at),
        "engineer": visit.lead.name if visit.lead else "",
        "site": {"name": site.name, "address": site.address} if site else None,
        "asset": {
            "model": asset.model,
            "serial": asset.serial,
            "software_version": asset.software_version,
            "warranty_until": _day(asset.warranty_until),
        }
        if asset
        else None,
    }


def _customer(record: ServiceRecord) -> dict[str, Any]:
    visit = record.visit
    contact = visit.contact
    return {
        "number": visit.customer.number,
        "name": record.customer_name,
        "contact": contact.name if contact else "",
        "phone": contact.reach if contact else "",
    }


def _backup(record: ServiceRecord) -> dict[str, Any]:
    kept = record.origin.signature("backup_ack")
    if kept is None:
        return {"state": "open", "reason": ""}
    return {"state": "signed" if kept.present else kept.method, "reason": kept.reason}


def _open_item(item: OpenItem) -> dict[str, Any]:
    return {"text": item.text, "cause": item.cause, "part": item.part, "promised_by": _day(item.promised_by)}


def _part(part: PartUse) -> dict[str, Any]:
    return {"name": part.name, "serial": part.serial, "quantity": part.quantity, "old_serial": part.old_serial}


def _photo(photo: Photo) -> dict[str, Any]:
    """A photo that comes from a phone is named by the phone's own bytes: they are what was there when people signed,
    whether they had arrived or not."""
    own = photo.source_sha256
    return {
        "kind": photo.kind,
        "caption": photo.caption,
        "taken_at": _moment(photo.taken_at),
        "sha256": own or photo.sha256,
        "print_sha256": "" if own else photo.print_sha256,
    }


def _moment(value: datetime | None) -> str:
    return value.isoformat(timespec="seconds") if value else ""


def _day(value: date | None) -> str:
    return value.isoformat() if value else ""
