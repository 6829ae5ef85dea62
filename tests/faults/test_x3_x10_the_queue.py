"""X3 to X7 and X10: a phone that comes back after days, a killed server, a captive portal, an ended session, the same item many times,
two senders. The server is a real process, the network a real proxy."""

from __future__ import annotations

import copy
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
import time_machine
from sqlalchemy import select

from fieldapp import clock
from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.records.models import Signature
from tests.conftest import PASSWORD
from tests.faults.conftest import FieldDay
from tests.faults.proxy import Fault
from tests.offline.office import picture
from tests.offline.phone import Died, Phone, over_tcp

pytestmark = pytest.mark.crash


def test_x3_work_of_three_days_ago_arrives_once_and_with_its_own_times(day: FieldDay) -> None:
    phone = day.phone()
    with time_machine.travel(clock.now() - timedelta(days=4), tick=True):
        visit = day.plan(phone)
    phone.wrong_by = -timedelta(days=3)  # that is when all of it was tapped
    completion = day.work(phone, visit)
    phone.reboot()
    phone.wrong_by = timedelta()

    phone.settle()
    again = day.records(visit)

    assert set(phone.told.received) == set(phone.told.saved)
    assert day.outcomes(phone) == ["applied"] * 6
    assert len(again) == 1
    told = {item.id: item.device_at for item in phone.disk.outbox.values()}
    events = [each for each in day.events(visit) if each.submission_id]
    assert events
    for event in events:
        assert event.device_at == clock.parse_device_time(told[str(event.submission_id)])
    assert all(event.skew_s is None or abs(event.skew_s) < 60 for event in events)
    for signature in signatures_of(day, completion.id):
        assert timedelta(days=2, hours=23) < signature.received_at - signature.signed_at < timedelta(days=3, hours=1)
    day.all_is_well()


@pytest.mark.parametrize("point", ["before_commit", "after_commit", "before_answer"])
def test_x4_the_server_is_killed_while_it_takes_a_whole_record(day: FieldDay, point: str) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    day.begin(phone, visit)
    photo = phone.take_photo(visit, picture(day.rng, large=True))
    day.finish(phone, visit)
    for _n in range(5):
        assert phone.step() == "received"
    day.web.kill()

    day.web.start(crash_at=point)
    assert phone.step() == "no answer"
    assert day.web.died()
    day.web.start()
    day.all_is_well()

    assert phone.counts.replayed == (point != "before_commit")
    assert phone.disk.blobs[photo].arrived
    assert len(day.records(visit)) == 1


def test_x5_a_captive_portal_is_no_answer_from_the_office(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    day.work(phone, visit)

    day.proxy.fault = Fault(captive_portal=True)
    heard = [each for _n in range(12) if (each := tried(phone))]
    assert set(heard) == {"not ours"}
    assert phone.contact() is None
    assert phone.told.received == {}
    assert len(phone.waiting()) == 6
    assert phone.attention() == {}
    assert day.events(visit)[-1].type == "planned"

    day.all_is_well()
    assert len(phone.told.received) == 6


def test_x6_an_ended_session_pauses_the_queue_until_somebody_logs_in(day: FieldDay) -> None:
    phone = day.phone()
    give_password(day, phone)
    visit = day.plan(phone)
    day.work(phone, visit)
    assert phone.step() == "received"
    day.office.log_out_everywhere(phone.user)
    item = phone.waiting()[0]

    answer = over_tcp(day.proxy.port)("POST", item.path, {"Accept": "application/json", **same_origin()}, item.body)
    assert (answer.status, answer.json and answer.json["error"]) == (401, "login_needed")
    assert "location" not in answer.headers

    assert phone.step() == "log in"
    assert phone.step() is None
    assert phone.paused
    assert phone.disk.sending[item.id].attempts == 0
    assert len(phone.waiting()) == 5
    assert phone.contact() is None

    form = f"username=wanglei&password={PASSWORD.replace(' ', '+')}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", **same_origin()}
    welcome = over_tcp(day.proxy.port)("POST", "/login", headers, form)
    assert welcome.status == 303
    phone.log_in(welcome.headers["set-cookie"].partition(";")[0])

    day.all_is_well()
    assert len(phone.told.received) == 6
    assert day.outcomes(phone) == ["applied"] * 6


def test_x7_the_same_item_twenty_times_at_once_to_four_processes(day: FieldDay) -> None:
    phone = day.phone()
    visit = day.plan(phone)
    completion = day.work(phone, visit)
    for _n in range(5):
        assert phone.step() == "received"
    day.web.kill()
    day.web.start(workers=4)
    headers = {"Accept": "application/json", "Cookie": phone.cookie, **same_origin(), **phone.headers(completion)}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    send = over_tcp(day.web.port, timeout_s=60)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _n: send("POST", completion.path, headers, completion.body), range(20)))

    said = [answer.json or {} for answer in answers]
    kinds = Counter((answer.status, each.get("replayed", each.get("error"))) for answer, each in zip(answers, said))
    assert kinds[200, False] == 1, kinds
    assert set(kinds) <= {(200, False), (200, True), (409, "in_progress"), (503, "busy")}, kinds
    receipts = [json.dumps({**each, "replayed": None}) for answer, each in zip(answers, said) if answer.status == 200]
    assert len(set(receipts)) == 1
    day.all_is_well()
    assert phone.counts.replayed == 1
    assert len(day.records(visit)) == 1


def test_x10_two_senders_of_one_queue_have_one_effect_each(day: FieldDay) -> None:
    """Two tabs that both believe to hold the lock: the worst that a broken lock could do."""
    one = day.phone()
    visit = day.plan(one)
    day.work(one, visit)
    phones = [one, second_tab(day, one)]

    def send(phone: Phone) -> None:
        for _n in range(60):
            if phone.drained:
                return
            if phone.step() is None:
                phone.wait(300)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(send, phones))

    one.told.received |= phones[1].told.received
    assert set(one.told.received) == set(one.told.saved)
    day.all_is_well()
    assert len(day.records(visit)) == 1


def test_x10_when_the_sender_dies_in_the_middle_the_other_takes_over(day: FieldDay) -> None:
    one = day.phone()
    visit = day.plan(one)
    day.work(one, visit)

    one.dies_before_storing = True
    with pytest.raises(Died):
        one.step()
    other = second_tab(day, one)
    other.settle()

    assert other.counts.replayed == 1
    assert len(other.told.received) == 6
    day.all_is_well()
    assert len(day.records(visit)) == 1


# ---- below ------------------------------------------------------------------------------------------


def tried(phone: Phone) -> str | None:
    """One try; when nothing is due, time passes first."""
    phone.wait(300)
    return phone.step()


def second_tab(day: FieldDay, phone: Phone) -> Phone:
    """Another page of the same browser: the same disk, a memory of its own."""
    tab = day.phone()
    tab.disk, tab.rng = phone.disk, copy.deepcopy(phone.rng)
    return tab


def give_password(day: FieldDay, phone: Phone) -> None:
    @operation
    def give() -> None:
        db.session.get_one(User, UUID(phone.user)).password_hash = passwords.hashed(PASSWORD)

    day.office.ask(give)


def signatures_of(day: FieldDay, submission: str) -> list[Signature]:
    def read() -> list[Signature]:
        return list(db.session.scalars(select(Signature).where(Signature.submission_id == UUID(submission))))

    found = day.office.ask(read)
    assert len(found) == 2
    return found


def same_origin() -> dict[str, str]:
    return {"Sec-Fetch-Site": "same-origin"}
