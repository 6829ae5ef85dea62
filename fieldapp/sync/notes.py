"""What is written into the ticket's thread, as one text for people. In the language of the installation."""

from __future__ import annotations

from collections.abc import Iterator

from fieldapp.i18n import _, moment
from fieldapp.records.models import OpenItem, ServiceRecord, Signature
from fieldapp.visits.models import Visit, VisitEvent

SIGNED_BY = ("customer", "engineer", "manager")


def of_record(record: ServiceRecord) -> str:
    """What was done, what remains, who signed or why not, and the record's number and short code."""
    return "\n".join(_record_lines(record))


def of_unfinished(visit: Visit, events: list[VisitEvent]) -> str:
    """Why a visit ended without a record: could not be completed, or nobody was there."""
    last = next((event for event in reversed(events) if event.type in ("cannot_complete", "no_show")), None)
    said = "" if last is None else last.payload.get("cause") or last.payload.get("note") or ""
    if visit.status == "no_show":
        first = _("On-site visit: the customer was not there.")  # L10n: 客户不在
    else:
        first = _("On-site visit: could not be completed.")  # L10n: 无法完成
    lines = [first, _("Engineer: %(name)s", name=visit.lead.name if visit.lead else "—")]
    if visit.arrived_at:
        lines.append(_("Arrived: %(time)s", time=moment(visit.arrived_at)))
    if said:
        lines.append(_("Reason: %(reason)s", reason=said))
    return "\n".join([*lines, _("A follow-up visit waits to be planned.")])


def of_done_despite_cancellation(visit: Visit, events: list[VisitEvent]) -> str:
    """The office had cancelled, the engineer had worked: both are said, and that the record follows."""
    canceled = next((event for event in reversed(events) if event.type == "canceled"), None)
    lines = [
        _("On-site visit: work was done despite the cancellation."),  # L10n: 上门已取消，但服务仍已完成
        _("Engineer: %(name)s", name=visit.lead.name if visit.lead else "—"),
    ]
    if canceled:
        lines.append(_("Cancelled by the office: %(time)s", time=moment(canceled.at)))
        lines.append(_("Reason: %(reason)s", reason=canceled.payload.get("reason", "—")))
    if visit.arrived_at:
        lines.append(_("Arrived: %(time)s", time=moment(visit.arrived_at)))
    return "\n".join([*lines, _("The signed record follows.")])


def too_large(address: str) -> str:
    """The line that stands in for a file which the store does not take."""
    return _("The report is too large to be attached here: %(address)s", address=address)


def _record_lines(record: ServiceRecord) -> Iterator[str]:
    number, code = record.printed_number, record.short_code
    yield _("On-site service record %(number)s, code %(code)s", number=number, code=code)  # L10n: 客户服务记录表
    if record.is_correction:
        yield _("Correction: %(reason)s", reason=record.correction_reason)  # L10n: 更正单
    if record.outcome == "all_done":
        yield _("Everything is done.")  # L10n: 已全部完成
    else:
        yield _("Something remains to be solved.")  # L10n: 还需解决
    if record.started_at and record.ended_at:
        yield _("Time: %(start)s – %(end)s", start=moment(record.started_at), end=moment(record.ended_at))
    for label, text in (
        (_("Service content"), record.content_text),  # L10n: 服务内容
        (_("Cause"), record.cause),
        (_("Solution"), record.solution),
        (_("Remark"), record.remark),  # L10n: 备注
    ):
        if text:
            yield _("%(label)s: %(text)s", label=label, text=text)
    for item in record.open_items:
        yield _("Remains: %(what)s", what=_open_item(item))
    for role in SIGNED_BY:
        yield from _signature_lines(role, record.signature(role))


def _open_item(item: OpenItem) -> str:
    more = [item.cause, item.part, item.promised_by.isoformat() if item.promised_by else ""]
    known = " · ".join(part for part in more if part)
    return _("%(item)s (%(facts)s)", item=item.text, facts=known) if known else item.text


def _signature_lines(role: str, signature: Signature | None) -> Iterator[str]:
    """A manager signs later or not at all; until then there is nothing to say."""
    if signature is None:
        return
    who = {"customer": _("Customer"), "engineer": _("Engineer"), "manager": _("Department manager")}[role]
    if signature.present:
        yield _("Signed, %(who)s: %(name)s, %(time)s", who=who, name=signature.name, time=moment(signature.signed_at))
    elif signature.method == "refused":
        yield _("Not signed, %(who)s refused: %(reason)s", who=who, reason=signature.reason)
    elif signature.method == "absent":
        yield _("Not signed, %(who)s was absent: %(reason)s", who=who, reason=signature.reason)
