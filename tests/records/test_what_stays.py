"""What a saving, a signature or a correction must leave as it was."""

from __future__ import annotations

from collections.abc import Callable

from flask.testing import FlaskClient

from fieldapp.accounts.models import User
from fieldapp.records.queries import record_of
from fieldapp.visits.models import Visit

LogIn = Callable[[User], FlaskClient]
BY_PHONE = {
    "acknowledgement_method": "remote",
    "acknowledgement_name": "陈晓",
    "acknowledgement_reason": "电话确认",
}
FORM = {"service_type": "maintenance", "customer_name": "华东精密机械有限公司", "content_text": "更换主板,测试正常"}
AS_SIGNED = {**FORM, "outcome": "all_done", "cause": "主板电容老化", "solution": "更换主板"}


def test_a_stale_saving_does_not_replace_parts_that_were_saved_meanwhile(
    working: Visit, engineer: User, logged_in: LogIn
) -> None:
    browser, address = logged_in(engineer), f"/visits/{working.id}/record"
    browser.post(address, data=FORM)
    seen = {"revision": str(record_of(working).draft_revision)}

    first = browser.post(address, data={**FORM, **seen, "parts-0-name": "主板"})
    late = browser.post(address, data={**FORM, **seen, "parts-0-name": "风扇"})

    assert (first.status_code, late.status_code) == (303, 409)
    assert "风扇" in late.text
    assert [part.name for part in record_of(working).parts] == ["主板"]
