"""Languages and the way people say times. zh-CN first, zh-TW and en complete.

The language is the person's own choice, else what the browser asks for, else the installation's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.support import NullTranslations, Translations
from flask import Flask, current_app, g, has_app_context, has_request_context, request
from flask_babel import Babel, get_locale, get_translations
from flask_babel.speaklater import LazyString

from fieldapp import clock

__all__ = ["HTML_LANG", "LOCALES", "_", "lazy", "locale_name", "ngettext"]

LOCALES = {"zh_Hans_CN": "简体中文", "zh_Hant_TW": "繁體中文", "en": "English"}
HTML_LANG = {"zh_Hans_CN": "zh-CN", "zh_Hant_TW": "zh-TW", "en": "en"}
SHORT_NAMES = {"zh_CN": "zh_Hans_CN", "zh_TW": "zh_Hant_TW", "zh-CN": "zh_Hans_CN", "zh-TW": "zh_Hant_TW"}
babel = Babel()


@dataclass(frozen=True, slots=True)
class _Spoken:
    """The language of a request, its name as one of LOCALES, and its catalogue."""

    locale: Locale | None
    name: str
    catalogue: NullTranslations


NOBODY_LISTENS = _Spoken(None, "en", NullTranslations())  # outside the app: the texts as they are written


def _spoken() -> _Spoken:
    """Found once for a request and a language: a page asks for dozens of texts (flask-babel would search each time)."""
    if not has_app_context():
        return NOBODY_LISTENS
    chosen = getattr(g.get("_flask_babel"), "babel_locale", None)
    kept: _Spoken | None = g.get("spoken")
    if kept is not None and kept.locale is chosen:
        return kept
    locale = get_locale()
    found = str(locale or "")
    name = found if found in LOCALES else current_app.extensions["settings"].locale
    g.spoken = _Spoken(locale, name, get_translations())
    return g.spoken  # type: ignore[no-any-return]


def gettext(text: str, /, **values: Any) -> str:
    """The text in the language of the request, with its ``%(name)s`` filled in."""
    said: str = _spoken().catalogue.ugettext(text)
    return said % values if values else said


def ngettext(singular: str, plural: str, num: int, /, **values: Any) -> str:
    """One or many, in the language of the request; ``%(num)d`` is the number."""
    said: str = _spoken().catalogue.ungettext(singular, plural, num)
    return said % {"num": num, **values}


def said_again(text: str) -> str:
    """A sentence of ours that was kept in somebody's language, in that of the request; any other text as it is.

    What was filled into a sentence cannot be told from it: such a one stays in the language in which it was kept.
    """
    ours = _sentences(current_app.config["TRANSLATIONS"]).get(text)
    return gettext(ours) if ours else text


@cache
def _sentences(folder: str) -> dict[str, str]:
    """Every text of the catalogues, in each language, with its original."""
    found: dict[str, str] = {}
    for name in LOCALES:
        texts: dict[object, str] = getattr(Translations.load(folder, [name]), "_catalog", {})
        for original, said in texts.items():
            if isinstance(original, str) and original:
                found.setdefault(said, original)
                found[original] = original
    return found


def lazy(text: str, /, **values: Any) -> LazyString:
    """A text that is said when it is used, in the language of that moment: for tables made at import."""
    return LazyString(gettext, text, **values)


_ = gettext


def init_app(app: Flask) -> None:
    """Bind Babel and the template filters that say times as people do."""
    app.config["BABEL_DEFAULT_LOCALE"] = app.extensions["settings"].locale
    app.config["BABEL_DEFAULT_TIMEZONE"] = app.extensions["settings"].timezone
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(app.config["TRANSLATIONS"])
    babel.init_app(app, locale_selector=_choose)
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]  # added by the i18n extension
        gettext=lambda text: _spoken().catalogue.ugettext(text),
        ngettext=lambda singular, plural, num: _spoken().catalogue.ungettext(singular, plural, num),
        newstyle=True,
    )
    app.jinja_env.filters.update(
        when=when, day=day, clock=clock_time, moment=moment, duration=duration, money=money, field_time=field_time
    )


def locale_name() -> str:
    """The language of this request as one of LOCALES."""
    return _spoken().name


def known_locale(name: str) -> str | None:
    """A language as people write it (zh_CN, zh-TW, en …) as one of LOCALES; None when we do not speak it."""
    name = SHORT_NAMES.get(name, name)
    return name if name in LOCALES else None


def _choose() -> str:
    default: str = current_app.extensions["settings"].locale
    if not has_request_context():
        return default
    chosen = request.args.get("lang") or getattr(g, "locale", None) or request.cookies.get("lang")
    if chosen and (known := known_locale(chosen)):
        return known
    return _of_browser(default)


def _of_browser(default: str) -> str:
    for tag, _quality in request.accept_languages:
        low = tag.lower()
        if low.startswith(("zh-tw", "zh-hk", "zh-mo", "zh-hant")):
            return "zh_Hant_TW"
        if low.startswith("zh"):
            return "zh_Hans_CN"
        if low.startswith("en"):
            return "en"
    return default


# ---- times as people say them -------------------------------------------------------------------------


def _zone() -> ZoneInfo:
    zone: ZoneInfo = current_app.extensions["settings"].zone
    return zone


def clock_time(value: datetime | None) -> str:
    """``14:05``; empty for None."""
    return value.astimezone(_zone()).strftime("%H:%M") if value else ""


def day(value: datetime | None) -> str:
    """今天, 明天, 昨天, else the date with its weekday; the year only when it is another one."""
    if value is None:
        return ""
    there, today = value.astimezone(_zone()).date(), clock.now().astimezone(_zone()).date()
    named = {0: _("Today"), 1: _("Tomorrow"), -1: _("Yesterday")}.get((there - today).days)
    if named:
        return named
    english = locale_name() == "en"
    if there.year == today.year:
        return format_date(there, "EEE d MMM" if english else "M月d日 EEE", locale=locale_name())
    return format_date(there, "d MMM y" if english else "y年M月d日", locale=locale_name())


def when(start: datetime | None, end: datetime | None = None) -> str:
    """``今天 14:00–14:30``: the day as people say it, then the time or the window."""
    if start is None:
        return ""
    span = f"{day(start)} {clock_time(start)}"
    if end is None:
        return span
    same_day = start.astimezone(_zone()).date() == end.astimezone(_zone()).date()
    return f"{span}–{clock_time(end) if same_day else when(end)}"


def moment(value: datetime | None) -> str:
    """The full date and time, for tables and logs."""
    if value is None:
        return ""
    return format_datetime(value.astimezone(_zone()), "yyyy-MM-dd HH:mm", locale=locale_name())


def field_time(value: datetime | None) -> str:
    """``2026-11-21T14:05``: the value of a datetime-local field, on the wall clock of the installation."""
    return value.astimezone(_zone()).strftime("%Y-%m-%dT%H:%M") if value else ""


def duration(span: timedelta | int | None) -> str:
    """A span (timedelta, or seconds) in hours and minutes: 1 小时 20 分钟."""
    if span is None:
        return ""
    minutes = int((span.total_seconds() if isinstance(span, timedelta) else span) // 60)
    hours, rest = divmod(max(minutes, 0), 60)
    if hours and rest:
        return _("%(hours)s h %(minutes)s min", hours=hours, minutes=rest)
    return _("%(hours)s h", hours=hours) if hours else _("%(minutes)s min", minutes=rest)


def money(fen: int | None) -> str:
    """Integer fen as yuan: 12345 → ¥123.45."""
    if fen is None:
        return ""
    sign, amount = ("-" if fen < 0 else ""), abs(fen)
    return f"{sign}¥{amount // 100:,}.{amount % 100:02d}"
