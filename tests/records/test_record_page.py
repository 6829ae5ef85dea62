"""The record's form as a phone takes it along: before the arrival, and while the office thinks of something else."""

from __future__ import annotations

from collections.abc import Callable

from flask.testing import FlaskClient
from lxml import html

from fieldapp.accounts.models import User
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit

LogIn = Callable[[User], FlaskClient]


def test_the_form_is_there_before_the_arrival_and_is_not_saved_by_a_plain_form(
    visit: Visit, engineer: User, logged_in: LogIn
) -> None:
    phone, address = logged_in(engineer), f"/visits/{visit.id}/record"

    page = phone.get(address)
    early = phone.post(address, data={"content_text": "更换主板"})

    assert page.status_code == 200
    assert html.fromstring(page.text).xpath("//form[@id='record']//textarea[@name='content_text']")
    assert early.status_code == 409
    assert "更换主板" in early.text


def test_a_cancelled_visit_still_shows_its_engineer_the_form(
    visit: Visit, engineer: User, dispatcher: User, logged_in: LogIn
) -> None:
    visits.cancel(visit, "客户改期", by=dispatcher)

    page = logged_in(engineer).get(f"/visits/{visit.id}/record")

    assert page.status_code == 200
    assert html.fromstring(page.text).xpath("//form[@id='record']")
