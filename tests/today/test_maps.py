"""Addresses that a phone's map applications understand."""

from __future__ import annotations

import pytest

from fieldapp.accounts.models import MAP_APPS
from fieldapp.today.maps import MAPS, Place, links, place

FACTORY = place("一号厂房", "上海市松江区示例路 88 号", 31_030_416, 121_227_005)
SOMEWHERE = place("", "上海市松江区示例路 88 号", None, None)
ROAD = "%E4%B8%8A%E6%B5%B7%E5%B8%82%E6%9D%BE%E6%B1%9F%E5%8C%BA%E7%A4%BA%E4%BE%8B%E8%B7%AF%2088%20%E5%8F%B7"
HALL = "%E4%B8%80%E5%8F%B7%E5%8E%82%E6%88%BF"


@pytest.mark.parametrize(
    ("app", "to", "address"),
    [
        ("amap", FACTORY, f"https://uri.amap.com/marker?position=121.227005,31.030416&name={HALL}&coordinate=wgs84"),
        ("amap", SOMEWHERE, f"https://uri.amap.com/search?keyword={ROAD}"),
        ("baidu", FACTORY, f"https://api.map.baidu.com/marker?location=31.030416,121.227005&title={HALL}"),
        ("baidu", SOMEWHERE, f"https://api.map.baidu.com/geocoder?address={ROAD}"),
        ("tencent", FACTORY, "https://apis.map.qq.com/uri/v1/marker?marker=coord%3A31.030416%2C121.227005%3Btitle"),
        ("tencent", SOMEWHERE, f"https://apis.map.qq.com/uri/v1/search?keyword={ROAD}"),
        ("apple", FACTORY, f"https://maps.apple.com/?ll=31.030416,121.227005&q={HALL}"),
        ("apple", SOMEWHERE, f"https://maps.apple.com/?q={ROAD}"),
        ("geo", FACTORY, f"geo:31.030416,121.227005?q=31.030416,121.227005({HALL})"),
        ("geo", SOMEWHERE, f"geo:0,0?q={ROAD}"),
    ],
)
def test_a_place_opens_by_its_point_or_else_by_its_address(app: str, to: Place, address: str) -> None:
    assert MAPS[app](to).startswith(address)


def test_a_point_south_and_west_keeps_its_sign_and_its_zeros() -> None:
    assert place("", "", -7_000_050, -500).point == ("-7.000050", "-0.000500")


@pytest.mark.usefixtures("app")
def test_the_persons_own_map_comes_first() -> None:
    assert [key for key, _name, _href in links(FACTORY, "tencent")][:2] == ["tencent", "amap"]
    assert [key for key, _name, _href in links(FACTORY, None)] == list(MAP_APPS)
