"""The record form as people type it. A draft may be half empty: only what cannot be read is complained about here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
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

from fieldapp import clock
from fieldapp.errors import Invalid
from fieldapp.extensions import settings
from fieldapp.i18n import _, lazy
from fieldapp.records.models import OpenItem, ServiceRecord
from fieldapp.records.operations import known_of
from fieldapp.records.values import (
    Basis,
    Evaluation,
    Filled,
    Given,
    NamedPhoto,
    OpenLine,
    PartLine,
    Shown,
    Whole,
)
from fieldapp.storage import SHA256
from fieldapp.texts import storable
from fieldapp.visits.models import Visit

LOCAL_TIME = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
LONG, LINES = 4000, 200  # what a page of the report can be made of
MOST_ROWS = 30
SPARE_ROWS = 3
# A field of a row. Which row is a short number: wtforms would stumble over "²", or over a thousand digits.
IN_ROW, ROW = re.compile(r"(parts|open_items)-"), re.compile(r"(parts|open_items)-[0-9]{1,4}(-|$)")
TIMES = ("started_at", "ended_at")
# What the customer's screen shows of the form, each value as it is sent (static/js/offline/shown.js).
SHOWN = (
    "cause",
    "content_text",
    "customer_name",
    "outcome",
    "prevention",
    "remark",
    "service_type",
    "solution",
    "started_at",
    "ended_at",
    "times_reason",
    "tools",
    "contact_phone",
    "skill_rating",
    "attitude_rating",
    "signer_name",
)
SHOWN_ROWS = {
    "parts": ("name", "quantity", "serial", "old_serial"),
    "open_items": ("text", "cause", "part", "promised_by"),
}
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

    def __init__(self, formdata: MultiDict[str, str] | None = None, **more: Any) -> None:
        strange = [name for name in formdata or () if IN_ROW.match(name) and not ROW.match(name)]
        if formdata is not None and strange:
            kept = ((name, text) for name, text in formdata.items(multi=True) if name not in strange)
            formdata = MultiDict(kept)
        super().__init__(formdata, **more)
        self.strange = strange

    def with_spare_rows(self) -> RecordForm:
        """Some empty rows at the end, so that a row can be added without JavaScript."""
        for rows in (self.parts, self.open_items):
            for _row in range(SPARE_ROWS):
                rows.append_entry()
        return self

    def complain(self, errors: Mapping[str, str]) -> RecordForm:
        """Put the sentences of an operation at the fields they are about; a list has a row to write into."""
        for rows in (self.parts, self.open_items):
            if not len(rows):
                rows.append_entry()
        for name, sentence in errors.items():
            if name in self and not self[name].errors:
                self[name].errors = [sentence]
        return self

    def filled(self) -> Filled:
        """The typed values (raises Invalid with a sentence at each field that cannot be read)."""
        if not self.validate() or self.strange:
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


# ---- a record that comes whole ------------------------------------------------------------------------


def whole(form: MultiDict[str, str], visit_id: UUID, evidence: Mapping[str, Any]) -> Whole:
    """Everything that a phone sends when a record is finished (raises Invalid with a sentence at what cannot be read)."""
    customer = given(form, "customer", evidence)
    signer = form.get("signer_name", "") or customer.name
    return Whole(
        filled=RecordForm(_without_reset_clock(form)).filled(),
        customer=replace(customer, name=signer[:80], at=_device_time(form.get("customer_at", ""))),
        evaluation=replace(evaluation(form), contact_phone=_last(form, "contact_phone")[:40]),
        engineer=replace(given(form, "engineer", evidence), at=_device_time(form.get("engineer_at", ""))),
        photos=_named_photos(form.get("photos", "")),
        basis=basis(form) or Basis(),
        shown=_shown(form, visit_id),
    )


def basis(form: MultiDict[str, str]) -> Basis | None:
    """What the draft on the phone started from; None when it does not say."""
    said = _json(form.get("base", ""))
    if not isinstance(said, dict):
        return None
    fields, revision = said.get("fields"), said.get("revision")
    return Basis(revision=revision if type(revision) is int else None, filled=_filled_before(fields))


def _filled_before(fields: object) -> Filled | None:
    if not isinstance(fields, dict):
        return None
    pairs = [
        (str(name), storable(str(each)))
        for name, values in fields.items()
        if isinstance(values, list)
        for each in values
    ]
    try:
        return RecordForm(MultiDict(pairs)).filled()
    except Invalid:
        return None


def _without_reset_clock(form: MultiDict[str, str]) -> MultiDict[str, str]:
    """A phone whose battery was empty believes that it is 1970: hours that it wrote then say nothing."""
    kept = [(name, text) for name, text in form.items(multi=True) if not (name in TIMES and text.startswith("19"))]
    return MultiDict(kept)


def _named_photos(text: str) -> tuple[NamedPhoto, ...]:
    listed = _json(text) if text else []
    if not isinstance(listed, list):
        raise Invalid(_("The list of photos cannot be read."))
    return tuple(_named_photo(each) for each in listed)


def _named_photo(said: object) -> NamedPhoto:
    if not isinstance(said, dict) or not SHA256.fullmatch(str(said.get("sha256"))) or not _whole(said.get("size")):
        raise Invalid(_("The list of photos cannot be read."))
    return NamedPhoto(
        sha256=str(said["sha256"]),
        size=said["size"],
        kind=str(said.get("kind", "")),
        caption=storable(str(said.get("caption", ""))),
        taken_at=_device_time(str(said.get("taken_at", ""))),
        width=_whole(said.get("width")),
        height=_whole(said.get("height")),
    )


def _shown(form: MultiDict[str, str], visit_id: UUID) -> Shown | None:
    """What the customer's screen displayed: kept word for word, and compared with the form that came."""
    text = form.get("shown", "")
    if not text:
        return None
    said, claimed = _json(text), form.get("shown_sha256", "")
    sealed = hashlib.sha256(text.encode()).hexdigest() == claimed
    return Shown(text=text, matches=sealed and isinstance(said, dict) and _says(said, form, visit_id))


def _says(said: dict[str, Any], form: MultiDict[str, str], visit_id: UUID) -> bool:
    expected: dict[str, Any] = {name: _one_line_end(form.get(name, "")) for name in SHOWN}
    expected |= {name: _rows_shown(form, name, columns) for name, columns in SHOWN_ROWS.items()}
    expected |= {"solved": form.getlist("solved"), "visit": str(visit_id)}
    expected["photos"] = [photo.sha256 for photo in _named_photos(form.get("photos", ""))]
    return all(_one_line_end(said.get(name)) == value for name, value in expected.items())


def _rows_shown(form: MultiDict[str, str], name: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows that say something in their first column, in the order in which they came."""
    lead = re.compile(rf"{name}-(\d+)-{columns[0]}")
    numbers = [found[1] for key, text in form.items() if (found := lead.fullmatch(key)) and text.strip()]
    return [{column: form.get(f"{name}-{number}-{column}", "") for column in columns} for number in numbers]


def _one_line_end(value: Any) -> Any:
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def _json(text: str) -> Any:
    """What the text holds; None when it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _last(form: MultiDict[str, str], name: str) -> str:
    """The form and the customer's screen have the field; the customer wrote last."""
    return next(reversed(form.getlist(name)), "")


def _whole(number: object) -> int | None:
    return number if type(number) is int and 0 < number <= 2**31 - 1 else None


def _device_time(text: str) -> datetime | None:
    return clock.parse_device_time(text) if text else None


# ---- below --------------------------------------------------------------------------------------------


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
