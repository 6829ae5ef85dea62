"""The whole visit without signal, twice over: in airplane mode, and with the server killed. And signing in a hurry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from fieldapp import clock
from fieldapp.extensions import db
from fieldapp.reports.models import Report
from fieldapp.storage import blobs
from fieldapp.tickets.desk.models import DeskNote
from tests.browser.hands import (
    draw,
    eventually,
    is_saved,
    next_step,
    next_step_in,
    photo,
    record_is_open,
    screen_is,
    take_back,
)
from tests.browser.installation import (
    PIN,
    Installation,
    all_received,
    check_invariant,
    items,
    ready_offline,
)

pytestmark = pytest.mark.browser
WORK = "更换电源模块并测试,设备运行正常。"
ROUNDS = 100


def test_a_visit_in_airplane_mode(here: Installation, phone: Page, tmp_path: Path) -> None:
    the_whole_visit(
        here, phone, tmp_path, off=lambda: phone.context.set_offline(True), on=lambda: phone.context.set_offline(False)
    )


def test_a_visit_with_the_server_killed(here: Installation, phone: Page, tmp_path: Path) -> None:
    the_whole_visit(here, phone, tmp_path, off=here.kill, on=here.start)


def the_whole_visit(
    here: Installation, phone: Page, tmp_path: Path, *, off: Callable[[], None], on: Callable[[], None]
) -> None:
    """Read the day, accept, travel, arrive, start, fill, photograph, two signatures, finish: all without the office."""
    user, visit = here.people["wanglei"], here.visit()
    ready_offline(phone, visit)
    off()
    began = clock.now()
    phone.goto("/")
    phone.locator(f'[data-visit-id="{visit}"] a.cover').first.click()
    for state in ("accepted", "traveling", "arrived", "working"):
        next_step(phone).click()
        expect(phone.locator(f'[data-visit-id="{visit}"]').first).to_have_attribute("data-status", state)
    next_step(phone).click()
    remind_of_backup(phone)
    fill(phone)
    for kind, colour in (("before", "teal"), ("after", "olive")):
        add_photo(phone, kind, photo(tmp_path, f"{kind}.jpg", colour))
    sign_and_finish(phone)
    ended = clock.now()
    done = next(item for item in items(phone, user) if item["path"].endswith("/completion"))
    assert done["receipt"] is None
    assert here.visit_now(visit)["status"] == "scheduled"
    check_invariant(here, (phone, user))

    on()
    phone.reload()
    all_received(phone, user)
    photos_arrived(here, visit)
    here.deliver()

    now = here.visit_now(visit)
    assert now["status"] == "completed"
    assert {item["receipt"]["outcome"] for item in items(phone, user)} == {"applied"}
    (record,) = now["records"]
    assert record["content"].startswith(WORK)
    sent = fields_of(done)
    assert record["strokes"]["customer"] == sent["customer_strokes"]
    assert record["strokes"]["engineer"] == sent["engineer_strokes"]
    assert len(record["photos"]) == 2
    slack = timedelta(seconds=2)
    happened = [at for kind, at in now["events"] if kind in ("accepted", "departed", "arrived", "started")]
    assert [kind for kind, _at in now["events"]].count("completed") == 1
    assert len(happened) == 4
    assert all(began - slack <= at <= ended + slack for at in happened)
    assert happened == sorted(happened)
    phone.goto(f"/visits/{visit}")
    expect(phone.locator(f'[data-visit-id="{visit}"]').first).to_have_attribute("data-status", "completed")
    assert here.ask(delivered_reports) == 1
    check_invariant(here, (phone, user))


def test_x14_a_record_that_was_begun_is_finished_although_the_visit_was_given_away(
    here: Installation, phone: Page
) -> None:
    """The visit is no longer this engineer's to see; what was begun on the phone is found in the outbox, and is sent."""
    user, visit = here.people["wanglei"], here.visit(steps=2)
    ready_offline(phone, visit)
    here.kill()
    phone.goto(f"/visits/{visit}")
    for state in ("arrived", "working"):
        next_step(phone).click()
        expect(phone.locator(f'[data-visit-id="{visit}"]').first).to_have_attribute("data-status", state)
    next_step(phone).click()
    fill(phone)
    phone.locator("#backup [form=no-data]").click()
    expect(phone.locator("#backup [data-backup-phone]")).to_be_visible()
    here.replan(visit, "liting", hours=5)
    here.start()
    phone.goto("/")
    all_received(phone, user)
    phone.reload()
    expect(phone.locator(f'[data-visit-id="{visit}"]')).to_have_count(0)
    expect(phone.locator("html")).to_have_attribute("data-offline", "ready")

    phone.goto("/outbox")
    phone.locator('[data-part="begun"] a').click()
    record_is_open(phone)
    expect(phone.locator("[name=content_text]")).to_have_value(WORK)
    sign_and_finish(phone)
    all_received(phone, user)

    assert here.visit_now(visit)["status"] == "scheduled"
    (second,) = here.beside(visit)
    assert here.visit_now(second)["records"][0]["content"] == WORK
    check_invariant(here, (phone, user))


