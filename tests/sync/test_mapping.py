"""The page of the store's words: what is in force, what an administrator replaces, and what the live store lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from fieldapp.accounts.models import User
from fieldapp.audit import AuditEntry
from fieldapp.errors import Invalid
from fieldapp.extensions import db, operation, settings
from fieldapp.outbox import Promise
from fieldapp.sync import breaker, operations, worker
from fieldapp.sync.models import StoreCheck
from fieldapp.tickets import connection, mapping
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.stores import store
from fieldapp.tickets.wording import mapping_of, replaced
from tests.sync.double import NAME, Double, app, double, said, ticket_in  # noqa: F401 - fixtures


@pytest.fixture
def administrator(logged_in: Callable[[User], FlaskClient], admin: User) -> FlaskClient:
    return logged_in(admin)


def page(browser: FlaskClient) -> str:
    return browser.get("/deliveries/mapping").get_data(as_text=True)


def replace_one(browser: FlaskClient, section: str, word: str, means: str):  # type: ignore[no-untyped-def]
    return browser.post("/deliveries/mapping", data={"section": section, "word": word, "means": means})


def test_a_held_delivery_is_mended_by_another_word(
    double: Double,  # noqa: F811
    administrator: FlaskClient,
    unfinished: Callable[[Ticket], Promise],
) -> None:
    row = unfinished(ticket_in(double, "T-1"))
    double.words = [word for word in double.words if word != "in_progress"] + ["Being worked on"]
    worker.run_once("w")
    assert 'href="/deliveries/mapping"' in administrator.get("/deliveries").get_data(as_text=True)
    db.session.refresh(row)
    assert row.state == "held"

    assert replace_one(administrator, "statuses.write", "in_progress", "Being worked on").status_code == 303
    administrator.post(f"/deliveries/{row.id}/retry")
    worker.run_once("w")

    db.session.refresh(row)
    assert (row.state, double.tickets["T-1"]["status"]) == ("delivered", "Being worked on")
    audited = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "mapping.replaced")).one()
    assert audited.facts == {"section": "statuses.write", "word": "in_progress", "means": "Being worked on"}


def test_the_page_shows_the_words_in_force_and_who_replaced_which(administrator: FlaskClient) -> None:
    assert "Statuses that we set" in page(administrator)
    replace_one(administrator, "statuses.read", "Wait", "waiting_customer")
    replace_one(administrator, "place", "", "Service desk 2")
    replace_one(administrator, "fields", "customer", "")

    text = page(administrator)

    assert "Wait" in text
    assert "Service desk 2" in text
    assert text.count("Replaced by 管理员") == 3
    assert store().words.statuses.ours("wait", "new") == "waiting_customer"  # type: ignore[attr-defined]
    assert store().words.place == "Service desk 2"  # type: ignore[attr-defined]


def test_what_was_replaced_can_be_taken_back(administrator: FlaskClient) -> None:
    replace_one(administrator, "statuses.write", "closed", "Finished")
    assert store().words.statuses.theirs("closed") == "Finished"  # type: ignore[attr-defined]

    answer = administrator.post("/deliveries/mapping/taken-back", data={"section": "statuses.write", "word": "closed"})

    assert answer.status_code == 303
    assert store().words.statuses.theirs("closed") == "closed"  # type: ignore[attr-defined]
    again = administrator.post("/deliveries/mapping/taken-back", data={"section": "statuses.write", "word": "closed"})
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("section", "word", "means", "field"),
    [
        ("statuses.write", "no_such_word", "Open", "word"),
        ("statuses.read", "Open", "no_such_word", "word"),
        ("statuses.write", "closed", " ", "means"),
        ("statuses.read", " ", "closed", "word"),
        ("place", "", "", "means"),
        ("options", "x" * 121, "y", "word"),
        ("fields", "x", "y" * 201, "means"),
        ("secrets", "x", "y", "section"),
    ],
)
def test_what_is_no_entry_is_refused_and_stays_in_the_form(
    administrator: FlaskClient, section: str, word: str, means: str, field: str
) -> None:
    answer = replace_one(administrator, section, word, means)
    program = administrator.post(
        "/deliveries/mapping",
        data={"section": section, "word": word, "means": means},
        headers={"Accept": "application/json"},
    )

    assert answer.status_code == 422
    assert list(program.json["fields"]) == [field]
    assert replaced(NAME) == ()


def test_the_office_reads_and_only_an_administrator_replaces(
    app: Flask,  # noqa: F811
    logged_in: Callable[[User], FlaskClient],
    dispatcher: User,
    engineer: User,
) -> None:
    office = logged_in(dispatcher)

    assert "Statuses that we set" in page(office)
    assert "Replace an entry" not in page(office)
    assert replace_one(office, "place", "", "x").status_code == 403
    assert logged_in(engineer).get("/deliveries/mapping").status_code == 403


def test_an_installation_with_its_own_desk_has_nothing_to_replace(
    administrator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tests.sync.double.DEFAULTS", raising=False)
    own = replace(settings._get_current_object(), ticket_store="embedded")  # type: ignore[attr-defined]
    administrator.application.extensions["settings"] = own

    assert "speaks our words" in page(administrator)


# ---- the live store ----------------------------------------------------------------------------------------


def test_a_worker_looks_at_the_store_and_the_page_says_what_is_missing(
    double: Double,  # noqa: F811
    administrator: FlaskClient,
) -> None:
    assert "was not looked at yet" in page(administrator)
    worker.check_store()
    assert "The store fits these words" in page(administrator)

    double.words.remove("suspended")
    worker.check_store()  # nobody asked, and an hour has not passed
    assert "The store fits these words" in page(administrator)
    assert administrator.post("/deliveries/mapping/check").status_code == 303
    assert "within a minute" in page(administrator)
    worker.check_store()

    text = page(administrator)
    assert "There is no status “suspended”." in text
    assert "Name another word for suspended." in text


def test_a_store_that_cannot_be_looked_at_says_why_and_is_left_alone(
    double: Double,  # noqa: F811
    administrator: FlaskClient,
) -> None:
    double.before = lambda _method, _path: said({"error": "who are you"}, 403)

    worker.check_store()

    text = page(administrator)
    assert "could not be looked at" in text
    assert "who are you" in text
    assert breaker.room(NAME) == 0
    db.session.delete(db.session.get_one(StoreCheck, NAME))
    db.session.commit()
    double.asked.clear()
    worker.check_store()
    assert double.asked == []


# ---- how words lie over each other ----------------------------------------------------------------------------


def test_replaced_words_lie_over_the_file_and_an_empty_field_takes_the_adapters_away(
    app: Flask,  # noqa: F811
    tmp_path,  # type: ignore[no-untyped-def]
) -> None:
    file = tmp_path / "words.toml"
    file.write_text('place = "A"\n[fields]\ncustomer = ""\nasset = "Serial"\n[statuses.write]\nclosed = "Shut"\n')
    told = replace(settings._get_current_object(), store_mapping=str(file))  # type: ignore[attr-defined]

    words = connection.of(told, mapping_of([("fields", "asset", ""), ("statuses.write", "new", "Fresh")])).words

    own = mapping.of({"fields": {"customer": "Kunde", "asset": "Geraet", "site": "Ort"}}, where="own")
    assert own.changed(words).fields == {"site": "Ort"}
    assert (words.place, words.statuses.write) == ("A", {"closed": "Shut", "new": "Fresh"})
    assert connection.of(told).words.fields == {"customer": "", "asset": "Serial"}


def test_words_are_read_inside_an_operation_too(app: Flask, admin: User) -> None:  # noqa: F811
    @operation
    def inside() -> object:
        operations.replace_word(NAME, "place", "", "Here", by=admin)
        return store().words.place  # type: ignore[attr-defined]

    assert inside() == "Here"
    with pytest.raises(Invalid):
        operations.replace_word(NAME, "place", "", "", by=admin)
