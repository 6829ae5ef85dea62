"""Forms of the ticket desk: who is calling, and what is wrong (S1, 客户报修)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from wtforms import EmailField, Form, SelectChoice, SelectField, StringField, TelField, TextAreaField

from fieldapp.customers.forms import Sentences, at_most, email_address, half_width, needed, phone_number, trimmed
from fieldapp.customers.models import Asset, Customer
from fieldapp.i18n import _
from fieldapp.i18n import lazy as _l
from fieldapp.tickets import labels
from fieldapp.tickets.desk import queries
from fieldapp.tickets.desk.models import DeskTicket
from fieldapp.tickets.desk.operations import LONGEST_SUBJECT, Intake

STRANGER = "stranger"


def _choices(words: Mapping[str, Any]) -> list[SelectChoice]:
    return [SelectChoice(value, word) for value, word in words.items()]


class CallerForm(Form):
    """Whose ticket it is and which device it concerns: typed as they are known, then settled against the customer file.

    ``pick`` is what was chosen among the suggestions for the words ``picked_for``: a customer's number, or STRANGER.
    """

    customer = StringField(
        _l("Customer: number, name or phone"),  # L10n: 客户名称
        [at_most(160)],
        filters=[trimmed],
    )
    pick = StringField(filters=[trimmed])
    picked_for = StringField(filters=[trimmed])
    asset_serial = StringField(_l("Serial number of the device"), [at_most(80)], filters=[half_width])  # L10n: 序列号

    class Meta:
        def get_translations(self, _form: Form) -> Sentences:
            return Sentences()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asset: Asset | None = queries.asset_with(self.asset_serial.data) if self.asset_serial.data else None
        self.known = self._known()
        settled = self.known or self.is_stranger or not self.words
        self.suggestions = [] if settled else queries.customers_like(self.words)

    @property
    def words(self) -> str:
        """What was typed for the customer."""
        return self.customer.data or ""

    @property
    def is_stranger(self) -> bool:
        """Whoever files the ticket said that this customer is not in the file."""
        return bool(self.words) and self.pick.data == STRANGER and self.picked_for.data == self.words

    @property
    def options(self) -> list[tuple[str, str]]:
        """The customers that may be meant, and that it is none of them."""
        named = [
            (each.number, " · ".join(filter(None, (each.name, each.number, each.phone)))) for each in self.suggestions
        ]
        return [*named, (STRANGER, _("Not in the customer file yet"))]

    def validate(self, extra_validators: Any = None) -> bool:
        sound: bool = super().validate(extra_validators)
        for field, sentence in ((self.customer, self._wrong_customer()), (self.asset_serial, self._wrong_asset())):
            if sentence:
                field.errors, sound = [*field.errors, sentence], False
        return sound

    def _known(self) -> Customer | None:
        if self.pick.data and self.picked_for.data == self.words:
            return queries.customer_numbered(self.pick.data)
        if not self.words and self.asset is not None:
            return self.asset.customer
        return queries.customer_called(self.words) or queries.customer_called(unicodedata.normalize("NFKC", self.words))

    def _wrong_customer(self) -> str:
        if self.known or self.is_stranger:
            return ""
        if not self.words:
            return _("Say who the customer is.")
        return (
            _("Choose which customer this is.") if self.suggestions else _("Nobody in the customer file is called so.")
        )

    def _wrong_asset(self) -> str:
        if not self.asset_serial.data:
            return ""
        if self.asset is None:
            return _("No device has this serial number. Leave it empty and say under product what it is.")
        if self.known is None or self.asset.customer_id != self.known.id:
            return _("This device belongs to %(customer)s.", customer=self.asset.customer.name)
        return ""


class TicketForm(CallerForm):
    """What a caller says."""

    subject = StringField(
        _l("What is wrong, in a few words"),
        [needed(_l("Say in a few words what is wrong.")), at_most(LONGEST_SUBJECT)],
        filters=[trimmed],
    )
    text = TextAreaField(_l("Description"), [at_most(10000)], filters=[trimmed])
    channel = SelectField(_l("How it came in"), choices=_choices(labels.CHANNELS))
    type = SelectField(_l("Kind of request"), choices=_choices(labels.TYPES), default="hardware")
    priority = SelectField(_l("Priority"), choices=_choices(labels.PRIORITIES), default="normal")
    product = StringField(
        _l("Product and software version"),  # L10n: 购买产品信息(软件版本)
        [at_most(160)],
        filters=[trimmed],
    )
    company_phone = TelField(_l("Company phone"), [phone_number, at_most(40)], filters=[half_width])  # L10n: 公司电话
    contact_name = StringField(_l("Contact"), [at_most(80)], filters=[trimmed])  # L10n: 联系人
    contact_phone = TelField(_l("Mobile phone"), [phone_number, at_most(40)], filters=[half_width])  # L10n: 联系人手机
    contact_qq = StringField(_l("QQ"), [at_most(40)], filters=[half_width])  # L10n: 联系人QQ
    contact_email = EmailField(_l("E-mail"), [email_address, at_most(160)], filters=[half_width])  # L10n: 邮箱
    named_engineer = StringField(
        _l("Engineer whom they remember from last time"),  # L10n: 上次服务师傅
        [at_most(80)],
        filters=[trimmed],
    )
    cover = SelectField(_l("Maintenance contract"), choices=_choices(labels.COVERS))  # L10n: 维护签约情况

    def intake(self) -> Intake:
        """What the operation takes."""
        same = ("subject", "text", "channel", "type", "priority", "product", "company_phone", "cover")
        caller = ("contact_name", "contact_phone", "contact_qq", "contact_email", "named_engineer")
        said = {name: self[name].data or "" for name in (*same, *caller)}
        return Intake(
            customer_number=self.known.number if self.known else None,
            customer_name=self.known.name if self.known else self.words,
            asset_serial=self.asset.serial if self.asset else None,
            **said,
        )


def caller_form(posted: Any, ticket: DeskTicket) -> CallerForm:
    """The form that links a ticket, filled with what stands there."""
    filled = {"customer": ticket.customer_number or ticket.customer_name, "asset_serial": ticket.asset_serial}
    return CallerForm(posted, data=filled)
