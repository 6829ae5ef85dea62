"""Files and forms that several tests of customers use."""

from __future__ import annotations

from fieldapp.customers.models import Contact, Customer, Site

CUSTOMERS = """客户编号,客户名称,客户等级,公司电话,联系人,联系人手机,联系人QQ
C-2001,苏州示例电子有限公司,VIP,0512-66660001,周敏,138 0000 2001,10002001
C-2002,无锡样本纺织厂,普通,0510-88880002,吴刚,13800002002,
"""
SITES = """客户编号,服务地点,地址,纬度,经度
C-2001,总部,苏州市工业园区示例大道1号,31.3176,120.6731
C-2002,老厂,无锡市样本路2号,,
"""
ASSETS = """序列号,型号,客户编号,服务地点,软件版本,购买日期,保修截止,配置
SZ-9001,ZW-3000,C-2001,总部,V5.2,2025-01-10,2028/1/9,双电源
WX-9002,ZW-1000,C-2002,老厂,V4.0,2019年3月1日,2022.2.28,
"""


def files(**texts: str) -> dict[str, bytes]:
    """Files by kind, as UTF-8 without BOM."""
    return {kind: text.encode() for kind, text in texts.items()}


def three() -> dict[str, bytes]:
    """One right file of each kind."""
    return files(customers=CUSTOMERS, sites=SITES, assets=ASSETS)


def customer(number: str, name: str, *, phone: str = "", mobile: str = "") -> Customer:
    """A customer with one contact and one site."""
    made = Customer(number=number, name=name, phone=phone)
    made.contacts.append(Contact(name="联系人" + number[-1], mobile=mobile))
    made.sites.append(Site(name="总部", address="示例路1号"))
    return made
