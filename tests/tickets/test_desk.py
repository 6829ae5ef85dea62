"""The embedded store's desk: filing, reading and answering tickets."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.customers.models import Asset, Customer
from fieldapp.extensions import db, uuid7
from fieldapp.sync.pull import pull
from fieldapp.tickets import news
from fieldapp.tickets.desk import uploads
from fieldapp.tickets.desk.models import DeskFile, DeskNote, DeskTicket
from fieldapp.tickets.desk.operations import Intake, file_ticket
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.operations import expect_back
from fieldapp.tickets.store import Change, Rejected, StoreFile
from fieldapp.tickets.stores.embedded import EmbeddedStore
from tests.conftest import add

CALL = {
    "customer": "C-1001",
    "asset_serial": "ZW3000-0001",
    "subject": "服务器无法启动",
    "text": "开机后蓝屏\n昨天停过电",
    "channel": "hotline",
    "type": "hardware",
    "priority": "high",
    "product": "账务系统 V5.2",
    "company_phone": "021-5550 1234",
    "contact_name": "陈晓",
    "contact_phone": "13900000001",
    "contact_qq": "10001",
    "contact_email": "chen@example.com",
    "named_engineer": "王磊",
    "cover": "signed",
}


@pytest.fixture
def desk(logged_in: Callable[[User], FlaskClient], dispatcher: User, asset: Asset) -> FlaskClient:
    return logged_in(dispatcher)


@pytest.fixture
def number(asset: Asset) -> str:
    """A ticket that was filed."""
    intake = Intake(subject="服务器无法启动", customer_number="C-1001", customer_name="华东精密机械有限公司")
    number = file_ticket(intake, uid="first").number
    db.session.rollback()
    return number


def tickets() -> list[DeskTicket]:
    db.session.rollback()
    return list(db.session.scalars(select(DeskTicket).order_by(DeskTicket.change)))


def filled(page: str, name: str) -> str:
    """The value that stands in a field of the page."""
    area = re.search(rf'<textarea[^>]*name="{name}"[^>]*>(?:\r?\n)?(.*?)</textarea>', page, re.DOTALL)
    if area:
        return area[1]
    chosen = re.search(rf'<select[^>]*name="{name}".*?<option[^>]*selected[^>]*value="([^"]*)"', page, re.DOTALL)
    if chosen:
        return chosen[1]
    field = re.search(rf'<input[^>]*name="{name}"[^>]*>', page)
    value = re.search(r'value="([^"]*)"', field[0]) if field else None
    return value[1] if value else ""


# ---- filing ----------------------------------------------------------------------------------------------


def test_a_call_becomes_a_ticket_that_the_office_can_plan_at_once(desk: FlaskClient) -> None:
    answer = desk.post("/desk", data=CALL)

    (ticket,) = tickets()
    assert answer.status_code == 303
    assert answer.location == f"/desk/{ticket.number}"
    assert re.fullmatch(r"T-\d{8}-0001", ticket.number)
    for name in ("subject", "text", "product", "contact_name", "contact_qq", "contact_email", "cover", "priority"):
        assert getattr(ticket, name).replace("\r\n", "\n") == CALL[name]
    assert (ticket.customer_number, ticket.asset_serial, ticket.opened_by) == ("C-1001", "ZW3000-0001", "赵敏")
    ours = db.session.scalars(select(Ticket)).one()
    assert ours.ref == ticket.number
    assert ours.customer is not None
    assert ours.asset is not None
    assert "账务系统 V5.2" in ours.text


def test_what_one_person_writes_while_we_deliver_is_news_for_the_others(
    desk: FlaskClient, number: str, manager: User
) -> None:
    pull(EmbeddedStore())
    expect_back("embedded", number, "resolved")
    EmbeddedStore().push(Change(uid="report_issued:1", ticket=number, note="已更换电源", status="resolved"))
    pull(EmbeddedStore())
    assert news.brief(manager).count == 0

    desk.post(f"/desk/{number}/notes", data={"text": "客户说还是蓝屏", "base": "2", "submission_id": str(uuid7())})

    assert [(line.by, line.changes) for line in news.brief(manager).lines] == [("赵敏", [])]


def test_the_same_form_sent_twice_files_one_ticket(desk: FlaskClient) -> None:
    form = {**CALL, "submission_id": str(uuid7())}

    first, second = desk.post("/desk", data=form), desk.post("/desk", data=form)

    assert first.location == second.location
    assert len(tickets()) == 1


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("subject", " ", "Say in a few words what is wrong."),
        ("subject", "长" * 201, "200"),
        ("customer", "", "Say who the customer is."),
        ("customer", "没有这家公司", "Nobody in the customer file is called so."),
        ("asset_serial", "NO-SUCH", "No device has this serial number"),
        ("asset_serial", "OTHER-1", "This device belongs to 另一家公司."),
        ("contact_phone", "nonsense", "Write a phone number"),
        ("contact_email", "nonsense", "e-mail"),
        ("type", "escalation", "Choose one from the list."),
    ],
)
def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(
    desk: FlaskClient, field: str, value: str, sentence: str
) -> None:
    other = Customer(number="C-2002", name="另一家公司")
    other.assets.append(Asset(model="ZW-1", serial="OTHER-1"))
    add(other)
    form = {**CALL, field: value}
    if field == "customer" and not value:
        form["asset_serial"] = ""

    answer = desk.post("/desk", data=form)

    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert tickets() == []
    assert re.search(rf'id="{field}-error".*?{re.escape(sentence)}', page, re.DOTALL)
    for name, typed in form.items():
        if name != "type":
            assert filled(page, name) == typed.strip()


def test_words_for_a_customer_bring_suggestions_to_choose_from(desk: FlaskClient) -> None:
    add(Customer(number="C-3003", name="华东精密模具厂"))

    looked = desk.post("/desk", data={**CALL, "customer": "华东精密", "asset_serial": "", "look_up": "yes"})
    refused = desk.post("/desk", data={**CALL, "customer": "华东精密", "asset_serial": ""})

    for page in (looked.get_data(as_text=True), refused.get_data(as_text=True)):
        assert 'value="C-1001"' in page
        assert "华东精密模具厂" in page
        assert filled(page, "text") == CALL["text"]
    assert (looked.status_code, refused.status_code) == (200, 422)
    chosen = {**CALL, "customer": "华东精密", "picked_for": "华东精密", "pick": "C-3003", "asset_serial": ""}
    assert desk.post("/desk", data=chosen).status_code == 303
    assert tickets()[0].customer_number == "C-3003"


def test_a_choice_does_not_outlive_the_words_it_was_made_for(desk: FlaskClient) -> None:
    chosen = {**CALL, "customer": "C-1001", "picked_for": "华东", "pick": "C-3003"}

    desk.post("/desk", data=chosen)

    assert tickets()[0].customer_number == "C-1001"


def test_a_caller_who_is_not_in_the_customer_file_can_file_a_ticket(desk: FlaskClient) -> None:
    form = {**CALL, "customer": "新客户有限公司", "asset_serial": ""}
    stranger = {**form, "picked_for": "新客户有限公司", "pick": "stranger"}

    assert desk.post("/desk", data=form).status_code == 422
    assert desk.post("/desk", data=stranger).status_code == 303

    (ticket,) = tickets()
    assert (ticket.customer_number, ticket.customer_name) == (None, "新客户有限公司")


def test_the_device_alone_tells_whose_it_is(desk: FlaskClient) -> None:
    desk.post("/desk", data={**CALL, "customer": "", "asset_serial": "zw3000-0001"})

    (ticket,) = tickets()
    assert (ticket.customer_number, ticket.asset_serial) == ("C-1001", "ZW3000-0001")


def test_numbers_count_up_within_a_day(desk: FlaskClient) -> None:
    for _ in range(3):
        desk.post("/desk", data=CALL)

    assert [ticket.number[-4:] for ticket in tickets()] == ["0001", "0002", "0003"]


def test_the_empty_form_can_be_opened(desk: FlaskClient) -> None:
    page = desk.get("/desk/new").get_data(as_text=True)

    assert '<option value="C-1001">华东精密机械有限公司</option>' in page


# ---- the list --------------------------------------------------------------------------------------------


def test_the_list_shows_open_tickets_and_searches_all_it_knows(desk: FlaskClient, number: str) -> None:
    desk.post("/desk", data={**CALL, "subject": "打印机卡纸"})
    desk.post(f"/desk/{number}/notes", data={"text": "已解决", "status": "resolved", "base": "1"})

    def listed(**query: str) -> str:
        return desk.get("/desk", query_string=query).get_data(as_text=True)

    assert "打印机卡纸" in listed()
    assert "服务器无法启动" not in listed()
    assert "服务器无法启动" in listed(status="all")
    assert "服务器无法启动" in listed(status="resolved")
    for words in ("打印机", "华东精密", "陈晓", "13900000001", "zw3000", tickets()[0].number):
        assert "打印机卡纸" in listed(q=words), words
    assert "No ticket is like this." in listed(q="100%")


def test_the_list_goes_page_by_page(desk: FlaskClient) -> None:
    for place in range(51):
        file_ticket(Intake(subject=f"第 {place:02} 个"), uid=None)

    first = desk.get("/desk").get_data(as_text=True)
    second = desk.get("/desk?page=2").get_data(as_text=True)
    beyond = desk.get("/desk?page=99").get_data(as_text=True)

    assert "第 50 个" in first
    assert "第 00 个" not in first
    assert "第 00 个" in second
    assert "第 00 个" in beyond
    assert 'rel="next"' in first
    assert 'rel="prev"' in second


def test_an_empty_desk_says_what_to_do(desk: FlaskClient) -> None:
    assert "No open tickets." in desk.get("/desk").get_data(as_text=True)


# ---- the thread ------------------------------------------------------------------------------------------


def note(**more: Any) -> dict[str, Any]:
    return {"text": "已电话联系", "status": "triaged", "base": "1", "submission_id": str(uuid7()), **more}


def test_a_note_sets_the_status_and_reaches_our_copy(desk: FlaskClient, number: str) -> None:
    answer = desk.post(f"/desk/{number}/notes", data=note())

    page = desk.get(answer.location).get_data(as_text=True)
    assert answer.status_code == 303
    assert "已电话联系" in page
    assert "赵敏" in page
    assert tickets()[0].status == "triaged"
    assert db.session.scalars(select(Ticket)).one().status == "triaged"
    assert db.session.scalar(select(func.count()).where(AuditEntry.action == "desk.answered")) == 1


def test_the_same_note_sent_twice_is_one(desk: FlaskClient, number: str) -> None:
    form = note()

    desk.post(f"/desk/{number}/notes", data=form)
    desk.post(f"/desk/{number}/notes", data=form)

    assert db.session.scalar(select(func.count()).select_from(DeskNote)) == 1


def test_a_note_to_a_ticket_that_changed_meanwhile_is_shown_again_with_what_is_new(
    desk: FlaskClient, number: str
) -> None:
    desk.post(f"/desk/{number}/notes", data=note())

    answer = desk.post(f"/desk/{number}/notes", data=note(text="迟到的话", status="closed"))

    page = answer.get_data(as_text=True)
    assert answer.status_code == 409
    assert filled(page, "text") == "迟到的话"
    assert filled(page, "base") == "2"
    assert "已电话联系" in page
    assert tickets()[0].status == "triaged"


def test_an_empty_note_is_refused(desk: FlaskClient, number: str) -> None:
    answer = desk.post(f"/desk/{number}/notes", data=note(text=" ", status="new"))

    assert answer.status_code == 422
    assert "Write a note, add a file or choose another status." in answer.get_data(as_text=True)


def test_a_program_gets_the_refusal_as_json(desk: FlaskClient, number: str) -> None:
    answer = desk.post(f"/desk/{number}/notes", data=note(base="7"), headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json["error"]) == (409, "not_allowed_now")


def test_an_attachment_is_served_for_saving_only(desk: FlaskClient, number: str) -> None:
    files = [
        (io.BytesIO(b"%PDF-1.7 report"), "报告.pdf"),
        (io.BytesIO(b"<html><script>alert(1)</script>"), "../../evil\x00.pdf"),
    ]

    desk.post(f"/desk/{number}/notes", data=note(files=files))

    pdf, html = db.session.scalars(select(DeskFile).order_by(DeskFile.position))
    assert [(each.name, each.media_type) for each in (pdf, html)] == [
        ("报告.pdf", "application/pdf"),
        ("evil.pdf", "application/octet-stream"),
    ]
    answer = desk.get(f"/desk/{number}/files/{pdf.id}")
    assert answer.data == b"%PDF-1.7 report"
    assert answer.mimetype == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert desk.get(f"/desk/{number}/files/{html.id}").mimetype == "application/octet-stream"
    assert desk.get(f"/desk/{number}/files/{uuid7()}").status_code == 404
    assert desk.get(f"/desk/T-19700101-0001/files/{pdf.id}").status_code == 404


@pytest.mark.parametrize("files", [[b"x"] * 9, [b"x" * 1001]])
def test_too_many_or_too_large_files_are_refused_and_the_text_stays(
    desk: FlaskClient, number: str, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGEST_FILE", 1000)
    sent = [(io.BytesIO(content), f"{place}.bin") for place, content in enumerate(files)]

    answer = desk.post(f"/desk/{number}/notes", data=note(files=sent))

    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "Please choose again." in page
    assert filled(page, "text") == "已电话联系"
    assert db.session.scalar(select(func.count()).select_from(DeskNote)) == 0


def test_a_ticket_can_be_linked_to_its_customer_later(desk: FlaskClient) -> None:
    stranger = {**CALL, "customer": "华东", "asset_serial": "", "picked_for": "华东", "pick": "stranger"}
    address = desk.post("/desk", data=stranger).location
    assert "Not in the customer file yet" in desk.get(address).get_data(as_text=True)
    assert desk.get(f"{address}/customer").status_code == 200
    assert desk.post(f"{address}/customer", data={"customer": "?"}).status_code == 422
    assert desk.post(f"{address}/customer", data={"customer": "华东", "look_up": "yes"}).status_code == 200

    answer = desk.post(f"{address}/customer", data={"customer": "C-1001", "asset_serial": "ZW3000-0001"})

    assert answer.status_code == 303
    assert (tickets()[0].customer_number, tickets()[0].asset_serial) == ("C-1001", "ZW3000-0001")
    ours = db.session.scalars(select(Ticket)).one()
    assert ours.asset is not None


# ---- who may -----------------------------------------------------------------------------------------------


def test_engineers_and_strangers_stay_out(
    logged_in: Callable[[User], FlaskClient], engineer: User, client: FlaskClient, number: str
) -> None:
    browser = logged_in(engineer)

    for path in ("/desk", "/desk/new", f"/desk/{number}", f"/desk/{number}/customer"):
        assert browser.get(path).status_code == 403
        assert client.get(path).location.startswith("/login")
    assert browser.post("/desk", data=CALL).status_code == 403


def test_a_ticket_that_is_not_there_is_not_found(desk: FlaskClient) -> None:
    assert desk.get("/desk/T-19700101-0001").status_code == 404
    assert desk.post("/desk/T-19700101-0001/notes", data=note()).status_code == 404


def test_a_file_that_is_gone_from_the_storage_is_an_error_of_the_store(desk: FlaskClient) -> None:
    gone = StoreFile(name="照片.jpg", media_type="image/jpeg", size=3, sha256=None, ref="0" * 64)

    with pytest.raises(Rejected, match="not in the storage"):
        EmbeddedStore().content(gone)
