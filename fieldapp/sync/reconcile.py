"""Compare what was delivered with what the ticket store holds: each quarter of an hour what is new, each night a month.

For each delivered promise there must be exactly one note with our marker, with exactly one PDF of our hash and size where
there is a report, and the status that was asked for, unless a person changed the ticket since. What is missing is promised
again under the same uid, so that a note which is there after all is found; everything else is shown to people. Nothing is
ever deleted. One ticket is compared in one step, and between two steps the worker keeps promises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select

from fieldapp import clock, outbox
from fieldapp.extensions import db, operation, serialize, settings, uuid7
from fieldapp.outbox import OPEN_STATES, Promise
from fieldapp.reports.models import Report
from fieldapp.sync import echoes, ended, push
from fieldapp.sync.echoes import WRITTEN
from fieldapp.sync.models import Finding, ReconcileRun
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.news import Wrote
from fieldapp.tickets.operations import take_in
from fieldapp.tickets.store import Rejected, StoreError, StoreFile, StoreNote, StoreTicket, TicketStore
from fieldapp.visits.models import Visit

KINDS = ("missing", "duplicate", "mismatch", "remote_changed", "orphan")
EVERY, NIGHTLY_AT, NIGHTLY_DAYS = timedelta(minutes=15), time(2, 30), 30
WINDOW = 2 * EVERY  # one that was missed is made up for
LEFT_AFTER = timedelta(minutes=10)  # a run that did not get on for so long belongs to a worker that died
SLACK = timedelta(minutes=1)  # between our note and the status that goes with it; clocks differ
RUNS_KEPT = timedelta(days=90)
NEWS_TAKES = timedelta(minutes=2)  # until then a change may still come by itself
MOST_REPAIRS = 2


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the store should hold of one promise. ``file``: name, SHA-256 and size; ``link`` may stand in its place."""

    id: UUID
    uid: str
    file: tuple[str, str, int] | None = None
    link: str = ""
    status: str | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What is not as it should be. ``repair``: the promise that brings it back."""

    kind: str
    what: str
    uid: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    repair: UUID | None = None


# ---- when -----------------------------------------------------------------------------------------------


@operation
def begin(store: str) -> UUID | None:
    """Begin what is due and return the run; None when nothing is, or another worker is at it."""
    serialize("reconcile")
    now = clock.now()
    if _under_way(store, now) or not _is_due(store, now):
        return None
    deep = _night_is_due(store, now)
    return _run(store, timedelta(days=NIGHTLY_DAYS) if deep else WINDOW, deep=deep)


@operation
def begun(store: str, days: int) -> UUID:
    """A run because a person asks for it, whatever else goes on."""
    return _run(store, timedelta(days=days), deep=True)


def _run(store: str, back: timedelta, *, deep: bool) -> UUID:
    now = clock.now()
    run = ReconcileRun(id=uuid7(), store=store, deep=deep, since=now - back, started_at=now, seen_at=now, tickets=0)
    db.session.add(run)
    return run.id


def _under_way(store: str, now: datetime) -> bool:
    going_on = (ReconcileRun.ended_at.is_(None)) & (ReconcileRun.seen_at > now - LEFT_AFTER)
    return db.session.scalar(select(ReconcileRun.id).where(ReconcileRun.store == store, going_on).limit(1)) is not None


def _is_due(store: str, now: datetime) -> bool:
    last = select(func.max(ReconcileRun.started_at)).where(ReconcileRun.store == store)
    return (db.session.scalar(last) or now - EVERY) <= now - EVERY


def _night_is_due(store: str, now: datetime) -> bool:
    """Once a day, in the small hours or as soon after them as a worker runs; one that failed is begun again."""
    here = now.astimezone(settings.zone)
    if here.time() < NIGHTLY_AT:
        return False
    midnight, _end = clock.day_bounds(now, settings.zone)
    whole = (ReconcileRun.ended_at.is_not(None)) & (ReconcileRun.error.is_(None)) & ReconcileRun.deep
    whole &= ReconcileRun.since < midnight - timedelta(days=NIGHTLY_DAYS - 1)  # a person may ask for fewer
    tonight = select(ReconcileRun.id).where(ReconcileRun.store == store, whole, ReconcileRun.started_at >= midnight)
    return db.session.scalar(tonight.limit(1)) is None


# ---- one run --------------------------------------------------------------------------------------------


def steps(store: TicketStore, run: UUID) -> Generator[str]:
    """Compare one ticket after the other and give its name (raises StoreError; the run is then over, and says why)."""
    error: str | None = "It was left before its end."
    try:
        for ref in _tickets(store, run):
            _compare(store, ref, run)
            yield ref
        error = None
    except StoreError as failure:
        error = str(failure)
        raise
    finally:
        _end(run, error)


def _tickets(store: TicketStore, run: UUID) -> list[str]:
    """Tickets that got something from us in this window, and those where something was found before."""
    row = db.session.get_one(ReconcileRun, run)
    until = row.started_at - timedelta(seconds=store.caps.lag_s + store.caps.grain_s)
    mine = (Promise.store == store.name) & Promise.kind.in_(WRITTEN) & (Promise.state == "delivered")
    lanes = select(Promise.lane).where(mine, Promise.settled_at >= row.since, Promise.settled_at <= until).distinct()
    found = select(Finding.ticket).where(Finding.store == store.name, Finding.cleared_at.is_(None)).distinct()
    refs = {lane.partition(":")[2] for lane in db.session.scalars(lanes)} | set(db.session.scalars(found))
    db.session.rollback()
    return sorted(refs)


def _compare(store: TicketStore, ref: str, run: UUID) -> None:
    row = db.session.get_one(ReconcileRun, run)
    since, deep = row.since, row.deep
    ticket = db.session.scalar(select(Ticket).where(Ticket.store == store.name, Ticket.ref == ref))
    expected, ours = _expected(store.name, ref, since), _uids(store.name, ref)
    told, thread = _ask(store, ref, ticket)
    if told is None:
        found = [Difference(kind="missing", what="ticket_gone", uid=each.uid) for each in expected]
    else:
        hashes = _hashes(store, thread, expected) if deep else {}
        found = [*_judge(expected, thread, hashes), *_orphans(thread, ours)]
        if told.ref == ref:
            found += _status(store, expected, thread, told) + _changed(store, ref, told)
    _keep(store.name, ref, run, found, told, echoes.of_people(store, (told,) if told else ()))


def _ask(store: TicketStore, ref: str, ticket: Ticket | None) -> tuple[StoreTicket | None, tuple[StoreNote, ...]]:
    """The ticket and its thread, with that of the ticket which it became a part of, or of those that became a part of it;
    None when it cannot be found."""
    merged = ticket is not None and ticket.merged_into is not None
    parts = list(db.session.scalars(_parts(store.name, ref)))
    db.session.rollback()
    thread: tuple[StoreNote, ...] = ()
    try:
        thread = store.thread(ref)
        if not merged or ticket is None:
            return store.ticket(ref), _with_parts(store, thread, parts)
    except Rejected:
        if not merged or ticket is None:
            return None, ()
    try:
        there = ended.survivor(store, ticket).ref
        db.session.rollback()
        return store.ticket(there), thread + tuple(each for each in store.thread(there) if each not in thread)
    except Rejected:
        return None, ()


def _parts(store: str, ref: str) -> Select[str]:
    """The tickets that became a part of this one."""
    return select(Ticket.ref).where(Ticket.store == store, Ticket.merged_into == ref)


def _with_parts(store: TicketStore, thread: tuple[StoreNote, ...], parts: Sequence[str]) -> tuple[StoreNote, ...]:
    """What was written into a part before it became one stays there in some stores."""
    for part in parts:
        with suppress(Rejected):
            thread += tuple(each for each in store.thread(part) if each not in thread)
    return thread


def _expected(store: str, ref: str, since: datetime) -> list[Expected]:
    """What this ticket got in the window, and whatever something was found about, in the order of its lane."""
    found = select(Finding.uid).where(Finding.store == store, Finding.ticket == ref, Finding.cleared_at.is_(None))
    mine = (Promise.lane == f"{store}:{ref}") & Promise.kind.in_(WRITTEN) & (Promise.state == "delivered")
    wanted = (Promise.settled_at >= since) | Promise.uid.in_(found)
    query = select(Promise).where(mine, wanted).order_by(Promise.lane_seq)
    return [_of_promise(each) for each in db.session.scalars(query)]


def _of_promise(promise: Promise) -> Expected:
    """After it was found missing once, only its note and file came back: the status was people's."""
    again = promise.reopened_at is not None
    if promise.kind == "visit_unfinished":
        visit = db.session.get(Visit, UUID(promise.payload["visit"]))
        status = None if again or visit is None else push.status_unfinished(visit)
        return Expected(id=promise.id, uid=promise.uid, status=status)
    report = db.session.get(Report, UUID(promise.payload["report"])) if promise.kind == "report_issued" else None
    if report is None:
        return Expected(id=promise.id, uid=promise.uid)
    return Expected(
        id=promise.id,
        uid=promise.uid,
        file=(report.file_name, report.sha256, report.size),
        link=push.link_to(report),
        status=None if again else push.status_after(report),
    )


