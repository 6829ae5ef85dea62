"""The import page: upload, look at the check, load the very same files."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from fieldapp.accounts.models import User
from fieldapp.customers.models import Customer
from fieldapp.extensions import db
from fieldapp.storage import blobs
from tests.conftest import add
from tests.customers.samples import ASSETS, CUSTOMERS, SITES

LogIn = Callable[[User], FlaskClient]


@pytest.fixture
def desk(logged_in: LogIn, dispatcher: User) -> FlaskClient:
    """The dispatcher's browser."""
    return logged_in(dispatcher)


def upload(desk: FlaskClient, **texts: str) -> TestResponse:
    """Choose files and send them; the answer is the page of the check."""
    data = {kind: (io.BytesIO(text.encode()), f"{kind}.csv") for kind, text in texts.items()}
    answer = desk.post("/customers/import", data=data)
    assert answer.status_code == 303
    return desk.get(answer.location)


def count() -> int:
    """How many customers are stored."""
    return db.session.scalar(select(func.count()).select_from(Customer)) or 0


def test_files_are_checked_then_the_same_files_are_loaded(desk: FlaskClient) -> None:
    checked = upload(desk, customers=CUSTOMERS, sites=SITES, assets=ASSETS)
    assert "All rows are right. Nothing is loaded yet." in checked.text
    assert count() == 0

    names = {kind: blobs.put(text.encode()) for kind, text in (("customers", CUSTOMERS), ("sites", SITES))}
    assert all(name in checked.text for name in names.values())
    loaded = desk.post("/customers/import/load", data=names)

    assert "All rows are loaded." in loaded.text
    assert count() == 2


def test_wrong_rows_are_listed_and_can_be_taken_along(desk: FlaskClient) -> None:
    checked = upload(desk, customers=CUSTOMERS.replace("VIP", "=1+1") + "x,y,z\n")

    assert "2 places are wrong. Nothing is loaded." in checked.text
    assert "Load these rows" not in checked.text
    link = checked.text.split("/customers/import/wrong-rows.csv?")[1].split('"')[0]
    answer = desk.get(f"/customers/import/wrong-rows.csv?{link}")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "'=1+1" in answer.text


def test_wrong_files_cannot_be_loaded_by_hand(desk: FlaskClient) -> None:
    answer = desk.post("/customers/import/load", data={"customers": blobs.put(b"a,b\n1,2\n")})

    assert answer.status_code == 422
    assert "Nothing was loaded." in answer.text


def test_what_changed_since_the_check_stops_the_load(desk: FlaskClient) -> None:
    sites = "客户编号,服务地点,地址\nC-7,总部,示例路\n"

    answer = desk.post("/customers/import/load", data={"sites": blobs.put(sites.encode())})
    add(Customer(number="C-7", name="后来的"))
    again = desk.post("/customers/import/load", data={"sites": blobs.put(sites.encode())})

    assert answer.status_code == 422
    assert "There is no customer with this number." in answer.text
    assert "All rows are loaded." in again.text


def test_columns_that_nobody_knows_are_named(desk: FlaskClient) -> None:
    assert "天气" in upload(desk, customers="客户编号,客户名称,天气\nC-1,甲,晴\n").text


@pytest.mark.parametrize("path", ["/customers/import", "/customers/import/load"])
def test_without_a_file_the_page_asks_for_one(desk: FlaskClient, path: str) -> None:
    answer = desk.post(path, data={})

    assert answer.status_code == 422
    assert "Choose at least one file." in answer.text


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "x"])
def test_a_file_that_is_not_there_is_not_found(desk: FlaskClient, name: str) -> None:
    assert desk.get("/customers/import", query_string={"customers": name}).status_code == 404
    assert desk.post("/customers/import/load", data={"customers": name}).status_code == 404


def test_empty_files_with_headings_can_be_taken_along(desk: FlaskClient) -> None:
    answer = desk.get("/customers/import/assets.csv")

    assert answer.data.startswith(b"\xef\xbb\xbf")
    assert "序列号,型号,客户编号" in answer.text
    assert answer.headers["Content-Disposition"] == "attachment; filename=assets.csv"
    assert desk.get("/customers/import/planets.csv").status_code == 404


def test_a_long_list_of_wrong_rows_is_cut_on_the_page(desk: FlaskClient) -> None:
    rows = "".join(f"C-{n},甲{n},皇帝\n" for n in range(250))

    page = upload(desk, customers="客户编号,客户名称,客户等级\n" + rows).text

    assert "250 places are wrong" in page
    assert "Only the first 200 are shown here." in page
