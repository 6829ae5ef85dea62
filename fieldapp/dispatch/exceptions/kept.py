"""What a phone sent, read from the kept bytes for a person: every field with its name and value in words.

The bytes are evidence and stay as they came; a drawing is counted, not dumped.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.datastructures import FileStorage
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from fieldapp.dispatch.devices.words import deed_of
from fieldapp.errors import NotFound
from fieldapp.i18n import _, lazy, ngettext
from fieldapp.offline.models import Submission
from fieldapp.records.forms import RecordForm
from fieldapp.storage import blobs
from fieldapp.texts import storable

MOST_FIELDS, LONGEST_RAW = 500, 2000
WALL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")
ROW = re.compile(r"(parts|open_items)-(\d+)-(\w+)")
# Fields by which phone and server understand each other; a person needs them only to look very closely.
TECHNICAL = (
    "submission_id", "base", "shown", "shown_sha256", "form_version", "whole", "revision", "device", "device_at", "sent_at",
)  # fmt: skip
LABELS = {
    "customer_method": lazy("Customer signature: way"),  # L10n: 客户签字方式
    "customer_strokes": lazy("Customer signature"),  # L10n: 客户签字
    "customer_typed": lazy("Customer signature, typed"),  # L10n: 客户签字(输入)
    "signer_name": lazy("Name of who signed"),  # L10n: 签字人姓名
    "customer_reason": lazy("Why the customer did not sign"),  # L10n: 客户未签字原因
    "customer_at": lazy("The customer signed at"),  # L10n: 客户签字时间
    "engineer_strokes": lazy("Engineer's signature"),  # L10n: 服务人员签字
    "engineer_typed": lazy("Engineer's signature, typed"),  # L10n: 服务人员签字(输入)
    "engineer_at": lazy("The engineer signed at"),  # L10n: 服务人员签字时间
    "skill_rating": lazy("Technical skill"),  # L10n: 技术水平
    "attitude_rating": lazy("Attitude"),  # L10n: 服务态度
    "backup_strokes": lazy("Signature of the backup reminder"),  # L10n: 备份提醒签字
    "backup_ack_strokes": lazy("Signature of the backup reminder"),
    "photos": lazy("Photos"),  # L10n: 照片
    "reason": lazy("Reason"),  # L10n: 原因
    "note": lazy("Note"),  # L10n: 备注
    "backup": lazy("Backup reminder"),
    "times": lazy("Service time"),  # L10n: 服务时间
    "parts": lazy("Parts"),  # L10n: 备件
    "open_items": lazy("Open items"),  # L10n: 待解决事项
}
CHOSEN = ("skill_rating", "attitude_rating", "customer_method", "engineer_method", "backup_method", "backup_ack_method")
WORDS = {
    "poor": lazy("Poor"),  # L10n: 较差
    "fair": lazy("Fair"),  # L10n: 一般
    "good": lazy("Good"),  # L10n: 较好
    "drawn": lazy("drawn"),  # L10n: 手写
    "typed": lazy("typed"),  # L10n: 输入
    "refused": lazy("refused"),  # L10n: 拒签
    "absent": lazy("absent"),  # L10n: 不在场
    "not_applicable": lazy("not applicable"),  # L10n: 不适用
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field as a person reads it."""

    label: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept submission. ``problem``: why nothing can be shown, in words; empty when it can."""

    deed: str
    fields: tuple[Field, ...] = ()
    technical: tuple[Field, ...] = ()
    problem: str = ""


def read(submission: Submission) -> Kept:
    """What was sent, for a person."""
    deed = deed_of(submission.path)
    if not submission.kept_sha256:
        return Kept(deed=deed, problem=_("Only the receipt of this submission is kept, not its text."))
    try:
        body = blobs.get(submission.kept_sha256)
    except NotFound as error:
        return Kept(deed=deed, problem=error.sentence)
    pairs = _pairs(body, submission.content_type or "application/x-www-form-urlencoded")
    if not pairs:
        return Kept(deed=deed, problem=_("%(num)s bytes that are no form are kept.", num=len(body)))
    said = [(name, value) for name, value in pairs if value.strip()]
    words = Words()
    return Kept(
        deed=deed,
        fields=tuple(
            Field(label=words.label(name), value=words.value(name, value))
            for name, value in said
            if name not in TECHNICAL
        ),
        technical=tuple(Field(label=name, value=_short(value)) for name, value in said if name in TECHNICAL),
    )


# ---- bytes to pairs ---------------------------------------------------------------------------------


def _pairs(body: bytes, content_type: str) -> list[tuple[str, str]]:
    mimetype, options = parse_options_header(content_type)
    if mimetype == "multipart/form-data":
        return _parts(body, mimetype, options)
    try:
        text = body.decode("utf-8")
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MOST_FIELDS)
    except ValueError:
        return []


def _parts(body: bytes, mimetype: str, options: dict[str, str]) -> list[tuple[str, str]]:
    """Fields and files of a form with files; a file is said by its name and size."""
    try:
        _stream, form, files = FormDataParser(silent=False, max_form_parts=MOST_FIELDS).parse(
            io.BytesIO(body), mimetype, len(body), options
        )
    except ValueError:
        return []
    return [*form.items(multi=True), *((name, _file_words(file)) for name, file in files.items(multi=True))]


def _file_words(file: FileStorage) -> str:
    with file.stream:
        return _("File %(name)s, %(num)s bytes", name=file.filename or "–", num=len(file.stream.read()))


# ---- a field in words -------------------------------------------------------------------------------


class Words:
    """Labels and values of the record's form as a person reads them."""

    def __init__(self) -> None:
        self.known = _labels()

    def label(self, name: str) -> str:
        """The printed label, ``Part 2: New serial number`` for a field in a row; the name of a field that is not ours."""
        if row := ROW.fullmatch(name):
            what, number, column = row.groups()
            head = _("Part") if what == "parts" else _("Open item")  # L10n: 备件 / 待解决事项
            return f"{head} {int(number) + 1}: {self.known.get(f'{what}-{column}', column)}"
        return self.known.get(name, name)

    def value(self, name: str, value: str) -> str:
        """The word of a choice, a drawing as its number of strokes, photos as their captions, a time as people write it;
        other text as it is."""
        if name.endswith("strokes"):
            return _drawing(value)
        if name == "photos":
            return _pictures(value)
        if WALL_TIME.fullmatch(value):
            return value.replace("T", " ")
        return self.known.get(f"{name}={value}") or (str(WORDS.get(value, value)) if name in CHOSEN else value)