def _uids(store: str, ref: str) -> frozenset[str]:
    """Every key that we ever wrote under. A note may have moved here with the ticket that it was written into."""
    query = select(Promise.uid).where(Promise.store == store, Promise.kind.in_(WRITTEN))
    lanes = [f"{store}:{each}" for each in (ref, *db.session.scalars(_parts(store, ref)))]
    return frozenset(db.session.scalars(query.where(Promise.lane.in_(lanes))))


# ---- what differs ---------------------------------------------------------------------------------------


def _judge(
    expected: Sequence[Expected], thread: Sequence[StoreNote], hashes: Mapping[StoreFile, str]
) -> Iterator[Difference]:
    for each in expected:
        mine = [note for note in thread if note.uid == each.uid]
        if not mine:
            yield Difference(kind="missing", what="note_gone", uid=each.uid, repair=each.id)
            continue
        if len(mine) > 1:
            yield Difference(kind="duplicate", what="note_twice", uid=each.uid, facts={"count": len(mine)})
        if each.file is not None:
            yield from _judge_file(each, each.file, mine[0], hashes)


def _judge_file(
    each: Expected, file: tuple[str, str, int], note: StoreNote, hashes: Mapping[StoreFile, str]
) -> Iterator[Difference]:
    name, sha256, size = file
    same = [its for its in note.files if its.size == size and hashes.get(its, its.sha256) in (None, sha256)]
    if len(same) > 1:
        yield Difference(kind="duplicate", what="file_twice", uid=each.uid, facts={"name": name, "count": len(same)})
    elif not same and any(its.name == name for its in note.files):
        yield Difference(kind="mismatch", what="file_differs", uid=each.uid, facts={"name": name})
    elif not same and each.link not in note.text:
        yield Difference(kind="missing", what="file_gone", uid=each.uid, facts={"name": name}, repair=each.id)


