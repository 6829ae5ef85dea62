"""工单动态: what changed in the ticket store, old and new in words, until somebody has seen it."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from fieldapp.errors import Invalid
from fieldapp.extensions import db, settings
from fieldapp.i18n import _, lazy
from fieldapp.offline import answers
from fieldapp.security import OFFICE, requires
from fieldapp.tickets import labels, news
from fieldapp.tickets.models import PullCursor, TicketNews
from fieldapp.tickets.queries import number_into

blueprint = Blueprint("news", __name__)
FIELDS = {
    "status": lazy("Status"),  # L10n: 状态
    "priority": lazy("Priority"),  # L10n: 优先级
    "subject": lazy("Subject"),  # L10n: 主题
    "customer": lazy("Customer"),  # L10n: 客户
    "text": lazy("Description"),  # L10n: 问题描述
}
LOOKS = {
    "new": (lazy("New ticket"), "info", "plus"),  # L10n: 新工单
    "changed": (lazy("Changed"), "neutral", "edit"),  # L10n: 有更改
    "merged": (lazy("Merged"), "warn", "copy"),  # L10n: 已合并
    "gone": (lazy("Gone from the ticket store"), "bad", "question"),  # L10n: 工单系统中已不存在
    "back": (lazy("There again"), "info", "refresh"),  # L10n: 重新出现
}


@blueprint.get("/dispatch/news")
@requires(*OFFICE)
def index() -> str:
    """What is new, newest first, or what was seen; and how reading the store goes."""
    seen = request.args.get("state") == "seen"
    return render_template(
        "dispatch/news.html",
        listing=news.listing(current_user, seen=seen, before=_uuid(request.args.get("before", ""))),
        seen=seen,
        paged="before" in request.args,
        reading=db.session.get(PullCursor, settings.ticket_store),
        looks=LOOKS,
        said=said,
    )


@blueprint.post("/dispatch/news/<uuid:news_id>/seen")
@requires(*OFFICE)
def see(news_id: UUID) -> Response:
    """One line was seen."""
    return answers.submitted(lambda _told: news.see(news_id, by=current_user), then=url_for(".index"))


@blueprint.post("/dispatch/news/seen")
@requires(*OFFICE)
def see_all() -> Response:
    """All lines were seen, up to the one that stood first on the page."""
    newest = _uuid(request.form.get("newest", ""))
    if newest is None:
        raise Invalid(_("Open the list again: it does not say how far it was read."))
    return answers.submitted(lambda _told: news.see_all(newest, by=current_user), then=url_for(".index"))


def said(line: TicketNews) -> list[str]:
    """What changed, each field in a sentence; where our copy does not hold it, that something was written."""
    sentences = [_change(each["field"], each["before"], each["after"]) for each in line.changes]
    if line.kind == "merged":
        return [_("It is a part of %(number)s now.", number=number_into(line.ticket) or "–"), *sentences]
    if line.kind == "gone":
        return [_("The ticket store does not have it any more. What we know of it stays here.")]
    if line.kind == "changed" and not sentences:
        return [_("Something was written on it, for example a note.")]
    return sentences


def _change(field: str, before: str, after: str) -> str:
    if field == "text":
        return _("The description was changed.")
    words = {"status": labels.STATUSES, "priority": labels.PRIORITIES}.get(field, {})
    was, now = words.get(before, before) or "–", words.get(after, after) or "–"
    return _("%(field)s: %(before)s → %(after)s", field=FIELDS.get(field, field), before=was, after=now)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
