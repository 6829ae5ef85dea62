"""Links that open an address in a map application. Coordinates are WGS 84, in millionths of a degree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from fieldapp.i18n import lazy

SOURCE = "fieldapp"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go: a name, an address, and perhaps ``(latitude, longitude)`` in degrees as text."""

    name: str
    address: str
    point: tuple[str, str] | None = None


def place(name: str, address: str, latitude_e6: int | None, longitude_e6: int | None) -> Place:
    """A place from what the site's row says."""
    if latitude_e6 is None or longitude_e6 is None:
        return Place(name, address)
    return Place(name, address, (_degrees(latitude_e6), _degrees(longitude_e6)))


def links(to: Place, first: str | None) -> list[tuple[str, str, str]]:
    """``(key, name, address)`` of each map application, the person's own first."""
    order = sorted(MAPS, key=lambda key: key != first)
    return [(key, str(NAMES[key]), MAPS[key](to)) for key in order]


def _amap(to: Place) -> str:
    if to.point is None:
        return f"https://uri.amap.com/search?keyword={quote(to.address)}&src={SOURCE}&callnative=1"
    latitude, longitude = to.point
    return (
        f"https://uri.amap.com/marker?position={longitude},{latitude}&name={quote(to.name)}"
        f"&coordinate=wgs84&src={SOURCE}&callnative=1"
    )


def _baidu(to: Place) -> str:
    if to.point is None:
        return f"https://api.map.baidu.com/geocoder?address={quote(to.address)}&output=html&src={SOURCE}"
    latitude, longitude = to.point
    return (
        f"https://api.map.baidu.com/marker?location={latitude},{longitude}&title={quote(to.name)}"
        f"&content={quote(to.address)}&coord_type=wgs84&output=html&src={SOURCE}"
    )


def _tencent(to: Place) -> str:
    if to.point is None:
        return f"https://apis.map.qq.com/uri/v1/search?keyword={quote(to.address)}&referer={SOURCE}"
    latitude, longitude = to.point
    marker = f"coord:{latitude},{longitude};title:{to.name};addr:{to.address}"
    return f"https://apis.map.qq.com/uri/v1/marker?marker={quote(marker)}&coord_type=1&referer={SOURCE}"


def _apple(to: Place) -> str:
    if to.point is None:
        return f"https://maps.apple.com/?q={quote(to.address)}"
    latitude, longitude = to.point
    return f"https://maps.apple.com/?ll={latitude},{longitude}&q={quote(to.name)}"


def _geo(to: Place) -> str:
    if to.point is None:
        return f"geo:0,0?q={quote(to.address)}"
    latitude, longitude = to.point
    return f"geo:{latitude},{longitude}?q={latitude},{longitude}({quote(to.name)})"


MAPS: dict[str, Callable[[Place], str]] = {
    "amap": _amap,
    "baidu": _baidu,
    "tencent": _tencent,
    "apple": _apple,
    "geo": _geo,
}
NAMES = {
    "amap": lazy("Amap"),  # L10n: 高德地图
    "baidu": lazy("Baidu Maps"),  # L10n: 百度地图
    "tencent": lazy("Tencent Maps"),  # L10n: 腾讯地图
    "apple": lazy("Apple Maps"),  # L10n: 苹果地图
    "geo": lazy("Another map app"),  # L10n: 其他地图应用
}


def _degrees(millionths: int) -> str:
    """31230416 → 31.230416, without a float in between."""
    sign, whole = ("-" if millionths < 0 else ""), abs(millionths)
    return f"{sign}{whole // 1_000_000}.{whole % 1_000_000:06d}"
