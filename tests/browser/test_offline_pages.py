"""Pages and steps without signal: the pack, the service worker, what the phone says of its own steps, who sees what."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.hands import eventually
from tests.browser.installation import (
    Installation,
    all_received,
    check_invariant,
    items,
    let_in,
    phone_of,
    ready_offline,
    stores,
)

pytestmark = pytest.mark.browser
READY = "html[data-offline=ready]"
# A service worker whose scripts take longer than the whole pack: it begins when it is let.
HOLD_SERVICE_WORKER = """
const register = navigator.serviceWorker.register.bind(navigator.serviceWorker);
navigator.serviceWorker.register = async (...given) => {
  window.letRegister = () => void register(...given);
  return new EventTarget();
};"""


def test_pages_and_steps_work_with_the_server_killed(here: Installation, phone: Page) -> None:
    complaints = _complaints(phone)
    user, visit = here.people["wanglei"], here.visit()
    ready_offline(phone, visit)
    expect(phone.locator("[data-update]")).to_be_hidden()
    here.kill()

    for address in ("/", f"/visits/{visit}", f"/visits/{visit}/record", "/outbox", "/account", f"/visits/{visit}"):
        phone.goto(address)
        expect(phone.locator("body")).to_have_attribute("data-user", user)
        expect(phone.locator("h1")).not_to_have_text(re.compile("No connection|无法连接"))
    for state in ("accepted", "traveling", "arrived"):
        step(phone).click()
        expect(_visit(phone, visit)).to_have_attribute("data-status", state)
    expect(phone.locator(f'[data-news="{visit}"]')).to_have_attribute("data-state", "waiting")
    expect(phone.locator("[data-timeline] [data-own]")).to_have_count(3)
    phone.goto("/")
    expect(_visit(phone, visit)).to_have_attribute("data-status", "arrived")
    step(phone).click()
    expect(_visit(phone, visit)).to_have_attribute("data-status", "working")
    assert [item["path"].rpartition("/")[2] for item in items(phone, user)] == [
        "acceptance", "departure", "arrival", "start",
    ]  # fmt: skip
    assert here.visit_now(visit)["status"] == "scheduled"

    here.start()
    phone.goto(f"/visits/{visit}")
    all_received(phone, user)
    expect(_visit(phone, visit)).to_have_attribute("data-status", "working")
    assert here.visit_now(visit)["status"] == "working"
    check_invariant(here, (phone, user))
    assert complaints == []


def test_a_step_is_answered_and_then_received_on_the_same_page(here: Installation, phone: Page) -> None:
    user, visit = here.people["wanglei"], here.visit()
    phone.goto(f"/visits/{visit}")
    phone.wait_for_selector(READY)

    phone.evaluate(WATCH)
    step(phone).click()

    news = phone.locator(f'[data-news="{visit}"]')
    expect(news).to_have_attribute("data-state", "received")
    said = phone.evaluate("document.body.dataset.said").split("|")
    assert said[0] == phone.locator("body").get_attribute("data-kept")
    assert said[1] == "scheduled", "the next step waits until that was seen"
    (item,) = items(phone, user)
    expect(news).to_contain_text(item["id"][-4:])
    expect(phone.locator("[data-badge] .badge").first).to_be_visible()
    assert here.visit_now(visit)["status"] == "accepted"


def test_a_page_that_is_not_in_the_pack_says_what_to_do(here: Installation, phone: Page) -> None:
    ready_offline(phone, here.visit())
    here.kill()

    phone.goto("/customers")

    expect(phone.locator("main a[href='']")).to_be_visible()
    expect(phone.locator(".actionbar a[href='/']")).to_be_visible()
    here.start()
    phone.locator("main a[href='']").click()
    expect(phone.locator("input[type=search]")).to_be_visible()


def test_the_visit_is_said_to_be_ready_also_when_the_scripts_come_after_the_pack(
    here: Installation, phone: Page
) -> None:
    user, visit = here.people["wanglei"], here.visit()
    phone.add_init_script(HOLD_SERVICE_WORKER)
    phone.goto("/")
    phone.wait_for_selector(READY)
    eventually(lambda: visit in str(stores(phone, user)["meta"]), "the pack is laid in")
    badge = phone.locator(f'[data-visit-id="{visit}"] [data-ready-offline]').first
    expect(badge).to_be_hidden()

    phone.evaluate("letRegister()")

    expect(badge).to_be_visible(timeout=30_000)


def test_a_tap_before_the_page_is_ready_waits_for_the_queue(browser: Browser, here: Installation) -> None:
    user, visit = here.people["wanglei"], here.visit()
    context = phone_of(browser, here, service_workers="block")
    phone = context.new_page()
    late: list[Route] = []
    phone.route("**/offline/shell.js", lambda route: late.append(route))
    with phone.expect_request("**/offline/shell.js"):
        phone.goto(f"/visits/{visit}", wait_until="commit")

    step(phone).click()
    late[0].continue_()

    expect(_visit(phone, visit)).to_have_attribute("data-status", "accepted")
    assert [item["path"] for item in items(phone, user)] == [f"/visits/{visit}/acceptance"]
    context.close()


def test_what_is_missing_is_said_at_its_field_and_stays(here: Installation, phone: Page) -> None:
    visit = here.visit()
    phone.goto(f"/visits/{visit}")
    phone.wait_for_selector(READY)
    phone.locator("#refusal summary").click()

    phone.locator("#refusal button").click()

    reason = phone.locator("#refusal-reason")
    expect(reason).to_have_attribute("aria-invalid", "true")
    expect(reason).to_be_focused()
    expect(phone.locator("#refusal .error")).to_be_visible()
    reason.fill("病假")
    phone.locator("#refusal button").click()
    expect(phone).to_have_url(here.address + "/")
    eventually(lambda: here.visit_now(visit)["status"] == "draft", "the visit goes back to the office")


def test_when_the_session_is_over_work_waits_and_goes_after_the_log_in(here: Installation, phone: Page) -> None:
    user, visit = here.people["wanglei"], here.visit()
    phone.goto(f"/visits/{visit}")
    phone.wait_for_selector(READY)
    phone.context.clear_cookies()

    step(phone).click()

    line = phone.locator("[data-sync-line]")
    expect(line).to_have_attribute("data-state", "login")
    expect(line.locator("a")).to_have_attribute("href", f"/login?next=%2Fvisits%2F{visit}")
    assert len(items(phone, user)) == 1
    let_in(phone.context, here, "wanglei")
    phone.reload()
    all_received(phone, user)
    assert here.visit_now(visit)["status"] == "accepted"


def test_logging_out_offers_to_send_or_to_keep_and_never_to_throw_away(here: Installation, phone: Page) -> None:
    user, visit = here.people["wanglei"], here.visit()
    ready_offline(phone, visit)
    here.kill()
    phone.goto(f"/visits/{visit}")
    step(phone).click()
    expect(_visit(phone, visit)).to_have_attribute("data-status", "accepted")
    phone.goto("/account")
    phone.wait_for_selector(READY)

    phone.locator("form[data-log-out] button").click()
    unsent = phone.locator("[data-unsent]")
    expect(unsent).to_be_visible()
    expect(unsent.locator("[data-count]")).to_have_text("1")
    unsent.locator("[data-keep]").click()
    expect(phone.locator("[data-log-out-says]")).not_to_be_empty()  # no signal: the office could not be told

    here.start()
    unsent.locator("[data-send-now]").click()
    expect(phone).to_have_url(re.compile("/login"))
    assert here.visit_now(visit)["status"] == "accepted"
    assert phone.evaluate("caches.keys().then((names) => names.filter((name) => name.startsWith('pack-')))") == []
    assert len(items(phone, user)) == 1, "the database stays"


def test_another_person_on_the_phone_sees_and_sends_nothing_of_the_first(here: Installation, phone: Page) -> None:
    first, second, visit = here.people["wanglei"], here.people["liting"], here.visit()
    ready_offline(phone, visit)
    here.kill()
    phone.goto(f"/visits/{visit}")
    step(phone).click()
    expect(_visit(phone, visit)).to_have_attribute("data-status", "accepted")
    phone.context.clear_cookies()
    let_in(phone.context, here, "liting")
    here.start()  # the first person's page is still open, and tries

    phone.goto("/")
    phone.wait_for_selector(READY)
    expect(phone.locator("body")).to_have_attribute("data-user", second)
    here.kill()
    phone.goto(f"/visits/{visit}")
    expect(phone.locator("main a[href='']")).to_be_visible()
    assert items(phone, first)[0]["receipt"] is None
    assert here.visit_now(visit)["status"] == "scheduled"

    here.start()
    phone.context.clear_cookies()
    let_in(phone.context, here, "wanglei")
    phone.goto("/")
    all_received(phone, first)
    assert here.visit_now(visit)["status"] == "accepted"


def test_while_a_customer_holds_the_phone_there_is_one_page(here: Installation, phone: Page) -> None:
    user, visit = here.people["wanglei"], here.visit()
    ready_offline(phone, visit)
    phone.evaluate(LOCK, [user, f"/visits/{visit}/record"])

    for address in ("/", f"/visits/{visit}", "/account", "/customers"):
        phone.goto(address)
        expect(phone).to_have_url(f"{here.address}/visits/{visit}/record")
    here.kill()
    phone.goto("/")
    expect(phone).to_have_url(f"{here.address}/visits/{visit}/record")


def test_when_the_phones_database_dies_once_nobody_notices_and_twice_everybody_does(
    here: Installation, phone: Page
) -> None:
    user, visit = here.people["wanglei"], here.visit()
    phone.goto(f"/visits/{visit}")
    phone.wait_for_selector(READY)

    phone.evaluate(DIES, 1)
    step(phone).click()
    expect(_visit(phone, visit)).to_have_attribute("data-status", "accepted")
    expect(phone.locator("dialog[data-lost]")).to_be_hidden()
    all_received(phone, user)

    phone.evaluate(DIES, 10**6)
    step(phone).click()
    expect(phone.locator("dialog[data-lost]")).to_be_visible()
    expect(_visit(phone, visit)).to_have_attribute("data-status", "accepted")
    with phone.expect_navigation():
        phone.locator("dialog[data-lost] button").click()
    assert [item["path"].rpartition("/")[2] for item in items(phone, user)] == ["acceptance"]


# ---- below ------------------------------------------------------------------------------------------

WATCH = """() => {
  const note = ([{target}]) => (document.body.dataset.said ??=
    `${target.textContent.trim()}|${document.querySelector("[data-visit-id]").dataset.status}`);
  const watched = document.querySelector(".actionbar");
  new MutationObserver(([change]) => setTimeout(() => note([change]), 100)).observe(
    watched, {attributes: true, attributeFilter: ["data-saved"], subtree: true});
}"""
DIES = """(times) => {
  const real = (globalThis.realTransaction ??= IDBDatabase.prototype.transaction);
  let left = times;
  IDBDatabase.prototype.transaction = function (...given) {
    if (left-- > 0) throw new DOMException("the connection is closing", "InvalidStateError");
    return real.apply(this, given);
  };
}"""
LOCK = """([user, path]) => new Promise((done) => {
  const opening = indexedDB.open(`fieldapp-${user}`);
  opening.onsuccess = () => {
    const writing = opening.result.transaction("meta", "readwrite");
    const lock = {visit: path.split("/")[2], path, since: new Date().toISOString(), code: null};
    writing.objectStore("meta").put(lock, "lock");
    writing.oncomplete = () => (opening.result.close(), done());
  };
})"""


def step(phone: Page):
    """The one big button under the thumb."""
    return phone.locator(".actionbar .button:not(.quiet):visible")


def _visit(phone: Page, visit: str):
    return phone.locator(f'[data-visit-id="{visit}"]').first


def _complaints(phone: Page) -> list[str]:
    """What pages say on the console; that nothing answered is no complaint here."""
    heard: list[str] = []
    phone.on("pageerror", lambda error: heard.append(str(error)))
    phone.on(
        "console",
        lambda message: (
            heard.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    return heard
