"""The record form as people type it. A draft may be half empty: only what cannot be read is complained about here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from werkzeug.datastructures import MultiDict
from wtforms import (
    DateField,
    DateTimeLocalField,
    Field,
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
from wtforms.validators import NumberRange, Optional, ValidationError

from fieldapp.errors import Invalid
from fieldapp.extensions import settings
from fieldapp.i18n import _, lazy
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.records.operations import Evaluation, Filled, Given, OpenLine, PartLine, known_of
from fieldapp.visits.models import Visit

LOCAL_TIME = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
LONG, LINES = 4000, 200  # what a page of the report can be made of
MOST_ROWS = 30
SPARE_ROWS = 3
SERVICE_TYPES = [
    SelectChoice("implementation", lazy("Implementation")),  # L10n: 实施
    SelectChoice("maintenance", lazy("Maintenance")),  # L10n: 维护
    SelectChoice("remote", lazy("Remote")),  # L10n: 远程
]
OUTCOMES = [
    SelectChoice("all_done", lazy("All done")),  # L10n: 已全部完成
    SelectChoice("remaining", lazy("Still to be solved")),  # L10n: 还需解决
]


class AtMost:
    """wtforms validator: at most so many characters, and lines where it matters; the sentence says both numbers."""

    def __init__(self, characters: int, lines: int | None = None) -> None:
        self.characters, self.lines = characters, lines

    def __call__(self, _form: Form, field: Field) -> None:
        text = (field.data or "").replace("\r\n", "\n")
        if len(text) > self.characters:
            raise ValidationError(
                _("Write at most %(most)s characters; these are %(found)s.", most=self.characters, found=len(text))
            )
        if self.lines and text.count("\n") >= self.lines:
            found = text.count("\n") + 1
            raise ValidationError(_("Write at most %(most)s lines; these are %(found)s.", most=self.lines, found=found))


class DayField(DateField):
    """A day; what is none is said in our words."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError as error:
            raise ValueError(_("Write a day such as 2026-11-21.")) from error
        if _far_away(self.data):
            raise ValueError(_("Write a day such as 2026-11-21."))


class TimeField(DateTimeLocalField):
    """A day and time; what is none is said in our words."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError as error:
            raise ValueError(_("Write a day and time such as 2026-11-21 14:09.")) from error
        if _far_away(self.data):
            raise ValueError(_("Write a day and time such as 2026-11-21 14:09."))


class NumberField(IntegerField):
    """A whole number; what is none is said in our words."""

    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError as error:
            raise ValueError(_("Write a whole number.")) from error


class PartForm(Form):
    """One spare part."""

    name = StringField(lazy("Part"), [AtMost(120)])  # L10n: 备件
    quantity = NumberField(
        lazy("Quantity"), [Optional(), NumberRange(1, 9999, lazy("Write a number from %(min)s to %(max)s."))]
    )
    serial = StringField(lazy("New serial number"), [AtMost(80)])
    old_serial = StringField(lazy("Old serial number"), [AtMost(80)])


class OpenItemForm(Form):
    """One thing that remains to be solved."""

    text = StringField(lazy("What remains"), [AtMost(500)])
    cause = StringField(lazy("Why it could not be solved"), [AtMost(500)])  # L10n: 未修复原因
    part = StringField(lazy("Part needed"), [AtMost(120)])
    promised_by = DayField(lazy("Promised by"), [Optional()])


class RecordForm(Form):
    """客户服务记录表, the engineer's fields (F2–F5, F9, F10, F12) and what stands behind them."""

    service_type = RadioField(lazy("Service type"), [Optional()], choices=SERVICE_TYPES)  # L10n: 服务类型
    customer_name = StringField(lazy("Customer name"), [AtMost(160)])  # L10n: 客户名称
    content_text = TextAreaField(lazy("Service content"), [AtMost(LONG, LINES)])  # L10n: 服务内容
    cause = TextAreaField(lazy("Cause of the fault"), [AtMost(LONG, LINES)])  # L10n: 故障原因
    solution = TextAreaField(lazy("Solution"), [AtMost(LONG, LINES)])  # L10n: 解决方法
    prevention = TextAreaField(lazy("Prevention"), [AtMost(LONG, LINES)])  # L10n: 预防措施
    tools = StringField(lazy("Tools used"), [AtMost(500)])  # L10n: 使用工具
    parts = FieldList(FormField(PartForm))
    outcome = RadioField(lazy("Outcome of this service"), [Optional()], choices=OUTCOMES)  # L10n: 本次服务完成情况
    open_items = FieldList(FormField(OpenItemForm))
    solved = SelectMultipleField(lazy("Solved today"), coerce=str, validate_choice=False)
    started_at = TimeField(lazy("Start"), [Optional()], format=LOCAL_TIME)
    ended_at = TimeField(lazy("End"), [Optional()], format=LOCAL_TIME)
    times_reason = StringField(lazy("Why the times differ"), [AtMost(500)])
    remark = TextAreaField(lazy("Remarks"), [AtMost(LONG, LINES)])  # L10n: 备注
    contact_phone = StringField(lazy("Contact phone"), [AtMost(40)])  # L10n: 联系电话
    correction_reason = StringField(lazy("Reason of the correction"), [AtMost(1000)])  # L10n: 更正原因

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
        self._check_rows()
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

    def _check_rows(self) -> None:
        for rows in (self.parts, self.open_items):
            if len(rows) > MOST_ROWS:
                sentence = _("At most %(most)s rows; put the rest into the remarks.", most=MOST_ROWS)
                raise Invalid(sentence, fields={rows.name: sentence})


def blank(visit: Visit) -> RecordForm:
    """The form for a visit on which nothing was filled in: what the system knows is there already."""
    return RecordForm(data={**known_of(visit), "started_at": _wall(visit.started_at)})


def of_record(record: ServiceRecord) -> RecordForm:
    """The form as it was saved; the start is the recorded one until another is typed."""
    names = ("service_type", "customer_name", "content_text", "outcome", "times_reason", "remark", "contact_phone")
    values: dict[str, Any] = {name: getattr(record, name) for name in names}
    values |= {name: getattr(record, name) for name in ("cause", "solution", "prevention", "tools")}
    values |= {"started_at": _wall(record.started_at or record.visit.started_at), "ended_at": _wall(record.ended_at)}
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
    """A signature as a page sent it in fields that begin with ``role``. Drawn beats typed; a reason chosen beats both."""
    typed = form.get(f"{role}_typed", "").strip()
    strokes = form.get(f"{role}_strokes", "")
    method = form.get(f"{role}_method", "") or ("drawn" if _has_ink(strokes) or not typed else "typed")
    return Given(
        method=method,
        name=((method == "typed" and typed) or form.get(f"{role}_name", ""))[:80],
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


def _far_away(day: date | None) -> bool:
    """A year that was half typed (0026), or one that no calendar here can reckon with."""
    return day is not None and not 2000 <= day.year <= 2100


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
