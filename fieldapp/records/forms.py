"""The record form as people type it. A draft may be half empty: only what cannot be read is complained about here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from werkzeug.datastructures import MultiDict
from wtforms import (
    DateField,
    DateTimeLocalField,
    FieldList,
    Form,
    FormField,
    IntegerField,
    RadioField,
    SelectChoice,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import Length, NumberRange, Optional

from fieldapp.errors import Invalid
from fieldapp.extensions import settings
from fieldapp.i18n import _, lazy
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.records.operations import Evaluation, Filled, Given, OpenLine, PartLine
from fieldapp.visits.models import Visit

LOCAL_TIME = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
LONG = 8000
SPARE_ROWS = 2
SERVICE_TYPES = [
    SelectChoice("implementation", lazy("Implementation")),  # L10n: 实施
    SelectChoice("maintenance", lazy("Maintenance")),  # L10n: 维护
    SelectChoice("remote", lazy("Remote")),  # L10n: 远程
]
OUTCOMES = [
    SelectChoice("all_done", lazy("All done")),  # L10n: 已全部完成
    SelectChoice("remaining", lazy("Still to be solved")),  # L10n: 还需解决
]


class PartForm(Form):
    """One spare part."""

    name = StringField(lazy("Part"), [Length(max=120)])  # L10n: 备件
    quantity = IntegerField(lazy("Quantity"), [Optional(), NumberRange(1, 9999)])
    serial = StringField(lazy("New serial number"), [Length(max=80)])
    old_serial = StringField(lazy("Old serial number"), [Length(max=80)])


class OpenItemForm(Form):
    """One thing that remains to be solved."""

    text = StringField(lazy("What remains"), [Length(max=500)])
    cause = StringField(lazy("Why it could not be solved"), [Length(max=500)])  # L10n: 未修复原因
    part = StringField(lazy("Part needed"), [Length(max=120)])
    promised_by = DateField(lazy("Promised by"), [Optional()])


class RecordForm(Form):
    """客户服务记录表, the engineer's fields (F2–F5, F9, F10, F12) and what stands behind them."""

    service_type = RadioField(lazy("Service type"), [Optional()], choices=SERVICE_TYPES)  # L10n: 服务类型
    customer_name = StringField(lazy("Customer name"), [Length(max=160)])  # L10n: 客户名称
    content_text = TextAreaField(lazy("Service content"), [Length(max=LONG)])  # L10n: 服务内容
    cause = TextAreaField(lazy("Cause of the fault"), [Length(max=LONG)])  # L10n: 故障原因
    solution = TextAreaField(lazy("Solution"), [Length(max=LONG)])  # L10n: 解决方法
    prevention = TextAreaField(lazy("Prevention"), [Length(max=LONG)])  # L10n: 预防措施
    tools = StringField(lazy("Tools used"), [Length(max=500)])  # L10n: 使用工具
    parts = FieldList(FormField(PartForm))
    outcome = RadioField(lazy("Outcome of this service"), [Optional()], choices=OUTCOMES)  # L10n: 本次服务完成情况
    open_items = FieldList(FormField(OpenItemForm))
    solved = SelectMultipleField(lazy("Solved today"), coerce=str, validate_choice=False)
    started_at = DateTimeLocalField(lazy("Start"), [Optional()], format=LOCAL_TIME)
    ended_at = DateTimeLocalField(lazy("End"), [Optional()], format=LOCAL_TIME)
    times_reason = StringField(lazy("Why the times differ"), [Length(max=500)])
    remark = TextAreaField(lazy("Remarks"), [Length(max=LONG)])  # L10n: 备注
    contact_phone = StringField(lazy("Contact phone"), [Length(max=40)])  # L10n: 联系电话
    correction_reason = StringField(lazy("Reason of the correction"), [Length(max=1000)])  # L10n: 更正原因

    def with_spare_rows(self) -> RecordForm:
        """Some empty rows at the end, so that a row can be added without JavaScript."""
        for rows in (self.parts, self.open_items):
            for _row in range(SPARE_ROWS):
                rows.append_entry()
        return self

    def complain(self, errors: Mapping[str, str]) -> RecordForm:
        """Put the sentences of an operation at the fields they are about."""
        for name, sentence in errors.items():
            if name in self and not self[name].errors:
                self[name].errors = [sentence]
        return self

    def filled(self) -> Filled:
        """The typed values (raises Invalid with a sentence at each field that cannot be read)."""
        if not self.validate():
            raise Invalid(_("Some fields cannot be read."), fields=_first_errors(self.errors))
        return Filled(
            service_type=self.service_type.data or None,
            customer_name=self.customer_name.data or "",
            content_text=self.content_text.data or "",
            outcome=self.outcome.data or None,
            started_at=_utc(self.started_at.data),
            ended_at=_utc(self.ended_at.data),
            times_reason=self.times_reason.data or "",
            remark=self.remark.data or "",
            contact_phone=self.contact_phone.data or "",
            cause=self.cause.data or "",
            solution=self.solution.data or "",
            prevention=self.prevention.data or "",
            tools=self.tools.data or "",
            parts=tuple(_part(row.form) for row in self.parts if _text(row.form.name)),
            open_items=tuple(_open_line(row.form) for row in self.open_items if _text(row.form.text)),
            solved_item_ids=tuple(_keys(self.solved.data or [])),
        )


