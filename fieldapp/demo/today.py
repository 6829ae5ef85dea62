"""Today's visits, in every state a visit can be in, done with the same operations that people use.

What has happened already lies before now, what is planned lies after. Whoever looks at night still sees a working day:
then the story is told as of noon, or as of the evening.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.demo import hand
from fieldapp.demo.company import FAULTS, Fault
from fieldapp.extensions import settings, uuid7
from fieldapp.offline.operations import Told, new_told, once
from fieldapp.records import operations as records
from fieldapp.records.values import Evaluation, Filled, Given, OpenLine, PartLine
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit
from fieldapp.visits.operations import Plan

# who, when the window starts (minutes from now), how far it has come
STORY = (
    ("wanglei", -260, "reviewed"),
    ("wanglei", 25, "scheduled"),
    ("wanglei", 120, "accepted"),
    ("wanglei", 225, "scheduled"),
    ("liting", -285, "completed"),
    ("liting", -170, "no_show"),
    ("liting", -55, "working"),
    ("liting", 90, "accepted"),
    ("zhangqiang", -290, "partial"),
    ("zhangqiang", -150, "paused"),
    ("zhangqiang", -20, "arrived"),
    ("zhangqiang", -75, "canceled"),
    ("zhangqiang", 150, "scheduled"),
    ("chenhao", -270, "cannot_complete"),
    ("chenhao", -130, "awaiting_sign"),
    ("chenhao", 10, "traveling"),
    ("chenhao", 180, "declined"),
    ("chenhao", 240, "scheduled"),
)
SPACE = timedelta(minutes=45)
FORM = "application/x-www-form-urlencoded"
AGENT = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36"
EARLIEST_MIDDLE, LATEST_MIDDLE = timedelta(hours=13), timedelta(hours=18, minutes=30)


@dataclass(frozen=True)
class Cast:
    """Who plays: people by log-in name."""

    people: dict[str, User]

    def __getitem__(self, username: str) -> User:
        return self.people[username]

    @property
    def dispatcher(self) -> User:
        return self.people["zhaomin"]


def play(cast: Cast, tickets: list[Ticket]) -> None:
    """Bring each visit of the story as far as it has come; each uses up one ticket, in order."""
    taken: dict[str, list[datetime]] = {}
    middle = _middle()
    for (username, minutes, state), ticket in zip(STORY, tickets, strict=True):
        engineer = cast[username]
        start = _free_today(middle + timedelta(minutes=minutes), taken.setdefault(username, []))
        visit = visits.draft(ticket, by=cast.dispatcher)
        plan = Plan(lead_id=engineer.id, window_start=start, bring=_fault(ticket).part, override_reason="演示日程")
        visits.plan(visit, plan, by=cast.dispatcher)
        _bring_to(visit, state, start, engineer, cast)


def _bring_to(visit: Visit, state: str, start: datetime, engineer: User, cast: Cast) -> None:
    if state == "canceled":
        told = _at(cast.dispatcher, start - timedelta(minutes=50))
        visits.cancel(visit, "客户停产检修，改到下周", by=cast.dispatcher, told=told)
        _there_all_the_same(visit, engineer, start)
    elif state == "declined":
        visits.decline(visit, "该客户需要网络认证工程师，建议改派李婷", by=engineer)
    else:
        for step in _PATHS[state]:
            step(visit, engineer, start, cast)


# ---- steps: each at the time of day at which it would have been done ------------------------------------


def _at(engineer: User, moment: datetime) -> Told:
    """A submission that a phone would have sent at ``moment`` of the story; never from the future."""
    said = min(moment - max(_middle() - clock.now(), timedelta()), clock.now())
    return new_told(engineer.id, "/demo", submission_id=uuid7(), device_at=said, device="demo-phone")


def _queued(by: User, moment: datetime, path: str, device: str, fields: Mapping[str, Any]) -> Told:
    """The same as it comes from the queue of a phone that had no signal."""
    told = _at(by, moment)
    said = {"submission_id": told.submission_id, **{name: each for name, each in fields.items() if each}}
    body = urlencode(said).encode()
    told = replace(told, queued=True, device=device, agent=AGENT, path=path, visit_id=UUID(path.split("/")[2]))
    return replace(told, body=body, body_sha256=hashlib.sha256(body).hexdigest(), content_type=FORM)


def _accept(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    visits.accept(visit, by=by, told=_at(by, start - timedelta(hours=1)))


def _depart(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    visits.depart(visit, by=by, told=_at(by, start - timedelta(minutes=30)))


def _arrive(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    visits.arrive(visit, by=by, told=_at(by, start + timedelta(minutes=6)))


def _start(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    visits.start(visit, by=by, told=_at(by, start + timedelta(minutes=14)))


def _pause(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    visits.pause(visit, "wait_part", by=by, told=_at(by, start + timedelta(minutes=60)))


def _draft(visit: Visit, by: User, _start: datetime, _cast: Cast) -> None:
    fault = _fault(visit.ticket)
    phone = visit.contact.mobile if visit.contact else ""
    done = "已检查现场情况，正在处理。"
    begun = Filled(service_type="maintenance", content_text=done, cause=fault.cause, contact_phone=phone)
    records.save(visit, begun, by=by)


def _draft_elsewhere(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    """The same record begun on a tablet without signal: two texts for one field, and a person decides."""
    fault = _fault(visit.ticket)
    begun = Filled(service_type="maintenance", content_text=fault.done, cause=fault.cause)
    told = _queued(by, start + timedelta(minutes=30), f"/visits/{visit.id}/record", "demo-tablet", vars(begun))
    once(told, lambda: records.save(visit, begun, by=by, told=told))


def _there_all_the_same(visit: Visit, by: User, start: datetime) -> None:
    """The engineer had no signal and did not hear of the cancellation."""
    told = _queued(by, start + timedelta(minutes=4), f"/visits/{visit.id}/arrival", "demo-phone", {})
    once(told, lambda: visits.arrive(visit, by=by, told=told))


def _fill(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    fault = _fault(visit.ticket)
    parts = (PartLine(name=fault.part, serial="A7C21F"),) if fault.part else ()
    _photos(visit, by, start)
    _finish(visit, by, start, _filled(fault, outcome="all_done", parts=parts))


def _fill_with_rest(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    fault = _fault(visit.ticket)
    due = (clock.now() + timedelta(days=5)).date()
    rest = OpenLine(text="到货后更换备件并复测", cause="备件缺货", part=fault.part, promised_by=due)
    _finish(visit, by, start, _filled(fault, outcome="remaining", open_items=(rest,)))


def _customer(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    contact = visit.contact
    name = contact.name if contact else "林晓"
    evaluation = Evaluation(
        skill_rating="good", attitude_rating="good", contact_phone=contact.mobile if contact else ""
    )
    given = Given(method="drawn", name=name, strokes=hand.strokes(name))
    records.customer_sign(visit, evaluation, given, by=by, told=_at(by, start + timedelta(minutes=95)))


def _complete(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    given = Given(method="drawn", name=by.name, strokes=hand.strokes(by.name))
    records.complete(visit, given, by=by, told=_at(by, start + timedelta(minutes=97)))


def _review(visit: Visit, _by: User, _start: datetime, cast: Cast) -> None:
    manager = cast["qianjun"]
    records.review(visit, Given(method="drawn", strokes=hand.strokes(manager.name)), by=manager)


def _give_up(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    cause = "机房停电检修，无法开机，须等客户恢复供电"
    visits.cannot_complete(visit, cause, by=by, told=_at(by, start + timedelta(minutes=40)))


def _nobody(visit: Visit, by: User, start: datetime, _cast: Cast) -> None:
    visits.no_show(visit, "门卫称联系人外出，电话未接", by=by, told=_at(by, start + timedelta(minutes=35)))


Step = Callable[[Visit, User, datetime, Cast], None]
_THERE: tuple[Step, ...] = (_accept, _depart, _arrive)
_DONE: tuple[Step, ...] = (*_THERE, _start, _fill, _customer, _complete)
_PATHS: dict[str, tuple[Step, ...]] = {
    "scheduled": (),
    "accepted": (_accept,),
    "traveling": (_accept, _depart),
    "arrived": _THERE,
    "working": (*_THERE, _start, _draft, _draft_elsewhere),
    "paused": (*_THERE, _start, _draft, _pause),
    "awaiting_sign": (*_THERE, _start, _fill),
    "completed": _DONE,
    "partial": (*_THERE, _start, _fill_with_rest, _customer, _complete),
    "cannot_complete": (*_THERE, _start, _give_up),
    "no_show": (*_THERE, _nobody),
    "reviewed": (*_DONE, _review),
}


# ---- below ------------------------------------------------------------------------------------------


def _filled(fault: Fault, **more: Any) -> Filled:
    said: dict[str, Any] = {"cause": fault.cause, "solution": fault.solution, "prevention": fault.prevention}
    said |= {"service_type": "maintenance", "content_text": fault.done, "tools": "万用表、防静电手环"}
    return Filled(**said, **more)


def _finish(visit: Visit, by: User, start: datetime, filled: Filled) -> None:
    software = _fault(visit.ticket).type == "software"
    contact = visit.contact.name if visit.contact else "林晓"
    signed = Given(method="drawn", name=contact, strokes=hand.strokes(contact))
    answer = signed if software else Given(method="not_applicable")
    records.save(visit, filled, by=by)
    records.acknowledge_backup(visit, answer, by=by, told=_at(by, start + timedelta(minutes=16)))
    records.finish(visit, by=by, told=_at(by, start + timedelta(minutes=90)))


def _photos(visit: Visit, by: User, start: datetime) -> None:
    asset = visit.asset
    if asset is None:
        return
    told = _at(by, start + timedelta(minutes=20))
    for n, (kind, title) in enumerate((("label", asset.model), ("before", "处理前"), ("after", "处理后"))):
        lines = (f"S/N {asset.serial}", asset.software_version, visit.customer.name[:12])
        picture = hand.photo(title, lines, seed=n)
        records.add_photo(visit, picture, kind=kind, caption=title, by=by, told=told)


def _fault(ticket: Ticket) -> Fault:
    return next((fault for fault in FAULTS if fault.subject == ticket.subject), FAULTS[0])


def _middle() -> datetime:
    """Now, or at night the nearest hour around which a working day can be told."""
    midnight, _end = clock.day_bounds(clock.now(), settings.zone)
    return min(max(clock.now(), midnight + EARLIEST_MIDDLE), midnight + LATEST_MIDDLE)


def _free_today(wanted: datetime, taken: list[datetime]) -> datetime:
    """A start on a quarter of an hour, clear of the engineer's other visits."""
    start = wanted.replace(minute=wanted.minute // 15 * 15, second=0, microsecond=0)
    while any(abs(start - other) < SPACE for other in taken):
        start += SPACE
    taken.append(start)
    return start
