"""Forms of customers, contacts, sites and assets. Every value comes out clean: trimmed, full-width digits mended."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar
from uuid import UUID

from wtforms import DateField, DecimalField, EmailField, Field, Form, SelectField, StringField, TelField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import DataRequired, Length, NumberRange, Optional, ValidationError

from fieldapp.customers.models import Asset, Customer, Site, degrees, is_email, is_phone, millionths
from fieldapp.customers.operations import AssetDetails, ContactDetails, CustomerDetails, Details, SiteDetails
from fieldapp.i18n import LOCALES, _
from fieldapp.i18n import lazy as _l

D = TypeVar("D", CustomerDetails, ContactDetails, SiteDetails, AssetDetails)

TIER_WORDS = {
    "standard": _l("Standard"),  # L10n: 普通
    "enterprise": _l("Enterprise"),  # L10n: 企业
    "vip": _l("VIP"),  # L10n: VIP
    "key_account": _l("Key account"),  # L10n: 大客户
}


def trimmed(value: Any) -> Any:
    """Text without spaces around it, with plain line ends (wtforms filter)."""
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else value


def half_width(value: Any) -> Any:
    """Numbers as one types them on an English keyboard: ``ＺＷ３０００`` is ``ZW3000`` (wtforms filter)."""
    return unicodedata.normalize("NFKC", value).strip() if isinstance(value, str) else value


def phone_number(_form: Form, field: Field) -> None:
    """wtforms validator of phone numbers."""
    if field.data and not is_phone(field.data):
        raise ValidationError(_("Write a phone number with digits, for example 021-5550 1234 or 13900000001."))


def email_address(_form: Form, field: Field) -> None:
    """wtforms validator of e-mail addresses."""
    if field.data and not is_email(field.data):
        raise ValidationError(_("Write an e-mail address with @, for example chen@example.com."))


def at_most(number: int) -> Length:
    """wtforms validator: no longer than the column."""
    return Length(max=number, message=_l("Write at most %(max)d characters."))


def needed(sentence: Any) -> DataRequired:
    """wtforms validator: something must be typed; blanks do not count."""
    return DataRequired(message=sentence)


def choices_of(*pairs: tuple[Any, Any]) -> list[SelectChoice]:
    """Choices of a SelectField from (value, words)."""
    return [SelectChoice(str(value), words) for value, words in pairs]


class Sentences:
    """What wtforms says by itself, in our words and languages."""

    def gettext(self, text: str) -> str:
        ours = {
            "Not a valid choice.": _("Choose one from the list."),
            "Not a valid date value.": _("Write the day as year-month-day, for example 2026-11-21."),
            "Not a valid decimal value.": _("Write a number, for example 31.2304."),
        }
        return ours.get(text, text)

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        return self.gettext(singular if n == 1 else plural)


class DetailsForm(Form):
    """A form that gives the details that an operation takes, and can show what is stored meanwhile."""

    class Meta:
        def get_translations(self, _form: Form) -> Sentences:
            return Sentences()

    details_class: type[Details]

    def values(self) -> dict[str, Any]:
        """Field values by the names of the details; empty choices are None."""
        names = [each.name for each in fields(self.details_class)]
        return {name: self._value(name) for name in names}

    def details(self) -> Any:
        """The details for the operation."""
        return self.details_class(**self.values())

    def say(self, sentences: Mapping[str, str]) -> None:
        """Put the operation's complaints at their fields."""
        for name, sentence in sentences.items():
            if name in self:
                self[name].errors = [*self[name].errors, sentence]

    def compare(self, stored: Mapping[str, Any]) -> None:
        """Say at each field that differs what is stored now."""
        mine = self.values()
        self.say(
            {
                name: _("Stored meanwhile: %(value)s", value=self.spoken(name, value))
                for name, value in stored.items()
                if mine.get(name) != value
            }
        )

    def spoken(self, name: str, value: Any) -> str:
        """A stored value as people read it."""
        field = self[name]
        if isinstance(field, SelectField):
            words = {choice.value: choice.label for choice in field.choices}
            return str(words.get(str(value or ""), value or "–"))
        return str(value) if value not in (None, "") else "–"

    def _value(self, name: str) -> Any:
        data = self[name].data
        if name.endswith("_id"):
            return UUID(data) if data else None
        return "" if data is None and isinstance(self[name], StringField) else data


class CustomerForm(DetailsForm):
    """客户."""

    details_class = CustomerDetails
    name = StringField(
        _l("Customer name"),  # L10n: 客户名称
        [needed(_l("Say the customer's name.")), at_most(160)],
        filters=[trimmed],
    )
    number = StringField(
        _l("Customer number"),  # L10n: 客户编号
        [needed(_l("Give the customer a number.")), at_most(40)],
        filters=[half_width],
    )
    tier = SelectField(_l("Tier"), choices=choices_of(*TIER_WORDS.items()), default="standard")  # L10n: 客户等级
    phone = TelField(_l("Company phone"), [phone_number, at_most(40)], filters=[half_width])  # L10n: 公司电话
    region = StringField(_l("Region"), [at_most(60)], filters=[trimmed])  # L10n: 区域
    account_owner_id = SelectField(_l("Account owner"), default="")  # L10n: 客户负责人
    credit = StringField(_l("Credit"), [at_most(20)], filters=[trimmed])  # L10n: 信用
    special_needs = TextAreaField(_l("Special needs"), [at_most(2000)], filters=[trimmed])  # L10n: 特殊要求
    blackout = TextAreaField(
        _l("No visits at these times"),
        [at_most(2000)],
        filters=[trimmed],  # L10n: 不可上门时间
    )


