"""From a frozen record to a ReportDocument: plain values, read from the signed content and never from live rows."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from fieldapp.extensions import settings
from fieldapp.records import content as contents
from fieldapp.records.models import PRESENT, ServiceRecord, Signature
from fieldapp.records.photos import pending
from fieldapp.reports import document as paper
from fieldapp.reports.labels import LABELS
from fieldapp.storage import blobs
from fieldapp.visits.models import VisitEvent

OUTCOMES = {"all_done": "all_done", "remaining": "more_needed", "": ""}
SKEW_WORTH_SAYING_S = 300
CHANGED = {
    "service_type": "service_kind",
    "content": "service_content",
    "outcome": "outcome",
    "open_items": "open_items",
    "skill_rating": "rating_skill",
    "attitude_rating": "rating_attitude",
    "started_at": "started_at",
    "ended_at": "ended_at",
    "remark": "remarks",
    "contact_phone": "contact_phone",
    "customer": "customer",
}


def document_of(
    record: ServiceRecord, *, locale: str, issued_at: datetime, skew_s: int = 0, received_at: datetime | None = None
) -> paper.ReportDocument:
    """Everything the report says, in one language. ``skew_s``: largest clock difference of the phone in seconds;
    ``received_at``: when what the phone recorded reached us. Photos that have not arrived are left out, and it says so:
    that they will come, or how many never came.
    """
    said = record.frozen_content
    visit = said["visit"]
    pictures = [_photo(photo, record) for photo in said["photos"]]
    awaited, absent = bool(pending(record)), pictures.count(None)
    wrong_clock = abs(skew_s) > SKEW_WORTH_SAYING_S
    return paper.ReportDocument(
        locale=locale,
        issued_at=issued_at,
        customer=_customer(said["customer"]),
        times=_times(said),
        signatures=_signatures(record),
        ticket_number=visit["ticket"],
        engineers=(visit["engineer"],) if visit["engineer"] else (),
        site=paper.Site(**visit["site"]) if visit["site"] else paper.Site(),
        asset=_asset(visit["asset"]),
        parts=tuple(_part(part) for part in said["parts"]),
        open_items=tuple(_open_item(item, visit["engineer"]) for item in said["open_items"]),
        photos=tuple(picture for picture in pictures if picture),
        photos_pending=awaited and absent > 0,
        photos_lost=0 if awaited else absent,
        correction=_correction(record, locale),
        clock_skew_minutes=int(skew_s / 60) if wrong_clock else 0,
        received_at=received_at if wrong_clock else None,
        **_fields(said),
        **_proof(record),
    )


def _fields(said: dict[str, Any]) -> dict[str, Any]:
    """The fields of the form that are printed as they were signed."""
    return {
        "company": said["company"],
        "timezone": said["timezone"],
        "service_kind": said["service_type"],
        "service_content": said["content"],
        "outcome": OUTCOMES[said["outcome"]],
        "outcome_text": "; ".join(item["text"] for item in said["open_items"]),
        "backup_reminded": said["backup"]["state"] in ("signed", "refused"),
        "rating_skill": said["skill_rating"],
        "rating_attitude": said["attitude_rating"],
        "remarks": _remarks(said),
        **{name: said[name] for name in ("contact_phone", "cause", "solution", "prevention", "tools")},
    }


def _proof(record: ServiceRecord) -> dict[str, Any]:
    """Which content this is, and how anybody can check it."""
    return {
        "number": record.printed_number,
        "revision": record.revision,
        "record_json": (record.content or "{}").encode(),
        "content_hash": record.content_hash or "",
        "short_code": record.short_code,
        "verify_url": f"{settings.base_url}/verify/{record.content_hash}",
    }


def received_of(record: ServiceRecord) -> datetime | None:
    """When the record reached us: the first of its signatures, which a phone sends together with it."""
    valid = (each.received_at for each in record.signatures if each.role == "engineer" and each.voided_at is None)
    return min(valid, default=record.frozen_at)


def largest_skew(events: list[VisitEvent]) -> int:
    """The largest difference between the phone's clock and ours in these events, in seconds, with its sign."""
    return max((event.skew_s for event in events if event.skew_s is not None), key=abs, default=0)


def _customer(customer: dict[str, Any]) -> paper.Customer:
    return paper.Customer(name=customer["name"], contact=customer["contact"], phone=customer["phone"])