def _hashes(store: TicketStore, thread: Sequence[StoreNote], expected: Sequence[Expected]) -> dict[StoreFile, str]:
    """Of our files whose hash the store does not tell: the hash of what it gives back."""
    ours = {each.uid for each in expected if each.file}
    silent = [file for note in thread if note.uid in ours for file in note.files if file.sha256 is None]
    return {file: hashlib.sha256(store.content(file)).hexdigest() for file in silent}


def _orphans(thread: Sequence[StoreNote], ours: frozenset[str]) -> Iterator[Difference]:
    """Notes that carry a mark of our making which we did not make: another installation writes here, or a backup is old."""
    for uid in sorted({note.uid for note in thread if note.uid}):
        made = uid.removesuffix(":status")
        if made.partition(":")[0] in WRITTEN and made not in ours:
            yield Difference(kind="orphan", what="unknown_note", uid=uid[:80], facts={"uid": uid[:80]})


def _status(
    store: TicketStore, expected: Sequence[Expected], thread: Sequence[StoreNote], told: StoreTicket
) -> list[Difference]:
    """The last status that we asked for, unless somebody touched the ticket after our note."""
    asked = [each for each in expected if each.status]
    if not asked:
        return []
    last = asked[-1]
    at = [note.at for note in thread if note.uid in (last.uid, f"{last.uid}:status")]
    wanted = _as_told(store, last.status or "")
    if not at or told.status == wanted or told.updated > max(at) + SLACK:
        return []
    facts = {"wanted": wanted, "is": told.status}
    return [Difference(kind="mismatch", what="status_differs", uid=last.uid, facts=facts)]


