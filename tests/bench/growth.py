"""How today and history grow from a thousand visits to a million: pages must not know how old the company is."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import insert, text

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.customers.models import Asset, Customer, Site
from fieldapp.extensions import db, operation, uuid7
from fieldapp.tickets.models import Ticket
from fieldapp.visits.models import Visit
from tests.bench.installation import app_in
from tests.bench.report import Line

SMALL, LARGE = 1_000, 1_000_000
PER_ENGINEER, PER_CUSTOMER = 500, 250
BATCH = 20_000
ROUNDS = 60
MUST = 1.5


def measure(folder: Path) -> list[Line]:
    """Today, one visit, a customer's and an asset's history, each at both sizes."""
    seconds = {}
    for size in (SMALL, LARGE):
        app = app_in(folder / str(size))
        with app.app_context():
            there = _filled(size)
        seconds[size] = _timed(app, there)
    return [
        Line(
            f"{name}, 1 M visits against 1 k",
            seconds[LARGE][name] / seconds[SMALL][name],
            "×",
            must=MUST,
            note=f"{seconds[SMALL][name] * 1000:.2f} → {seconds[LARGE][name] * 1000:.2f} ms",
        )
        for name in seconds[SMALL]
    ]


def _timed(app: Flask, there: dict[str, UUID]) -> dict[str, float]:
    pages = {
        "today": "/",
        "visit": f"/visits/{there['visit']}",
        "customer history": f"/customers/{there['customer']}",
        "asset history": f"/assets/{there['asset']}",
    }
    with app.app_context():
        user = db.session.get_one(User, there["engineer"])
        token = accounts.open_session(user, user_agent="bench", address="127.0.0.1")
        db.session.remove()
    browser = app.test_client()
    browser.set_cookie(accounts.COOKIE, token)
    return {name: _best(browser, path) for name, path in pages.items()}


def _best(browser: FlaskClient, path: str) -> float:
    """The least processor time of many requests: what the page costs when nothing disturbs it."""
    costs = []
    for _round in range(ROUNDS):
        started = time.process_time()
        answer = browser.get(path)
        costs.append(time.process_time() - started)
        if answer.status_code != 200:
            raise RuntimeError(f"GET {path} was answered with {answer.status_code}")
    return min(costs)


@operation
def _filled(size: int) -> dict[str, UUID]:
    """As many visits as ``size``, spread over engineers, customers and the last years; who and what to ask for."""
    engineers = _engineers(max(2, size // PER_ENGINEER))
    places = _places(max(4, size // PER_CUSTOMER))
    rng = random.Random(1)
    rows: list[dict[str, object]] = []
    for n in range(size):
        rows.append(_visit(n, engineers[n % len(engineers)], places[n % len(places)], rng))
        if len(rows) == BATCH or n == size - 1:
            db.session.execute(insert(Visit), rows)
            rows.clear()
    today = [_today(engineers[0], places[0], n) for n in range(5)]
    db.session.execute(insert(Visit), today)
    db.session.execute(text("ANALYZE"))
    place = places[0]
    return {
        "engineer": engineers[0],
        "visit": UUID(str(today[0]["id"])),
        "customer": place["customer_id"],
        "asset": place["asset_id"],
    }


def _engineers(count: int) -> list[UUID]:
    rows = [{"id": uuid7(), "username": f"e{n}", "name": f"工程师{n}", "role": "engineer"} for n in range(count)]
    db.session.execute(insert(User), rows)
    return [row["id"] for row in rows]  # type: ignore[misc]


def _places(count: int) -> list[dict[str, UUID]]:
    """Customers with a site, an asset and a ticket each."""
    keys = [{name: uuid7() for name in ("customer_id", "site_id", "asset_id", "ticket_id")} for _n in range(count)]
    now = clock.now()
    customers = [{"id": k["customer_id"], "number": f"C{n}", "name": f"客户{n}"} for n, k in enumerate(keys)]
    sites = [
        {"id": k["site_id"], "customer_id": k["customer_id"], "name": "本部", "address": f"示例路{n}号"}
        for n, k in enumerate(keys)
    ]
    assets = [
        {
            "id": k["asset_id"],
            "customer_id": k["customer_id"],
            "site_id": k["site_id"],
            "model": "ZW-3000",
            "serial": f"S{n}",
        }
        for n, k in enumerate(keys)
    ]
    tickets = [
        {
            "id": k["ticket_id"],
            "store": "embedded",
            "ref": f"T{n}",
            "version": "1",
            "number": f"T{n}",
            "subject": "服务器无法启动",
            "customer_id": k["customer_id"],
            "asset_id": k["asset_id"],
            "opened_at": now,
            "changed_at": now,
        }
        for n, k in enumerate(keys)
    ]
    for model, rows in ((Customer, customers), (Site, sites), (Asset, assets), (Ticket, tickets)):
        db.session.execute(insert(model), rows)
    return keys


def _visit(n: int, engineer: UUID, place: dict[str, UUID], rng: random.Random) -> dict[str, object]:
    start = clock.now() - timedelta(days=1 + n % 1500, minutes=rng.randrange(600))
    return {
        **place,
        "id": uuid7(),
        "lead_id": engineer,
        "kind": "maintenance",
        "status": "completed",
        "window_start": start,
        "window_end": start + timedelta(minutes=30),
        "created_at": start,
        "closed_at": start + timedelta(hours=1),
        "ended_at": start + timedelta(hours=1),
        "revision": 1,
    }


def _today(engineer: UUID, place: dict[str, UUID], n: int) -> dict[str, object]:
    start = clock.now() + timedelta(minutes=10 * n)
    return {
        **place,
        "id": uuid7(),
        "lead_id": engineer,
        "kind": "maintenance",
        "status": "accepted",
        "window_start": start,
        "window_end": start + timedelta(minutes=30),
        "created_at": start,
        "revision": 1,
    }