def blank(visit: Visit) -> RecordForm:
    """The form for a visit on which nothing was filled in: what the system knows is there already."""
    contact = visit.contact
    kind = visit.kind if visit.kind in ("implementation", "maintenance", "remote") else "maintenance"
    values = {
        "service_type": kind,
        "customer_name": visit.customer.name,
        "contact_phone": contact.reach if contact else visit.customer.phone,
        "started_at": _wall(visit.started_at),
    }
    return RecordForm(data=values)


def of_record(record: ServiceRecord) -> RecordForm:
    """The form as it was saved."""
    names = ("service_type", "customer_name", "content_text", "outcome", "times_reason", "remark", "contact_phone")
    values: dict[str, Any] = {name: getattr(record, name) for name in names}
    values |= {name: getattr(record, name) for name in ("cause", "solution", "prevention", "tools")}
    values |= {"started_at": _wall(record.started_at), "ended_at": _wall(record.ended_at)}
    values["parts"] = [
        {"name": part.name, "quantity": part.quantity, "serial": part.serial, "old_serial": part.old_serial}
        for part in record.parts
    ]
    values["open_items"] = [_item_values(item) for item in record.open_items]
    values["solved"] = record.solved_item_ids
    return RecordForm(data=values)


def evaluation(form: MultiDict[str, str]) -> Evaluation:
    """客户评价 and the phone from a submitted page."""
    return Evaluation(
        skill_rating=form.get("skill_rating") or None,
        attitude_rating=form.get("attitude_rating") or None,
        contact_phone=form.get("contact_phone", "")[:40],
    )


def given(form: MultiDict[str, str], role: str, evidence: Mapping[str, Any]) -> Given:
    """A signature as a page sent it. Drawn beats typed; a reason chosen beats both."""
    typed = form.get(f"{role}_typed", "").strip()
    strokes = form.get(f"{role}_strokes", "")
    method = form.get(f"{role}_method", "") or ("drawn" if _has_ink(strokes) or not typed else "typed")
    return Given(
        method=method,
        name=(typed if method == "typed" else form.get(f"{role}_name", ""))[:80],
        phone=form.get(f"{role}_phone", "")[:40],
        reason=form.get(f"{role}_reason", "")[:2000],
        strokes=strokes if method == "drawn" else "",
        evidence=evidence,
    )


def _has_ink(strokes: str) -> bool:
    return '"strokes":[[' in strokes.replace(" ", "")


def _part(row: Form) -> PartLine:
    return PartLine(
        name=_text(row.name),
        quantity=row.quantity.data or 1,
        serial=_text(row.serial),
        old_serial=_text(row.old_serial),
    )


def _open_line(row: Form) -> OpenLine:
    return OpenLine(
        text=_text(row.text), cause=_text(row.cause), part=_text(row.part), promised_by=row.promised_by.data
    )


def _item_values(item: OpenItem) -> dict[str, Any]:
    return {"text": item.text, "cause": item.cause, "part": item.part, "promised_by": item.promised_by}


def _text(field: StringField) -> str:
    return (field.data or "").strip()


def _keys(texts: list[str]) -> list[UUID]:
    keys = []
    for text in texts:
        try:
            keys.append(UUID(text))
        except ValueError:
            continue
    return keys


def _utc(wall: datetime | None) -> datetime | None:
    """A time as it was typed, on the wall clock of the installation, in UTC."""
    return wall.replace(tzinfo=settings.zone).astimezone(UTC) if wall else None


def _wall(moment: datetime | None) -> datetime | None:
    return moment.astimezone(settings.zone).replace(tzinfo=None, second=0, microsecond=0) if moment else None


def _first_errors(errors: Mapping[str | None, Any], prefix: str = "") -> dict[str, str]:
    """wtforms' nested errors as one sentence per field name."""
    flat: dict[str, str] = {}
    for name, found in errors.items():
        key = f"{prefix}{name}"
        if isinstance(found, Mapping):
            flat |= _first_errors(found, f"{key}-")
        elif found and isinstance(found[0], Mapping):
            for number, row in enumerate(found):
                flat |= _first_errors(row, f"{key}-{number}-")
        elif found:
            flat[key] = str(found[0])
    return flat