def _as_told(store: TicketStore, status: str) -> str:
    """What our status reads as when it comes back: several of ours may be one of theirs."""
    words = getattr(store, "words", None)
    theirs = words.statuses.theirs(status) if words else None
    return words.statuses.ours(theirs, status) if words and theirs else status


def _changed(store: TicketStore, ref: str, told: StoreTicket) -> list[Difference]:
    """A change that the store's feed should have told long ago."""
    quiet = clock.now() - NEWS_TAKES - timedelta(seconds=store.caps.lag_s + store.caps.grain_s)
    known = db.session.scalar(select(Ticket.version).where(Ticket.store == store.name, Ticket.ref == ref))
    if known == told.version or told.updated > quiet:
        return []
    return [Difference(kind="remote_changed", what="ticket_changed", facts={"version": told.version})]


# ---- what is kept ---------------------------------------------------------------------------------------


@operation
def _keep(
    store: str,
    ref: str,
    run: UUID,
    found: Sequence[Difference],
    told: StoreTicket | None,
    wrote: Mapping[str, Wrote],
) -> None:
    """Findings of this ticket as they are now; what is missing is promised again, what changed is taken in.

    What is found no longer is cleared, unless its promise is still on its way (a person may have left it instead)."""
    now = clock.now()
    here = select(Finding).where(Finding.store == store, Finding.ticket == ref)
    before = {(row.uid, row.what): row for row in db.session.scalars(here)}
    for each in found:
        _found(before.pop((each.uid, each.what), None), each, store, ref)
    under_way = select(Promise.uid).where(Promise.lane == f"{store}:{ref}", Promise.state.in_(OPEN_STATES))
    on_its_way = set(db.session.scalars(under_way))
    for row in before.values():
        if row.cleared_at is None and row.uid not in on_its_way:
            row.cleared_at = now
    if told is not None and any(each.kind == "remote_changed" for each in found):
        take_in(told, store=store, wrote=wrote)
    mine = db.session.get_one(ReconcileRun, run)
    mine.tickets, mine.seen_at = mine.tickets + 1, now


def _found(row: Finding | None, each: Difference, store: str, ref: str) -> None:
    now = clock.now()
    if row is None:
        row = Finding(store=store, ticket=ref, uid=each.uid, what=each.what, first_seen_at=now, repairs=0)
        db.session.add(row)
    row.kind, row.facts, row.last_seen_at, row.cleared_at = each.kind, dict(each.facts), now, None
    if each.repair is not None and row.repairs < MOST_REPAIRS and outbox.reopen(each.repair):
        row.repairs += 1


@operation
def _end(run: UUID, error: str | None) -> None:
    row = db.session.get_one(ReconcileRun, run)
    row.ended_at, row.error = clock.now(), error


def counts() -> dict[str, int]:
    """How many findings of each kind are open."""
    query = select(Finding.kind, func.count()).where(Finding.cleared_at.is_(None)).group_by(Finding.kind)
    found: dict[str, int] = {row[0]: row[1] for row in db.session.execute(query)}
    return {kind: found.get(kind, 0) for kind in KINDS}


@operation
def prune_runs() -> None:
    """Nobody asks after runs of a season ago; what they found has rows of its own."""
    before = clock.now() - RUNS_KEPT
    db.session.execute(delete(ReconcileRun).where(ReconcileRun.started_at < before))