class ContactForm(DetailsForm):
    """联系人."""

    details_class = ContactDetails
    name = StringField(
        _l("Contact"), [needed(_l("Say the contact's name.")), at_most(80)], filters=[trimmed]
    )  # L10n: 联系人
    role = StringField(_l("Position"), [at_most(60)], filters=[trimmed])  # L10n: 职务
    mobile = TelField(_l("Mobile phone"), [phone_number, at_most(40)], filters=[half_width])  # L10n: 联系人手机
    phone = TelField(_l("Phone"), [phone_number, at_most(40)], filters=[half_width])  # L10n: 电话
    qq = StringField(_l("QQ"), [at_most(40)], filters=[half_width])  # L10n: 联系人QQ
    wechat = StringField(_l("WeChat"), [at_most(60)], filters=[trimmed])  # L10n: 微信
    email = EmailField(_l("E-mail"), [email_address, at_most(160)], filters=[half_width])  # L10n: 邮箱
    language = SelectField(_l("Language of reports"), default="")  # L10n: 报告语言

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.language.choices = choices_of(("", _("As usual")), *LOCALES.items())

    def values(self) -> dict[str, Any]:
        return {**super().values(), "language": self.language.data or None}


class SiteForm(DetailsForm):
    """服务地点."""

    details_class = SiteDetails
    name = StringField(
        _l("Site"), [needed(_l("Give the site a name.")), at_most(120)], filters=[trimmed]
    )  # L10n: 服务地点
    address = StringField(
        _l("Address"), [needed(_l("Say the address.")), at_most(240)], filters=[trimmed]
    )  # L10n: 地址
    region = StringField(_l("Region"), [at_most(60)], filters=[trimmed])
    access_notes = TextAreaField(_l("How to get in"), [at_most(2000)], filters=[trimmed])  # L10n: 进场说明
    latitude = DecimalField(
        _l("Latitude"),  # L10n: 纬度
        [Optional(), NumberRange(-90, 90, _l("Write degrees from %(min)s to %(max)s, for example 31.2304."))],
        places=6,
        filters=[trimmed],
    )
    longitude = DecimalField(
        _l("Longitude"),  # L10n: 经度
        [Optional(), NumberRange(-180, 180, _l("Write degrees from %(min)s to %(max)s, for example 31.2304."))],
        places=6,
        filters=[trimmed],
    )

    def values(self) -> dict[str, Any]:
        plain = {name: self._value(name) for name in ("name", "address", "region", "access_notes")}
        return {**plain, "latitude_e6": millionths(self.latitude.data), "longitude_e6": millionths(self.longitude.data)}

    def compare(self, stored: Mapping[str, Any]) -> None:
        mine = self.values()
        differing = {name.removesuffix("_e6"): value for name, value in stored.items() if mine[name] != value}
        self.say(
            {
                name: _("Stored meanwhile: %(value)s", value=self.spoken(name, value))
                for name, value in differing.items()
            }
        )

    def spoken(self, name: str, value: Any) -> str:
        return super().spoken(name, degrees(value) if name in ("latitude", "longitude") else value)


class AssetForm(DetailsForm):
    """设备/产品."""

    details_class = AssetDetails
    model = StringField(_l("Model"), [needed(_l("Say the model.")), at_most(120)], filters=[trimmed])  # L10n: 型号
    serial = StringField(
        _l("Serial number"),
        [needed(_l("Say the serial number.")), at_most(80)],
        filters=[half_width],  # L10n: 序列号
    )
    software_version = StringField(_l("Software version"), [at_most(60)], filters=[trimmed])  # L10n: 软件版本
    site_id = SelectField(_l("Site"), default="")
    bought_on = DateField(_l("Bought on"), [Optional()])  # L10n: 购买日期
    warranty_until = DateField(_l("Warranty until"), [Optional()])  # L10n: 保修截止
    config = TextAreaField(_l("Configuration"), [at_most(10000)], filters=[trimmed])  # L10n: 配置

    def validate_warranty_until(self, field: Field) -> None:
        if field.data and self.bought_on.data and field.data < self.bought_on.data:
            raise ValidationError(_("The warranty cannot end before the day of purchase."))


# ---- forms filled from what is stored -------------------------------------------------------------------


def customer_form(posted: Any, customer: Customer | None, owners: list[tuple[UUID, str]]) -> CustomerForm:
    """The form of a customer; ``owners`` are the people who may own the account."""
    stored = _data(customer, {"account_owner_id": str(customer.account_owner_id or "")}) if customer else None
    form = CustomerForm(posted, data=stored)
    form.account_owner_id.choices = choices_of(("", _("Nobody")), *owners)
    return form


def site_form(posted: Any, site: Site | None) -> SiteForm:
    """The form of a service site."""
    if site is None:
        return SiteForm(posted)
    return SiteForm(
        posted, data=_data(site, {"latitude": degrees(site.latitude_e6), "longitude": degrees(site.longitude_e6)})
    )


def asset_form(posted: Any, asset: Asset | None, sites: list[Site]) -> AssetForm:
    """The form of an asset; ``sites`` are those of its customer."""
    form = AssetForm(posted, data=_data(asset, {"site_id": str(asset.site_id or "")}) if asset else None)
    form.site_id.choices = choices_of(("", _("Not known")), *((site.id, site.name) for site in sites))
    return form


def _data(thing: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    return {**{column.key: getattr(thing, column.key) for column in thing.__table__.columns}, **more}
