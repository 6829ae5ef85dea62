"""What roles, languages, maps and devices are called on a page."""

from __future__ import annotations

from fieldapp.accounts.models import LoginSession, User
from fieldapp.i18n import LOCALES, _
from fieldapp.security import ROLES

# The first that is found in what a browser says of itself; the order matters, since they all claim to be each other.
SYSTEMS = (
    ("HarmonyOS", "HarmonyOS"),
    ("OpenHarmony", "HarmonyOS"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "Mac"),
    ("Linux", "Linux"),
)
BROWSERS = (
    ("MicroMessenger", "WeChat"),
    ("Edg/", "Edge"),
    ("HuaweiBrowser", "Huawei Browser"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)


def role_names() -> dict[str, str]:
    """Every role and what it is called, in the order of the work."""
    names = {
        "engineer": _("Engineer"),  # L10n: 工程师
        "dispatcher": _("Dispatcher"),  # L10n: 派单员
        "manager": _("Manager"),  # L10n: 部门经理
        "admin": _("Administrator"),  # L10n: 管理员
    }
    return {role: names[role] for role in ROLES}


def role_name(user: User) -> str:
    return role_names()[user.role]


def language_options() -> list[tuple[str, str]]:
    """Choices for a person's language; empty: as the device says."""
    return [("", _("As the device says")), *LOCALES.items()]


def map_options() -> list[tuple[str, str]]:
    """Choices for the map in which an address opens; empty: ask each time."""
    return [
        ("", _("Ask each time")),
        ("amap", _("Amap")),  # L10n: 高德地图
        ("baidu", _("Baidu Maps")),  # L10n: 百度地图
        ("tencent", _("Tencent Maps")),  # L10n: 腾讯地图
        ("apple", _("Apple Maps")),  # L10n: Apple 地图
        ("geo", _("The device's own map")),
    ]


def device_name(login_session: LoginSession) -> str:
    """``Android, Chrome``: what a person recognises of a device."""
    return browser_name(login_session.user_agent)


def browser_name(told: str) -> str:
    """The same from what the browser says of itself."""
    parts = [_first(SYSTEMS, told), _first(BROWSERS, told)]
    return ", ".join(part for part in parts if part) or _("Unknown device")


def _first(known: tuple[tuple[str, str], ...], told: str) -> str | None:
    return next((name for sign, name in known if sign in told), None)