def _labels() -> dict[str, str]:
    """Every label of the record's form by the field's name, and of its choices by ``name=value``."""
    form = RecordForm()
    for rows in (form.parts, form.open_items):
        rows.append_entry()
    found = {name: str(label) for name, label in LABELS.items()}
    found |= {field.name: str(field.label.text) for field in form if field.name not in LABELS}
    for rows in (form.parts, form.open_items):
        found |= {f"{rows.name}-{field.short_name}": str(field.label.text) for field in rows[0].form}
    for radio in (form.service_type, form.outcome):
        found |= {f"{radio.name}={option.value}": str(option.label) for option in radio.choices}
    return found


def _drawing(text: str) -> str:
    """``Signature drawn, 12 strokes``."""
    strokes = _json(text).get("strokes")
    if not isinstance(strokes, list):
        return _("A drawing that cannot be read, %(num)s characters", num=len(text))
    return ngettext("Signature drawn, %(num)d stroke", "Signature drawn, %(num)d strokes", len(strokes))


def _pictures(text: str) -> str:
    """``2 photos: 铭牌, 完成``."""
    listed = _list(text)
    if listed is None:
        return _short(text)
    names = [caption for caption in _captions(listed) if caption]
    words = ngettext("%(num)d photo", "%(num)d photos", len(listed))
    return f"{words}: {', '.join(names)}" if names else words


def _captions(listed: list[Any]) -> Iterator[str]:
    for each in listed:
        yield storable(str(each.get("caption") or "")) if isinstance(each, dict) else ""


def _json(text: str) -> dict[str, Any]:
    found = _parsed(text)
    return found if isinstance(found, dict) else {}


def _list(text: str) -> list[Any] | None:
    found = _parsed(text)
    return found if isinstance(found, list) else None


def _parsed(text: str) -> Any:
    """What the text holds; None when it is no JSON, or nested deeper than anything that a phone writes."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_RAW else f"{text[:LONGEST_RAW]}…"
