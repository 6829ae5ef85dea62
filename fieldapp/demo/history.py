"""A year of finished visits, written as rows: what the operations would have left behind, without a year's work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Customer
from fieldapp.demo import hand
from fieldapp.demo.company import FAULTS, Fault
from fieldapp.extensions import db, uuid7
from fieldapp.records import content
from fieldapp.records.models import Counter, OpenItem, PartUse, ServiceRecord, Signature
from fieldapp.records.operations import evidence_of
from fieldapp.tickets.models import Ticket
from fieldapp.visits.models import Visit, VisitEvent

YEAR = 365
VISITS = 240
RATINGS = ("good",) * 7 + ("fair",) * 2 + ("poor",)


@dataclass(frozen=True)
class Past:
    """One finished visit to be told: when (UTC), by whom, at which asset, what was wrong."""

    at: datetime
    engineer: User
    asset: Asset
    fault: Fault
    leaves: str = ""


def plan(rng: random.Random, engineers: list[User], assets: list[Asset], today: datetime) -> list[Past]:
    """When which engineer was where, oldest first: about one visit a working day, at a time of day people work."""
    faults: dict[str, list[Fault]] = {}
    for fault in FAULTS:
        faults.setdefault(fault.model, []).append(fault)
    chosen = []
    for number in range(VISITS):
        day = today - timedelta(days=1 + int(number * (YEAR - 1) / VISITS))
        if day.weekday() >= 5:
            day -= timedelta(days=2)
        asset = rng.choice(assets)
        hour = timedelta(hours=9 + (number % 4) * 2, minutes=rng.choice((0, 30)))
        engineer = engineers[number % len(engineers)]
        leaves = "等待备件到货后更换" if number in (3, 9, 21) else ""
        chosen.append(Past(day + hour, engineer, asset, rng.choice(faults[asset.model]), leaves))
    return sorted(chosen, key=lambda past: past.at)


def write(past: Past, ticket: Ticket, rng: random.Random, manager: User | None) -> ServiceRecord:
    """The visit, its events, its signed record and what it left open."""
    visit = _visit(past, ticket, reviewed=manager is not None)
    db.session.add(visit)
    db.session.add_all(_events(visit, past))
    record = _record(visit, past, rng)
    db.session.add(record)
    db.session.flush()
    record.signatures = list(_signatures(record, visit, past, manager))
    frozen = content.canonical(record)
    record.content, record.content_hash = frozen.decode(), content.sha256(frozen)
    for signature in record.signatures:
        signature.content_hash = record.content_hash
    return record


def _visit(past: Past, ticket: Ticket, *, reviewed: bool) -> Visit:
    customer: Customer = past.asset.customer
    start = past.at
    done = "partial" if past.leaves else "reviewed" if reviewed else "completed"
    return Visit(
        id=uuid7(),
        ticket=ticket,
        customer=customer,
        site=past.asset.site,
        contact=customer.contacts[0],
        asset=past.asset,
        lead=past.engineer,
        kind="maintenance",
        status=done,
        window_start=start,
        window_end=start + timedelta(minutes=30),
        bring=past.fault.part,
        created_at=start - timedelta(days=1),
        scheduled_at=start - timedelta(days=1),
        accepted_at=start - timedelta(hours=15),
        departed_at=start - timedelta(minutes=35),
        arrived_at=start + timedelta(minutes=5),
        started_at=start + timedelta(minutes=12),
        ended_at=start + timedelta(minutes=75),
        closed_at=start + timedelta(minutes=82),
        reviewed_at=start + timedelta(days=1) if reviewed and not past.leaves else None,
        revision=1,
    )


def _events(visit: Visit, past: Past) -> Iterator[VisitEvent]:
    happened = (
        ("planned", visit.scheduled_at),
        ("accepted", visit.accepted_at),
        ("departed", visit.departed_at),
        ("arrived", visit.arrived_at),
        ("started", visit.started_at),
        ("finished", visit.ended_at),
        ("partly_done" if past.leaves else "completed", visit.closed_at),
    )
    for seq, (kind, at) in enumerate(happened, start=1):
        actor = None if kind == "planned" else past.engineer
        yield VisitEvent(visit=visit, seq=seq, type=kind, actor=actor, device_at=at, server_at=at, skew_s=0, payload={})


def _record(visit: Visit, past: Past, rng: random.Random) -> ServiceRecord:
    fault = past.fault
    record = ServiceRecord(
        id=uuid7(),
        visit=visit,
        number=_number(past.at),
        revision=1,
        author=past.engineer,
        created_at=visit.arrived_at,
        service_type="maintenance",
        customer_name=visit.customer.name,
        content_text=fault.done,
        outcome="remaining" if past.leaves else "all_done",
        skill_rating=rng.choice(RATINGS),
        attitude_rating=rng.choice(RATINGS),
        started_at=visit.started_at,
        ended_at=visit.ended_at,
        contact_phone=visit.customer.contacts[0].mobile,
        cause=fault.cause,
        solution=fault.solution,
        prevention=fault.prevention,
        solved_item_ids=[],
        frozen_at=visit.ended_at,
        signed_at=visit.closed_at,
    )
    if fault.part and not past.leaves:
        serial = f"{rng.randrange(16**6):06X}"
        record.parts = [PartUse(position=0, name=fault.part, serial=serial, quantity=1)]
    if past.leaves:
        record.open_items = [_left_open(visit, past)]
    return record


def _left_open(visit: Visit, past: Past) -> OpenItem:
    return OpenItem(
        position=0,
        text=past.leaves,
        cause="备件缺货",
        part=past.fault.part,
        promised_by=(past.at + timedelta(days=10)).date(),
        customer_id=visit.customer.id,
        asset_id=visit.asset.id if visit.asset else None,
        ticket_id=visit.ticket.id,
        created_at=past.at,
    )


def _signatures(record: ServiceRecord, visit: Visit, past: Past, manager: User | None) -> Iterator[Signature]:
    contact = visit.customer.contacts[0]
    at = visit.closed_at or past.at
    software = past.fault.type == "software"
    yield _signature("backup_ack", "drawn" if software else "not_applicable", contact.name if software else "", at)
    yield _signature("customer", "drawn", contact.name, at, phone=contact.mobile)
    yield _signature("engineer", "drawn", past.engineer.name, at)
    if manager is not None and not past.leaves:
        yield _signature("manager", "drawn", manager.name, at + timedelta(days=1))


def _signature(role: str, method: str, name: str, at: datetime, *, phone: str = "") -> Signature:
    consent = f"{role}/1"
    drawn = hand.signature(name) if method == "drawn" else None
    return Signature(
        id=uuid7(),
        role=role,
        method=method,
        name=name,
        phone=phone,
        strokes=drawn.strokes if drawn else None,
        png_sha256=drawn.png_sha256 if drawn else None,
        content_hash="",
        consent_id=consent,
        consent_sha256=content.consent_hash(consent),
        signed_at=at,
        device_at=at,
        received_at=at,
        evidence=evidence_of({}, drawn.ink if drawn else None),
    )


def _number(at: datetime) -> str:
    prefix = f"SR-{at:%Y%m%d}"
    with db.session.no_autoflush:
        counter = db.session.get(Counter, prefix)
    if counter is None:
        counter = Counter(prefix=prefix, last=0)
        db.session.add(counter)
    counter.last += 1
    return f"{prefix}-{counter.last:04d}"
