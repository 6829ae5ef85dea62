"""The outbox page in a browser: what it says while things wait, arrive and are refused; two tabs; a full phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.hands import AXE, eventually
from tests.browser.installation import Installation, check_invariant, items, phone_of, stores, waiting

pytestmark = pytest.mark.browser
CALL = """async ([module, name, ...values]) => {
  const base = document.querySelector("script[src$='/js/main.js']").src.replace("/main.js", "/offline/");
  const store = await (await import(`${base}store.js`)).openStore(document.body.dataset.user);
  const made = (value) => typeof value === "object" && value?.random
    ? {...value, bytes: Uint8Array.from({length: value.random}, () => Math.random() * 256).buffer} : value;
  try {
    const done = await (module === "store" ? store[name](...values.map(made))
      : (await import(`${base}${module}.js`))[name](store, ...values.map(made)));
    return done?.id ?? "ok";
  } catch (error) {
    return error.constructor.name;
  }
}"""


@pytest.fixture
def context(browser: Browser, here: Installation) -> Iterator[BrowserContext]:
    context = phone_of(browser, here)
    yield context
    context.close()


@pytest.fixture
def phone(context: BrowserContext) -> Page:
    return outbox(context)


def outbox(context: BrowserContext) -> Page:
    """A tab with the outbox, and all that it loads loaded."""
    page = context.new_page()
    page.goto("/outbox?lang=en")
    expect(page.locator("[data-outbox]")).to_have_attribute("data-ready", "")
    expect(page.locator("html")).to_have_attribute("data-offline", "ready")
    return page


def call(page: Page, module: str, name: str, *values: object) -> str:
    """Call a function of the queue's modules with this person's store."""
    return str(page.evaluate(CALL, [module, name, *values]))


def queue(page: Page, visit: str, noun: str, label: str, **more: Any) -> str:
    """Queue a step as a page of the visit does."""
    request = {
        "path": f"/visits/{visit}/{noun}",
        "fields": [],
        "visit": visit,
        "label": label,
        "about": "华东纸业",
        **more,
    }
    return call(page, "outbox", "enqueue", request)


def card(page: Page, label: str) -> Locator:
    return page.locator(".outgoing").filter(has_text=label)


def axe(page: Page) -> list[Any]:
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(each["id"], [node["html"][:200] for node in each["nodes"]][:4]) for each in found]


def test_an_item_is_followed_from_the_phone_to_the_office(here: Installation, phone: Page) -> None:
    user, visit = here.people["wanglei"], here.visit()
    expect(phone.locator("[data-empty]")).to_be_visible()
    here.kill()

    identity = queue(phone, visit, "acceptance", "Accepted", leadsTo="accepted")
    expect(card(phone, "Accepted")).to_contain_text("The office does not answer. Tried 1 times")
    expect(card(phone, "Accepted")).to_contain_text("华东纸业")
    expect(phone.locator("[data-empty]")).to_be_hidden()
    assert axe(phone) == []
    here.start()
    phone.get_by_role("button", name="Send now").click()

    expect(phone.locator("[data-list=received]")).to_contain_text(f"receipt {identity[-4:]}")
    expect(phone.locator("[data-list=waiting] li")).to_have_count(0)
    expect(phone.get_by_role("link", name="Back to today")).to_be_visible()
    assert axe(phone) == []
    assert here.visit_now(visit)["status"] == "accepted"
    check_invariant(here, (phone, user))


def test_what_is_refused_says_why_and_leaves_as_a_package(here: Installation, phone: Page, tmp_path: Path) -> None:
    user = here.people["wanglei"]
    identity = queue(phone, here.visit("liting"), "departure", "Set off")  # never this engineer's

    expect(card(phone, "Set off")).to_contain_text("Needs attention")
    expect(card(phone, "Set off")).to_contain_text("not yours to see")
    assert axe(phone) == []
    with phone.expect_download() as loading:
        phone.get_by_role("button", name="Export package").click()
    loading.value.save_as(tmp_path / "package.json")

    package = json.loads((tmp_path / "package.json").read_text("utf-8"))
    assert re.fullmatch(r"fieldapp-\d{12}\.json", loading.value.suggested_filename)
    assert (package["format"], package["version"], package["user"]) == ("fieldapp-rescue", 1, user)
    assert [item["id"] for item in package["items"]] == [identity]
    expect(phone.get_by_role("status").filter(has_text="among the downloads")).to_be_visible()
    assert len(waiting(phone, user)) == 1, "an export sends nothing and deletes nothing"


def test_x6_log_in_is_asked_for_and_the_queue_drains_after_it(here: Installation, context: BrowserContext) -> None:
    phone = outbox(context)
    user, visit, session = here.people["wanglei"], here.visit(), context.cookies()
    context.clear_cookies()

    queue(phone, visit, "acceptance", "Accepted")
    expect(card(phone, "Accepted")).to_contain_text("Log in to send it")
    expect(phone.locator(".actionbar").get_by_role("link", name="Log in")).to_be_visible()
    expect(phone.get_by_role("button", name="Send now")).to_be_hidden()
    assert axe(phone) == []
    assert items(phone, user)[0]["sending"]["attempts"] == 0
    context.add_cookies(session)  # type: ignore[arg-type]
    phone.evaluate("dispatchEvent(new Event('focus'))")

    expect(phone.locator("[data-list=received]")).to_contain_text("Accepted")
    assert here.visit_now(visit)["status"] == "accepted"


def test_x5_a_portal_that_answers_everything_receives_nothing(here: Installation, phone: Page) -> None:
    user, visit = here.people["wanglei"], here.visit()
    welcome = re.compile("/(visits|offline)/")
    phone.route(welcome, lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Wi-Fi</h1>"))

    queue(phone, visit, "acceptance", "Accepted")
    expect(card(phone, "Accepted")).to_contain_text("The office does not answer.")
    assert here.visit_now(visit)["status"] == "scheduled"
    phone.unroute(welcome)
    phone.get_by_role("button", name="Send now").click()

    expect(phone.locator("[data-list=received]")).to_contain_text("Accepted")
    check_invariant(here, (phone, user))


def test_x10_a_tab_that_dies_while_it_sends_is_relieved_within_5_s(here: Installation, context: BrowserContext) -> None:
    user, visit = here.people["wanglei"], here.visit()
    first, second = outbox(context), outbox(context)
    asked: list[str] = []
    first.route(re.compile("/acceptance"), lambda route: asked.append(route.request.url))  # never answered

    first.evaluate("document.title")
    queue(first, visit, "acceptance", "Accepted")
    eventually(lambda: bool(asked) or not waiting(second, user), "one of the tabs sends")
    first.close()

    expect(second.locator("[data-list=received]")).to_contain_text("Accepted", timeout=5_000)
    assert [name for name, _at in here.visit_now(visit)["events"]].count("accepted") == 1
    check_invariant(here, (second, user))


def test_x18_a_full_phone_refuses_photos_and_still_saves_the_record(
    here: Installation, context: BrowserContext
) -> None:
    page = context.new_page()
    session = context.new_cdp_session(page)
    quota = {"origin": here.address, "quotaSize": 11_000_000}
    session.send("Storage.overrideQuotaForOrigin", quota)
    page.goto("/outbox?lang=en")
    expect(page.locator("[data-outbox]")).to_have_attribute("data-ready", "")
    eventually(lambda: page.evaluate(BALLAST) == 6, "the ballast is on board")
    user, visit = here.people["wanglei"], here.visit()
    here.kill()

    kept = [put_photo(page, number) for number in range(20)]
    assert kept[-1] == "QuotaFull", kept
    assert page.evaluate(BALLAST) == 6
    text = "写" * 60_000  # as long as all of a record's texts, and more than the quota has left
    queue(page, visit, "acceptance", "Accepted", fields=[["note", text]])

    assert page.evaluate(BALLAST) == 0
    [item] = items(page, user)
    assert item["actual_sha256"] == item["sha256"]
    assert len(stores(page, user)["blobs"]) == kept.count("ok"), "what counted as kept is there"


BALLAST = """async () => {
  const database = await new Promise((done) => {
    indexedDB.open(`fieldapp-${document.body.dataset.user}`).onsuccess = ({target}) => done(target.result);
  });
  const count = await new Promise((done) => {
    database.transaction("ballast").objectStore("ballast").count().onsuccess = ({target}) => done(target.result);
  });
  database.close();
  return count;
}"""


def put_photo(page: Page, number: int) -> str:
    photo = {"sha256": f"{number:064}", "random": 400_000, "size": 400_000, "type": "image/jpeg", "arrived": False}
    return call(page, "store", "put", "blobs", photo)
