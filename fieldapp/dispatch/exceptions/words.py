"""An exception in one sentence that a dispatcher understands, and the one action that settles it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldapp.dispatch.exceptions.queries import Entry
from fieldapp.i18n import _, lazy, ngettext, said_again, when
from fieldapp.tickets.labels import STATUSES as TICKET_ENDS


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a kind of case is shown: its name, what settles it, tone and icon."""

    title: object
    action: object
    tone: str
    icon: str


LOOKS = {
    # L10n: 内容冲突 / 对照后选择
    "conflict": Look(title=lazy("Two versions"), action=lazy("Compare and choose"), tone="warn", icon="copy"),
    # L10n: 无法处理的提交 / 查看并处理
    "quarantine": Look(
        title=lazy("Could not be applied"), action=lazy("Read it and decide"), tone="bad", icon="shield"
    ),
    # L10n: 已取消但已服务 / 查看并确认
    "despite_cancellation": Look(
        title=lazy("Done despite cancellation"), action=lazy("Read and confirm"), tone="warn", icon="cancel"
    ),
    # L10n: 第二份服务记录 / 查看两次上门
    "second_record": Look(
        title=lazy("Second record"), action=lazy("Look at both visits"), tone="warn", icon="document"
    ),
    # L10n: 照片未到 / 查看缺哪些
    "photos_missing": Look(title=lazy("Photos missing"), action=lazy("See which ones"), tone="warn", icon="image"),
    # L10n: 联系电话建议 / 采用或保留
    "contact_suggestion": Look(
        title=lazy("Another telephone number"), action=lazy("Take it or leave it"), tone="info", icon="phone"
    ),
    # L10n: 工单已结束 / 查看并决定
    "ticket_ended": Look(title=lazy("Ticket ended"), action=lazy("Read it and decide"), tone="warn", icon="inbox"),
}
UNKNOWN = Look(title=lazy("Exception"), action=lazy("Look at it"), tone="warn", icon="alert")  # L10n: 例外事项


def look(entry: Entry) -> Look:
    """How this case is shown."""
    return LOOKS.get(entry.case.kind, UNKNOWN)


def sentence(entry: Entry) -> str:
    """What happened, with the names of the people it is about."""
    say = SENTENCES.get(entry.case.kind)
    return say(entry) if say else _("Somebody has to look at this.")


def engineer(entry: Entry) -> str:
    """The engineer's name; “An engineer” when nobody knows whose phone it was."""
    return entry.engineer.name if entry.engineer else _("An engineer")


def settled_by(entry: Entry) -> str:
    """Who settled it and when; what settled itself, because what was missed came, has nobody."""
    at = when(entry.case.settled_at)
    if entry.settler is None:
        return _("Settled by itself, %(when)s", when=at)  # L10n: 已自动处理,%(when)s
    return _("Settled by %(name)s, %(when)s", name=entry.settler, when=at)  # L10n: %(name)s 已处理,%(when)s


def decision(entry: Entry) -> str:
    """What was decided, with who decided it when it was a person."""
    if entry.settler is None:
        return said_again(entry.case.decision)
    return _("%(name)s: %(decision)s", name=entry.settler, decision=entry.case.decision)


def _conflict(entry: Entry) -> str:
    count = len(entry.case.facts.get("fields", ()))
    return ngettext(
        "%(name)s and the office both changed %(num)d text of the record. The report says what the phone sent.",
        "%(name)s and the office both changed %(num)d texts of the record. The report says what the phone sent.",
        max(count, 1),
        name=engineer(entry),
    )


def _quarantine(entry: Entry) -> str:
    reason = reason_of(entry)
    if not reason:
        return _("What %(name)s sent is kept, but could not be applied.", name=engineer(entry))
    return _("What %(name)s sent is kept, but could not be applied: %(reason)s", name=engineer(entry), reason=reason)


def _despite_cancellation(entry: Entry) -> str:
    if entry.visit_status == "canceled":
        went = _("%(name)s set off or was there although the visit had been cancelled.", name=engineer(entry))
        return f"{went} {_('A record has not come so far.')}"
    return _("%(name)s did the work although the visit had been cancelled.", name=engineer(entry))


def _second_record(entry: Entry) -> str:
    """Why the work was beside the plan, and whether a record of it is there already."""
    why, name = entry.case.facts.get("why"), engineer(entry)
    if why == "reassigned":
        did = _("%(name)s did work on a visit that had been given to somebody else.", name=name)
    elif why == "taken_back":
        did = _("%(name)s did work on a visit that had been taken back.", name=name)
    else:
        did = _("%(name)s did work on a visit that was closed already.", name=name)
    if entry.case.facts.get("second"):
        came = _("The record stands beside, as a visit of its own.")
    else:
        came = _("A record has not come so far.")
    return f"{did} {came}"


def _photos_missing(entry: Entry) -> str:
    return ngettext(
        "The record of %(name)s is signed, but %(num)d photo is still on the phone.",
        "The record of %(name)s is signed, but %(num)d photos are still on the phone.",
        int(entry.case.facts.get("missing", 1)),
        name=engineer(entry),
    )


def _contact_suggestion(entry: Entry) -> str:
    return _(
        "%(name)s noted another telephone number than the one that the office entered meanwhile.", name=engineer(entry)
    )


def _ticket_ended(entry: Entry) -> str:
    """How the ticket ended in the ticket store while somebody was to go there, or was there."""
    facts = entry.case.facts
    number, how = facts.get("ticket", ""), facts.get("how")
    if how == "merged":
        return _(
            "Ticket %(number)s became a part of %(into)s in the ticket store while a visit to it is planned or runs.",
            number=number,
            into=facts.get("into", ""),
        )
    if how == "gone":
        return _(
            "Ticket %(number)s is not in the ticket store any more, while a visit to it is planned or runs.",
            number=number,
        )
    ended = TICKET_ENDS.get(str(how), TICKET_ENDS["closed"])
    return _(
        "Ticket %(number)s was ended in the ticket store (%(how)s) while a visit to it is planned or runs.",
        number=number,
        how=ended,
    )


def reason_of(entry: Entry) -> str:
    """Why a submission could not be applied, in words: the engineer was told in their language, the reader has another."""
    kept = (entry.submission.reason if entry.submission else "") or str(entry.case.facts.get("sentence", ""))
    return said_again(kept)


SENTENCES: dict[str, Callable[[Entry], str]] = {
    "conflict": _conflict,
    "quarantine": _quarantine,
    "despite_cancellation": _despite_cancellation,
    "second_record": _second_record,
    "photos_missing": _photos_missing,
    "contact_suggestion": _contact_suggestion,
    "ticket_ended": _ticket_ended,
}