def test_two_signatures_and_finish_within_50_ms(here: Installation, phone: Page) -> None:
    """Offline, a hundred times: the pen is lifted and “finish” is tapped at once; none of the two hundred is lost."""
    user, visit = here.people["wanglei"], here.visit(steps=4)
    ready_offline(phone, visit)
    here.kill()
    phone.goto(f"/visits/{visit}/record")
    record_is_open(phone)
    phone.locator("#backup [form=no-data]").click()
    expect(phone.locator("#backup [data-backup-phone]")).to_be_visible()

    drawn = []
    for _round in range(ROUNDS):
        drawn.append(phone.evaluate(IN_A_HURRY, {"pin": PIN, "text": WORK}))
        phone.evaluate(FORGET_DRAFT, [user, f"visit:{visit}"])
        phone.goto(f"/visits/{visit}/record")
        record_is_open(phone)

    sent = [fields_of(item) for item in items(phone, user) if item["path"].endswith("/completion")]
    assert len(sent) == ROUNDS
    assert [each["customer_strokes"] for each in sent] == [each["customer"] for each in drawn]
    assert [each["engineer_strokes"] for each in sent] == [each["engineer"] for each in drawn]
    assert len({each["engineer"] for each in drawn}) == ROUNDS
    assert sorted(each["hurry_ms"] for each in drawn)[ROUNDS // 2] < 50  # a busy machine may stop the page at any point


# Fills in the form, then draws with events as fast as a page takes them: after the last point of each signature the button is
# tapped in the same task. Answers what the pads' fields held at the tap, and the longest time from pen to tap.
IN_A_HURRY = """async ({pin, text}) => {
  const find = (selector) => document.querySelector(selector);
  const button = (screen) => find(`.actionbar [data-screen=${screen}] .button`);
  const shown = (screen) => new Promise((done, fail) => {
    const since = performance.now();
    const look = () => {
      const there = document.body.dataset.screen === screen;
      if (there) return requestAnimationFrame(() => requestAnimationFrame(done)); // a person sees the pad before the pen is down
      if (performance.now() - since > 20000) return fail(new Error(`${screen}: ${Array.from(document.querySelectorAll(".error, [data-problems]"), (each) => each.innerText).join(" ")}`));
      requestAnimationFrame(look);
    };
    look();
  });
  const type = (selector, value) => {
    find(selector).value = value;
    find(selector).dispatchEvent(new Event("input", {bubbles: true}));
  };
  const sign = (name) => {
    const canvas = find(`#${name}-pad`);
    canvas.scrollIntoView({block: "center"});
    const box = canvas.getBoundingClientRect();
    const say = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
      bubbles: true, cancelable: true, pointerId: 7, pointerType: "touch", isPrimary: true, button: 0,
      buttons: type === "pointerup" ? 0 : 1, pressure: 0.5, clientX: box.left + x, clientY: box.top + y}));
    say("pointerdown", 20, 30);
    for (let i = 1; i < 16; i += 1) say("pointermove", 20 + i * 12, 30 + (i % 2) * 50 + Math.random() * 20);
    say("pointerup", 20 + 16 * 12, 40 + Math.random() * 40);
    return performance.now();
  };
  const hurry = [];
  const tap = (screen, since) => (button(screen).click(), hurry.push(performance.now() - since));

  type("[name=content_text]", text);
  find("[name=outcome]").click();
  button("form").click();
  await shown("customer");
  type("[name=signer_name]", "陈晓");
  let lifted = sign("customer_strokes");
  const customer = find("#customer_strokes").value;
  tap("customer", lifted);
  await shown("thanks");
  type("#back-pin", pin);
  button("thanks").click();
  await shown("engineer");
  lifted = sign("engineer_strokes");
  const engineer = find("#engineer_strokes").value;
  tap("engineer", lifted);
  await shown("done");
  return {customer, engineer, hurry_ms: Math.max(...hurry)};
}"""
FORGET_DRAFT = """async ([user, key]) => {
  const database = await new Promise((done) => {
    const asked = indexedDB.open(`fieldapp-${user}`);
    asked.onsuccess = () => done(asked.result);
  });
  const forgotten = database.transaction("drafts", "readwrite");
  forgotten.objectStore("drafts").delete(key);
  await new Promise((done) => (forgotten.oncomplete = done));
  database.close();
}"""


# ---- the engineer's part ------------------------------------------------------------------------------


def remind_of_backup(phone: Page) -> None:
    phone.locator("main a[href$=backup-acknowledgement]").first.click()
    draw(phone, "backup_ack_strokes")
    phone.locator("[name=backup_ack_name]").fill("陈晓")
    next_step(phone).click()
    expect(phone.locator("#backup [data-backup-phone]")).to_be_visible()


def fill(phone: Page) -> None:
    record_is_open(phone)
    phone.locator("[name=content_text]").fill(WORK)
    phone.locator("label[for^=outcome-]").first.click()
    phone.locator("[name=cause]").fill("滤波电容老化")
    phone.locator("[name=cause]").blur()
    is_saved(phone)


def add_photo(phone: Page, kind: str, path: Path) -> None:
    phone.locator(f"#photos-{kind}-input-files").set_input_files(path)
    expect(phone.locator(f"#photos-{kind} .thumbs img")).to_have_count(1)
    is_saved(phone)


def sign_and_finish(phone: Page) -> None:
    """Hand over, the customer rates and signs, the engineer has the phone back, signs and finishes."""
    next_step_in(phone, "form").click()
    screen_is(phone, "customer")
    phone.locator("label[for=skill_rating-2]").click()
    phone.locator("label[for=attitude_rating-2]").click()
    draw(phone, "customer_strokes")
    phone.locator("[name=signer_name]").fill("陈晓")
    next_step_in(phone, "customer").click()
    screen_is(phone, "thanks")
    take_back(phone, PIN)
    draw(phone, "engineer_strokes")
    next_step_in(phone, "engineer").click()
    screen_is(phone, "done")
    expect(phone).to_have_url(re.compile(r"/visits/[0-9a-f-]+$"))


def fields_of(item: dict[str, Any]) -> dict[str, str]:
    """The fields of a queued form."""
    return dict(parse_qsl(item["body"]["text"], keep_blank_values=True))


# ---- the office's part --------------------------------------------------------------------------------


def photos_arrived(here: Installation, visit: str) -> None:
    def all_there() -> bool:
        (record,) = here.visit_now(visit)["records"]
        return all(at for _sha, at in record["photos"])

    eventually(all_there, "both photos are at the office")


def delivered_reports() -> int:
    """How many files in the ticket store are the PDF that we issued, by its SHA-256."""
    issued = {report.sha256 for report in db.session.scalars(select(Report))}
    notes = list(db.session.scalars(select(DeskNote)))
    files = [file.sha256 for note in notes for file in note.files if file.sha256 in issued]
    for sha256 in files:
        assert hashlib.sha256(blobs.get(sha256)).hexdigest() == sha256
    return len(files)
