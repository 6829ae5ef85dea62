"""The record page in a real browser: nothing typed is lost, one window writes, a customer gets one screen only."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from playwright.sync_api import Error as PlaywrightError

from fieldapp import clock
from fieldapp.accounts.models import User
from fieldapp.extensions import operation
from tests.browser.hands import (
    SHANGHAI,
    draw,
    is_saved,
    next_step,
    open_record,
    photo,
    record_is_open,
    screen_is,
    take_back,
)
from tests.browser.installation import PIN, Installation, installation, items, phone_of, stores

pytestmark = pytest.mark.browser
HOURS = count(2, 2)
PICTURE = """async ([user, sha]) => {
  const database = await new Promise((done) => {
    const asked = indexedDB.open(`fieldapp-${user}`);
    asked.onsuccess = () => done(asked.result);
  });
  const asked = database.transaction("blobs").objectStore("blobs").get(sha);
  const kept = await new Promise((done) => (asked.onsuccess = () => done(asked.result)));
  database.close();
  return btoa(Array.from(new Uint8Array(kept.bytes), (byte) => String.fromCharCode(byte)).join(""));
}"""


@pytest.fixture(scope="module")
def here(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(migrated, tmp_path_factory.mktemp("record-page")) as made:
        yield made


@pytest.fixture
def visit(here: Installation) -> str:
    """The address of a visit that is planned; its engineer has not set off yet."""
    return f"/visits/{here.visit(hours=next(HOURS))}"


@pytest.fixture
def phone(browser: Browser, here: Installation) -> Iterator[Page]:
    # a service worker whose process was crashed on purpose is not started again under Playwright
    context = phone_of(browser, here, service_workers="block")
    yield context.new_page()
    context.close()


# ---- drafts -----------------------------------------------------------------------------------------


def test_x1_what_was_said_to_be_saved_is_back_after_the_page_was_killed(phone: Page, visit: str) -> None:
    open_record(phone, visit)
    phone.locator("[name=content_text]").fill("更换电源模块\n满载测试 <三十分钟>")
    phone.locator("label[for^=outcome-]").last.click()
    phone.locator("#open_items > summary").click()
    phone.locator("[name=open_items-0-text]").fill("风扇异响")
    for row in range(1, 5):
        phone.evaluate("for (const fold of document.querySelectorAll('#open_items details')) fold.open = true")
        phone.locator(f"[name=open_items-{row}-text]").fill(f"事项 {row}")
    is_saved(phone)

    other = kill(phone)
    open_record(other, visit)

    expect(other.locator("[name=content_text]")).to_have_value("更换电源模块\n满载测试 <三十分钟>")
    expect(other.locator("[name=open_items-0-text]")).to_have_value("风扇异响")
    expect(other.locator("[name=open_items-4-text]")).to_have_value("事项 4")
    expect(other.locator("[data-recovered]")).to_be_visible()


def test_what_is_typed_before_the_scripts_are_there_is_saved_and_stays(
    browser: Browser, here: Installation, visit: str
) -> None:
    context = phone_of(browser, here, service_workers="block")
    page = context.new_page()
    late: list[Route] = []
    page.route("**/offline/record-page.js", lambda route: late.append(route))
    for text in ("更换电源模块", "更换电源模块，并清洁风扇"):  # without a draft, then over one
        with page.expect_request("**/offline/record-page.js"):
            page.goto(f"{visit}/record", wait_until="commit")
        page.locator("[name=content_text]").fill(text)

        late.pop().continue_()

        is_saved(page)
        expect(page.locator("[name=content_text]")).to_have_value(text)
    context.close()


def test_x2_a_page_that_was_left_in_the_middle_of_a_word_loses_nothing(phone: Page, visit: str) -> None:
    open_record(phone, visit)
    phone.locator("[name=cause]").fill("电容老化")
    phone.goto(visit)
    phone.go_back()

    record_is_open(phone)
    expect(phone.locator("[name=cause]")).to_have_value("电容老化")
    expect(phone.locator("[data-recovered]")).to_be_hidden()


def test_a_copy_at_the_office_is_sent_in_its_own_persons_name_only(phone: Page, here: Installation) -> None:
    visit = f"/visits/{here.visit(hours=next(HOURS), steps=3)}"
    open_record(phone, visit)

    with phone.expect_request(re.compile("/record/draft$")) as copied:
        phone.locator("[name=cause]").fill("电容老化")

    assert copied.value.headers["x-user"] == str(here.people["wanglei"])


def test_a_signature_and_photos_are_back_after_the_page_was_killed(phone: Page, visit: str, tmp_path: Path) -> None:
    fill(phone, visit)
    phone.locator("#photos-before-input-files").set_input_files(photo(tmp_path, "before.jpg", "teal"))
    expect(phone.locator("#photos-before li[data-state=saved]")).to_have_count(1)
    hand_over(phone)
    draw(phone, "customer_strokes")
    drawn = phone.locator("#customer_strokes").input_value()
    expect(phone.locator("[data-draft-state]").first).to_have_attribute("data-state", "saved")

    other = kill(phone)
    other.goto("/")

    expect(other).to_have_url(re.compile(f"{visit}/record$"))
    screen_is(other, "customer")
    expect(other.locator("#customer_strokes")).to_have_value(drawn)
    expect(other.locator("section[data-screen=customer] .thumbs img")).to_have_count(1)


def test_x9_the_second_window_reads_and_takes_over_without_losing_a_field(phone: Page, visit: str) -> None:
    open_record(phone, visit)
    phone.locator("[name=content_text]").fill("检查电源")
    is_saved(phone)
    second = phone.context.new_page()
    open_record(second, visit)
    expect(second.locator("[data-other-window]")).to_be_visible()
    expect(second.locator("[name=content_text]")).to_have_js_property("readOnly", True)
    phone.locator("[name=cause]").fill("电容老化")
    expect(second.locator("[name=cause]")).to_have_value("电容老化")

    phone.locator("[name=remark]").fill("最后一刻")
    second.locator("[data-take-over]").click()

    expect(second.locator("[data-other-window]")).to_be_hidden()
    expect(second.locator("[name=remark]")).to_have_value("最后一刻")
    expect(second.locator("[name=content_text]")).to_have_value("检查电源")
    expect(phone.locator("[data-other-window]")).to_be_visible()
    second.locator("[name=tools]").fill("螺丝刀")
    expect(phone.locator("[name=tools]")).to_have_value("螺丝刀")


def test_without_a_database_the_page_is_the_servers_and_says_nothing_false(
    browser: Browser, here: Installation, visit: str
) -> None:
    context = phone_of(browser, here)
    context.add_init_script("Object.defineProperty(globalThis, 'indexedDB', { value: undefined })")
    page = context.new_page()
    page.goto(f"{visit}/record")

    expect(page.locator("[data-draft-state]")).to_have_text(
        page.locator("[data-draft-state]").get_attribute("data-plain") or ""
    )
    expect(page.locator("#record .unscripted button")).to_be_visible()
    expect(page.locator("#photos-before .unscripted button")).to_be_visible()
    context.close()


# ---- photos -----------------------------------------------------------------------------------------


def test_a_photo_is_made_small_upright_and_anonymous(
    phone: Page, here: Installation, visit: str, tmp_path: Path
) -> None:
    open_record(phone, visit)
    phone.locator("#photos-label-input-camera").set_input_files(photo_with_position(tmp_path))
    expect(phone.locator("#photos-label li[data-state=saved]")).to_have_count(1)
    phone.locator("#photos-label li input").fill("铭牌")
    is_saved(phone)

    (named,) = draft_of(phone, here, visit)["photos"]
    kept = base64.b64decode(phone.evaluate(PICTURE, [here.people["wanglei"], named["sha256"]]))
    picture = Image.open(io.BytesIO(kept))
    assert (picture.format, picture.size) == ("JPEG", (1200, 1600))
    assert dict(picture.getexif()) == {}
    assert (named["kind"], named["caption"], named["size"]) == ("label", "铭牌", len(kept))
    phone.locator("#photos-label li button").click()
    expect(phone.locator("#photos-label li")).to_have_count(0)
    assert draft_of(phone, here, visit)["photos"] == []
    assert stores(phone, here.people["wanglei"])["blobs"] == []


def test_what_is_no_picture_says_so_and_the_next_one_is_kept(phone: Page, visit: str, tmp_path: Path) -> None:
    open_record(phone, visit)
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")

    phone.locator("#photos-before-input-files").set_input_files([text, photo(tmp_path, "a.jpg", "teal")])

    expect(phone.locator("#photos-before li[data-state=saved]")).to_have_count(1)
    expect(phone.locator("#photos-before li[data-state=failed]")).to_contain_text(
        phone.locator("#photos-before form").get_attribute("data-unreadable") or ""
    )


def test_x18_a_full_phone_refuses_the_photo_and_keeps_the_text(
    phone: Page, here: Installation, visit: str, tmp_path: Path
) -> None:
    session = phone.context.new_cdp_session(phone)
    session.send("Storage.overrideQuotaForOrigin", {"origin": here.address, "quotaSize": 11_000_000})
    open_record(phone, visit)
    phone.locator("[name=content_text]").fill("检查电源")
    is_saved(phone)
    phone.locator("#photos-before-input-files").set_input_files([noise(tmp_path, number) for number in range(10)])

    expect(phone.locator("#photos-before li[data-state=failed]").first).to_contain_text(
        phone.locator("#photos-before form").get_attribute("data-full") or "", timeout=60_000
    )
    phone.locator("[name=cause]").fill("电容老化")
    is_saved(phone)
    phone.reload()
    record_is_open(phone)
    expect(phone.locator("[name=cause]")).to_have_value("电容老化")


# ---- a database that dies ---------------------------------------------------------------------------


def test_x20_a_handle_that_died_is_opened_again_and_the_value_is_saved(phone: Page, visit: str) -> None:
    open_record(phone, visit)
    break_database(phone, times=1)

    phone.locator("[name=cause]").fill("电容老化")
    is_saved(phone)

    phone.reload()
    record_is_open(phone)
    expect(phone.locator("[name=cause]")).to_have_value("电容老化")


TYPE = """(field, text) => {
  field.value = text;
  field.dispatchEvent(new Event("input", {bubbles: true}));
}"""


def test_x20_a_database_that_stays_dead_is_said_aloud_and_nothing_is_called_saved(phone: Page, visit: str) -> None:
    open_record(phone, visit)
    phone.locator("[name=cause]").focus()
    break_database(phone, times=1_000_000)

    phone.locator("[name=cause]").evaluate(TYPE, "电容老化")  # the dialog may be quicker than a person's next key

    expect(phone.locator("dialog[data-lost]")).to_be_visible()
    expect(phone.locator("[data-draft-state]")).to_have_attribute("data-state", "failed")
    expect(phone.locator("[name=cause]")).to_have_value("电容老化")


def test_x20_a_finish_that_could_not_be_stored_keeps_both_signatures(phone: Page, visit: str) -> None:
    fill(phone, visit)
    hand_over(phone)
    sign_as_customer(phone)
    take_back(phone, PIN)
    draw(phone, "engineer_strokes")
    drawn = phone.locator("#engineer_strokes").input_value()
    is_saved(phone)
    break_database(phone, times=1_000_000)
    next_step(phone).evaluate("(button) => button.click()")  # the dialog that says it may lie above already

    expect(phone.locator("section[data-screen=engineer] [data-problems]")).to_be_visible()
    expect(phone.locator("dialog[data-lost][open]")).to_be_visible()
    expect(phone.locator("#engineer_strokes")).to_have_value(drawn)
    mend_database(phone)
    next_step(phone).click()

    expect(phone.locator("[data-sent]")).to_be_visible()


# ---- the customer -----------------------------------------------------------------------------------


def test_five_wrong_pins_make_the_phone_wait(phone: Page, visit: str) -> None:
    fill(phone, visit)
    hand_over(phone)
    sign_as_customer(phone)
    for _ in range(5):
        guess(phone, "0000")
    phone.reload()
    screen_is(phone, "thanks")

    guess(phone, PIN)

    expect(phone.locator("#back-pin-error")).to_contain_text(re.compile(r"\d"))
    screen_is(phone, "thanks")


def test_back_to_work_voids_what_the_customer_signed(phone: Page, here: Installation, visit: str) -> None:
    fill(phone, visit)
    hand_over(phone)
    sign_as_customer(phone)
    take_back(phone, PIN)
    before = draft_of(phone, here, visit)
    assert before["given"]["method"] == "drawn"

    phone.locator("details:has([data-reopen]) > summary").click()
    phone.locator("[data-reopen]").click()
    screen_is(phone, "form")

    assert draft_of(phone, here, visit)["given"] is None
    phone.locator("[name=content_text]").fill("另有改动")
    hand_over(phone)
    expect(phone.locator("#customer_strokes")).to_have_value("")
    expect(phone.locator("section[data-screen=customer]")).to_contain_text("另有改动")
    next_step(phone).click()
    expect(phone.locator("#customer_strokes-pad")).to_be_visible()
    expect(phone.locator("section[data-screen=customer] .notice")).to_be_visible()


def test_going_back_to_work_that_cannot_be_kept_says_so_and_voids_nothing(
    phone: Page, here: Installation, visit: str
) -> None:
    fill(phone, visit)
    hand_over(phone)
    sign_as_customer(phone)
    drawn = phone.locator("#customer_strokes").input_value()
    take_back(phone, PIN)
    break_database(phone, times=1_000_000)
    phone.locator("details:has([data-reopen]) > summary").evaluate("(summary) => summary.click()")
    phone.locator("[data-reopen]").evaluate("(button) => button.click()")

    expect(phone.locator("section[data-screen=engineer] [data-problems]")).to_be_visible()
    mend_database(phone)
    draw(phone, "engineer_strokes")
    next_step(phone).click()
    expect(phone.locator("[data-sent]")).to_be_visible()
    assert completion_of(phone, here, visit)["customer_strokes"] == [drawn]


def test_a_customer_who_takes_the_phone_number_out_is_shown_and_sends_none(
    phone: Page, here: Installation, visit: str
) -> None:
    fill(phone, visit)
    phone.locator("#record [name=contact_phone]").fill("13800000000")
    hand_over(phone)
    expect(phone.locator("#signer_phone")).to_have_value("13800000000")
    phone.locator("#signer_phone").fill("")
    sign_as_customer(phone)
    take_back(phone, PIN)
    draw(phone, "engineer_strokes")
    next_step(phone).click()

    expect(phone.locator("[data-sent]")).to_be_visible()
    sent = completion_of(phone, here, visit)
    assert (sent.get("contact_phone", [""]), json.loads(sent["shown"][0])["contact_phone"]) == ([""], "")


def test_the_customer_sees_every_photo_that_the_record_names(
    phone: Page, here: Installation, visit: str, tmp_path: Path
) -> None:
    fill(phone, visit)
    phone.locator("#photos-before-input-files").set_input_files([noise(tmp_path, number) for number in range(5)])
    hand_over(phone)

    expect(phone.locator("section[data-screen=customer] .thumbs img")).to_have_count(5)
    draft = draft_of(phone, here, visit)
    named = [photo["sha256"] for photo in draft["photos"]]
    assert len(named) == 5
    assert json.loads(draft["shown"]["text"])["photos"] == named


def test_without_a_pin_the_engineer_chooses_a_code(browser: Browser, here: Installation) -> None:
    here.ask(lambda: forget_pin(here.user("liting")))
    visit = f"/visits/{here.visit('liting', hours=next(HOURS))}"
    context = phone_of(browser, here, "liting", service_workers="block")
    phone = context.new_page()

    fill(phone, visit)
    next_step(phone).click()
    screen_is(phone, "code")
    phone.locator("[name=code]").fill("12")
    next_step(phone).click()
    expect(phone.locator("#code-error")).to_be_visible()
    phone.locator("[name=code]").fill("4711")
    next_step(phone).click()
    screen_is(phone, "customer")
    sign_as_customer(phone)
    take_back(phone, "4711")
    context.close()


# ---- the end ----------------------------------------------------------------------------------------


def test_the_body_that_is_sent_says_what_was_shown(phone: Page, here: Installation, visit: str) -> None:
    fill(phone, visit)
    hand_over(phone)
    phone.locator("label[for=skill_rating-2]").click()
    sign_as_customer(phone)
    take_back(phone, PIN)
    shown = draft_of(phone, here, visit)["shown"]
    expect(phone.locator("section[data-screen=engineer] [data-say=code]")).to_have_text(shown["sha256"][:8])
    draw(phone, "engineer_strokes")
    next_step(phone).click()

    expect(phone.locator("[data-sent]")).to_be_visible()
    (sent,) = [item for item in items(phone, here.people["wanglei"]) if item["path"] == f"{visit}/completion"]
    assert sent["actual_sha256"] == sent["sha256"]
    assert shown["sha256"] in sent["body"]["text"]
    assert draft_of(phone, here, visit)["sent"] == sent["id"]
    expect(phone).to_have_url(re.compile(f"{visit}$"))


# ---- below ------------------------------------------------------------------------------------------


def kill(page: Page) -> Page:
    """The page dies at once, without being asked; another in the same browser."""
    with suppress(PlaywrightError):  # it dies before it can answer
        page.goto("chrome://crash", timeout=5_000)
    return page.context.new_page()


def fill(phone: Page, visit: str) -> None:
    """A record in which nothing is missing."""
    open_record(phone, visit)
    phone.locator("[name=content_text]").fill("更换电源模块")
    phone.locator("label[for^=outcome-]").first.click()
    phone.locator("[form=no-data]").click()
    expect(phone.locator("[data-backup-phone]")).to_be_visible()
    if not phone.locator("[name=started_at]").is_visible():
        phone.locator("#times > summary").click()
    phone.locator("[name=started_at]").fill(f"{clock.local(clock.now() - timedelta(hours=1), SHANGHAI):%Y-%m-%dT%H:%M}")


def hand_over(phone: Page) -> None:
    next_step(phone).click()
    screen_is(phone, "customer")


def sign_as_customer(phone: Page) -> None:
    draw(phone, "customer_strokes")
    phone.locator("[name=signer_name]").fill("陈晓")
    next_step(phone).click()
    screen_is(phone, "thanks")


def guess(phone: Page, pin: str) -> None:
    phone.locator("#back-pin").fill(pin)
    next_step(phone).click()
    expect(phone.locator("#back-pin-error")).to_be_visible()
    expect(next_step(phone)).not_to_have_attribute("aria-busy", "true")


def draft_of(phone: Page, here: Installation, visit: str) -> dict[str, Any]:
    kept = {row["key"]: row["value"] for row in stores(phone, here.people["wanglei"])["drafts"]}
    draft: dict[str, Any] = kept[f"visit:{visit.removeprefix('/visits/')}"]
    return draft


def completion_of(phone: Page, here: Installation, visit: str) -> dict[str, list[str]]:
    """The fields of the record as it was frozen on the phone."""
    (sent,) = [item for item in items(phone, here.people["wanglei"]) if item["path"] == f"{visit}/completion"]
    return parse_qs(sent["body"]["text"])


def noise(folder: Path, number: int) -> Path:
    """A photo that stays large however it is packed."""
    path = folder / f"noise-{number}.jpg"
    Image.effect_noise((1600, 1200), 90).convert("RGB").save(path, quality=95)
    return path


def break_database(phone: Page, *, times: int) -> None:
    """The next transactions find a dead handle, as on phones that were in the background."""
    script = """(times) => {
      const { transaction } = IDBDatabase.prototype;
      IDBDatabase.prototype.whole = transaction;
      let left = times;
      IDBDatabase.prototype.transaction = function (...given) {
        if (left-- > 0) throw new DOMException("dead", "InvalidStateError");
        return transaction.apply(this, given);
      };
    }"""
    phone.evaluate(script, times)


def mend_database(phone: Page) -> None:
    """The database answers again, and the person has read that it did not."""
    expect(phone.locator("dialog[data-lost][open]")).to_be_visible()
    phone.evaluate("void (IDBDatabase.prototype.transaction = IDBDatabase.prototype.whole)")
    phone.locator("dialog[data-lost]").evaluate("(dialog) => dialog.close()")


@operation
def forget_pin(engineer: User) -> None:
    engineer.pin_hash = engineer.pin_check = None


def photo_with_position(folder: Path) -> Path:
    """A large photo, taken sideways, with a GPS position inside."""
    picture = Image.effect_noise((2400, 1800), 40).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn right
    exif.get_ifd(0x8825)[1] = "N"
    path = folder / "plate.jpg"
    picture.save(path, exif=exif)
    return path