def _times(said: dict[str, Any]) -> paper.Times:
    visit = said["visit"]
    departed, arrived = _moment(visit["departed_at"]), _moment(visit["arrived_at"])
    started, ended = _moment(said["started_at"]), _moment(said["ended_at"])
    if started is None or ended is None:
        raise ValueError("a frozen record has a start and an end")
    return paper.Times(
        started_at=started,
        ended_at=ended,
        planned_start=_moment(visit["window_start"]),
        planned_end=_moment(visit["window_end"]),
        arrived_at=arrived,
        travel_minutes=_minutes(departed, arrived),
        work_minutes=_minutes(started, ended),
    )


def _signatures(record: ServiceRecord) -> tuple[paper.Signature, ...]:
    """The four places; the backup acknowledgement is that of the revision filled on site."""
    given = [record.origin.signature("backup_ack")] + [record.signature(role) for role in ("customer", "engineer")]
    given.append(record.signature("manager"))
    return tuple(_signature(each, record) for each in given if each is not None)


def _signature(given: Signature, record: ServiceRecord) -> paper.Signature:
    return paper.Signature(
        role=given.role,
        method=given.method,
        name=given.name,
        phone=given.phone,
        signed_at=given.signed_at if given.method in PRESENT else None,
        reason=given.reason,
        png=blobs.get(given.png_sha256) if given.png_sha256 else b"",
        code=given.content_hash[:8] if given.method in PRESENT else "",
    )


def _asset(asset: dict[str, Any] | None) -> paper.Asset:
    if asset is None:
        return paper.Asset()
    return paper.Asset(
        model=asset["model"],
        serial=asset["serial"],
        software_version=asset["software_version"],
        warranty_until=_day(asset["warranty_until"]),
    )


def _part(part: dict[str, Any]) -> paper.Part:
    return paper.Part(name=part["name"], serial=part["serial"], quantity=part["quantity"])


def _open_item(item: dict[str, Any], engineer: str) -> paper.OpenItem:
    promised = engineer if item["promised_by"] else ""
    return paper.OpenItem(
        text=item["text"],
        cause=item["cause"],
        part=item["part"],
        promised_by=promised,
        due=_day(item["promised_by"]),
    )


def _photo(photo: dict[str, Any], record: ServiceRecord) -> paper.Photo | None:
    """A photo at print size; None while it is still on the phone."""
    print_sha256 = photo["print_sha256"] or _arrived(photo["sha256"], record)
    if not print_sha256:
        return None
    return paper.Photo(
        kind=photo["kind"],
        jpeg=blobs.get(print_sha256),
        caption=photo["caption"],
        taken_at=_moment(photo["taken_at"]),
    )


def _arrived(source_sha256: str, record: ServiceRecord) -> str | None:
    """The print of a photo that the content names by the phone's own bytes."""
    return next((each.print_sha256 for each in record.origin.photos if each.source_sha256 == source_sha256), None)


def _correction(record: ServiceRecord, locale: str) -> paper.Correction | None:
    old = record.corrects
    if old is None:
        return None
    label = LABELS[locale]
    changed = contents.changes(old.frozen_content, record.frozen_content)
    return paper.Correction(
        of_number=old.number,
        of_revision=old.revision,
        reason=record.correction_reason,
        changes=tuple(
            paper.Change(
                field=label[CHANGED.get(name, name)], before=_said(name, before, label), after=_said(name, after, label)
            )
            for name, before, after in changed
            if CHANGED.get(name, name) in label
        ),
    )


def _said(name: str, value: str, label: dict[str, str]) -> str:
    """A value as the paper says it: choices in words, moments on the clock of the wall."""
    if name in ("service_type", "outcome", "skill_rating", "attitude_rating"):
        return label.get(OUTCOMES.get(value, value), value).rstrip(":")
    if name in ("started_at", "ended_at") and (moment := _moment(value)):
        return moment.astimezone(settings.zone).strftime("%Y-%m-%d %H:%M")
    return value


def _remarks(said: dict[str, Any]) -> str:
    return "\n".join(text for text in (said["remark"], said["times_reason"]) if text)


def _minutes(start: datetime | None, end: datetime | None) -> int | None:
    return int((end - start).total_seconds() // 60) if start and end and end >= start else None


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
