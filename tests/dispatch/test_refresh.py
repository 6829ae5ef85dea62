"""The board in a real browser: states change without a reload, a new plan is offered, axe finds nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from playwright.sync_api import Page, Route, expect
from time_machine import Traveller
from werkzeug.serving import make_server

from fieldapp import clock
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.extensions import db, operation
from fieldapp.tickets.models import Ticket
from fieldapp.visits import operations as visits
from fieldapp.visits.models import WINDOW, Visit
from tests.browser.conftest import browser_type_launch_args  # noqa: F401 - the machine's Chromium
from tests.dispatch.conftest import AFTERNOON, planned

pytestmark = pytest.mark.browser
AXE = ROOT / "node_modules/axe-core/axe.min.js"
SIZES = [{"width": 360, "height": 640}, {"width": 1280, "height": 800}]
LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture(autouse=True)
def afternoon() -> Iterator[Traveller]:
    """A browser needs a clock that goes on."""
    with time_machine.travel(AFTERNOON, tick=True) as traveller:
        yield traveller


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def board(page: Page, address: str, visit: Visit, dispatcher: User) -> Page:
    """The dispatcher's board with one visit, in a browser that complains about nothing."""
    token = accounts.open_session(dispatcher, user_agent="tests", address="127.0.0.1")
    page.context.add_cookies([{"name": accounts.COOKIE, "value": token, "url": address}])
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    db.session.rollback()
    page.goto(f"{address}/dispatch", wait_until="networkidle")
    assert complaints == []
    return page


def test_a_state_changes_without_a_reload(board: Page, visit: Visit, engineer: User) -> None:
    slot = board.locator(f'.slot[data-visit-id="{visit.id}"]')
    expect(slot).to_contain_text("Assigned")
    visits.accept(visit, by=engineer)
    db.session.rollback()

    board.evaluate(LOOK_AGAIN)

    expect(slot).to_have_attribute("data-status", "accepted")
    expect(slot).to_contain_text("Accepted")
    expect(slot).not_to_contain_text("Assigned")
    expect(board.locator("[data-changed]")).to_be_hidden()


def test_who_gets_late_is_told_without_a_reload(board: Page, visit: Visit) -> None:
    passed(visit, timedelta(minutes=12, seconds=30))

    board.evaluate(LOOK_AGAIN)

    expect(board.locator(f'.slot[data-visit-id="{visit.id}"] [data-late]')).to_contain_text("12 min late")


@operation
def passed(visit: Visit, ago: timedelta) -> None:
    """Let the window of a visit have ended some time ago; the clock is not moved while a browser runs by it."""
    visit.window_start, visit.window_end = clock.now() - ago - WINDOW, clock.now() - ago


def test_a_new_plan_is_offered_as_a_link(
    board: Page, another: Callable[..., Ticket], engineer: User, dispatcher: User
) -> None:
    added = planned(another(), engineer, dispatcher, AFTERNOON + timedelta(hours=3))
    db.session.rollback()

    board.evaluate(LOOK_AGAIN)
    board.get_by_role("link", name="Show the new plan").click()

    expect(board.locator(f'.slot[data-visit-id="{added.id}"]')).to_be_visible()
    expect(board.locator("[data-changed]")).to_be_hidden()


def test_without_a_connection_the_board_says_that_it_is_old(board: Page) -> None:
    board.route("**/dispatch/states*", lambda route: _break(route))

    board.evaluate(LOOK_AGAIN)

    expect(board.locator("[data-old]")).to_be_visible()
    board.unroute("**/dispatch/states*")
    board.evaluate(LOOK_AGAIN)
    expect(board.locator("[data-old]")).to_be_hidden()


def _break(route: Route) -> None:
    route.abort()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=["phone", "desk"])
def test_every_page_of_the_desk_is_readable_by_everybody(
    board: Page, address: str, visit: Visit, another: Callable[..., Ticket], size: dict[str, int], scheme: str
) -> None:
    board.set_viewport_size(size)  # type: ignore[arg-type]
    board.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    pages = [
        "/dispatch?state=late",
        "/dispatch/table?span=week",
        f"/dispatch/tickets/{another().id}/plan",
        f"/dispatch/visits/{visit.id}/plan",
        f"/dispatch/tickets/{another(customer_id=None).id}/customer?q=C-1001",
    ]
    db.session.rollback()
    for path in ["/dispatch", *pages]:
        board.goto(address + path)
        found = _axe(board)
        assert found == [], f"{path}: {found}"
        assert board.evaluate("document.documentElement.scrollWidth") <= size["width"], path


def _axe(page: Page) -> list[str]:
    client = page.context.new_cdp_session(page)
    client.send("Page.setBypassCSP", {"enabled": True})
    page.reload()
    page.evaluate(AXE.read_text("utf-8"))
    found: list[str] = page.evaluate(
        "axe.run(document).then((r) => r.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html}`)))"
    )
    return found
