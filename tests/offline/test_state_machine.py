"""Phones, an office and the network between them do whatever comes; the global invariant holds at every moment, and
when everything has healed each queue drains to nothing.

``pytest`` tries 200 journeys, the same each time. ``python -m tests.offline.test_state_machine --minutes 60`` tries new
ones for as long as it is told and prints what it found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import flask_migrate
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fieldapp import create_app
from fieldapp.config import ROOT
from fieldapp.errors import FieldAppError
from fieldapp.extensions import db, operation
from fieldapp.offline import answers
from fieldapp.offline.operations import Receipt, Told, identity, once_or_filed
from tests.conftest import settings_for
from tests.faults.proxy import CAPTIVE
from tests.offline import invariant
from tests.offline.office import ENGINEERS, Office, Stage, ink, picture, prepared, quick_paper
from tests.offline.phone import LEADS_TO, Answer, Died, NoAnswer, into

RUNS, STEPS = 200, 16
FAULTS = (
    "none",
    "none",
    "lost request",
    "lost answer",
    "twice",
    "portal",
    "portal in JSON",
    "portal refuses",
    "busy",
    "gateway",
    "cut answer",
    "stale answer",
    "spoilt",
    "dies",
)
NEXT = {"scheduled": "acceptance", "accepted": "departure", "traveling": "arrival", "arrived": "start"}
WORDS = {
    "refusal": {"reason": "病假"},
    "pause": {"reason": "wait_part"},
    "inability": {"cause": "缺备件"},
    "absence": {"note": "门锁着"},
}
DOINGS = ("reboot", "clock", "contact", "session ends", "somebody else", "log in")
CLOCKS = (timedelta(), timedelta(seconds=30), timedelta(days=-1), timedelta(hours=2), timedelta(days=-56 * 365))
WHO, PICK, CLOCK = st.integers(0, 1), st.integers(0, 3), st.sampled_from(CLOCKS)
HTML = {"content-type": "text/html"}
JSON = {"content-type": "application/json"}


class Network:
    """Between one phone and the office: ``fault`` spoils the next request, then it is well again."""

    def __init__(self, office: Office) -> None:
        self.office, self.fault, self.last = office, "none", Answer(200, HTML, CAPTIVE)

    def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        fault, self.fault = self.fault, "none"
        if fault == "lost request":
            raise NoAnswer(fault)
        if (instead := INSTEAD.get(fault)) is not None:
            return instead
        if fault == "stale answer":
            return self.last
        if fault == "spoilt" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        send = into(self.office.app)
        answer = send(method, path, headers, body)
        if fault == "twice":
            answer = send(method, path, headers, body)
        if fault == "lost answer":
            raise NoAnswer(fault)
        if fault == "cut answer":
            return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
        self.last = answer
        return answer


INSTEAD = {
    "portal": Answer(200, HTML, CAPTIVE),
    "portal in JSON": Answer(200, JSON, b'{"ok": true}'),
    "portal refuses": Answer(403, HTML, CAPTIVE),
    "busy": Answer(503, {**JSON, "retry-after": "7"}, b'{"error": "busy", "message": "", "fields": {}}'),
    "gateway": Answer(502, HTML, b"<h1>502</h1>"),
}


class Bench:
    """What all journeys of a process share: the prepared folder, an app on it, and how often what happened."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        self.happened: Counter[str] = Counter()
        shutil.copytree(stage.folder, folder, dirs_exist_ok=True)
        self.office = Office(folder)

    def fresh_office(self) -> Office:
        """The office as on its first day."""
        self.office.close()
        for each in self.folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        shutil.copytree(self.stage.folder, self.folder, dirs_exist_ok=True)
        self.office.restart()
        return self.office


class Journeys(RuleBasedStateMachine):
    """Two engineers with their phones, a dispatcher, an office that is restarted and restored, and bad luck."""

    bench: Bench

    @initialize(number=st.integers(0, 2**32 - 1))
    def begin(self, number: int) -> None:
        self.rng = random.Random(number)
        self.office, self.happened = self.bench.fresh_office(), self.bench.happened
        self.networks = [Network(self.office) for _name in ENGINEERS]
        self.phones = [
            self.office.phone(name, self.bench.stage, network, self.rng)
            for name, network in zip(ENGINEERS, self.networks, strict=True)
        ]
        self.known: list[list[str]] = [[], []]  # the visits that each phone has in its pack
        self.backup: bytes | None = None
        self.pictures: list[bytes] = []
        for who in (0, 1):
            self.plan_visit(who)
        self.happened["journeys"] += 1

    # ---- the dispatcher

    @rule(
        what=st.sampled_from(("plan", "plan", "move", "move", "give away", "cancel", "take back")), who=WHO, pick=PICK
    )
    def dispatcher(self, what: str, who: int, pick: int) -> None:
        visit = self._some_visit(pick)
        if what == "plan" and len({*self.known[0], *self.known[1]}) < 4:
            self.plan_visit(who)
        elif what in ("plan", "move", "give away"):
            self._plan(visit, who)
        else:
            act = self.office.cancel if what == "cancel" else self.office.take_back
            self.happened[what] += act(visit)

    def plan_visit(self, who: int) -> None:
        self.known[who].append(self.office.plan_new(self.phones[who].user, f"100{who + 1}"))
        self.backup = None  # plans that a restored office does not know are another story
        self.happened["visits"] += 1

    def _plan(self, visit: str, who: int) -> None:
        """Another window, or another engineer."""
        if self.office.plan(visit, self.phones[who].user):
            self.backup = None
            self.happened["planned anew"] += 1
            if visit not in self.known[who]:
                self.known[who].append(visit)
                self.happened["given away"] += 1

    # ---- the same engineer at a desk

    @rule(what=st.sampled_from(("write", "write", "remark", "step", "complete")), pick=PICK, number=st.integers(0, 1))
    def at_a_desk(self, what: str, pick: int, number: int) -> None:
        visit = self._some_visit(pick)
        if what == "step":
            done = self.office.step(visit)
        elif what == "complete":
            done = self.office.complete(visit, ink(self.rng))
        else:
            done = self.office.edit(visit, **{"remark" if what == "remark" else "content_text": f"办公室 {number}"})
        self.happened[f"{what} at a desk"] += done

    # ---- the engineers

    @rule(who=WHO, pick=PICK, times=st.integers(1, 4))
    def go_on(self, who: int, pick: int, times: int) -> None:
        """The next steps of a visit, as the page offers them."""
        if not (visit := self._own_visit(who, pick)):
            return
        for _n in range(times):
            if noun := NEXT.get(self._status(who, visit)):
                self.phones[who].tap(visit, noun)

    @rule(who=WHO, pick=PICK, noun=st.sampled_from(sorted({*LEADS_TO} - {"completion"})))
    def tap_anything(self, who: int, pick: int, noun: str) -> None:
        """A page that was open for long offers what no longer fits."""
        if visit := self._own_visit(who, pick):
            words = {"backup_ack_method": "not_applicable"} if noun == "backup-acknowledgement" else WORDS.get(noun, {})
            self.phones[who].tap(visit, noun, **words)
            self.happened[noun] += 1

    @rule(who=WHO, pick=PICK, number=st.integers(0, 3), photos=st.integers(0, 2))
    def write_record(self, who: int, pick: int, number: int, photos: int) -> None:
        if not (visit := self._own_visit(who, pick)):
            return
        phone = self.phones[who]
        if visit not in phone.disk.drafts:
            phone.open_record(visit, *self.office.page(visit))
        phone.write(visit, service_type="maintenance", content_text=f"更换主板 {number}", outcome="all_done")
        for _n in range(photos):
            phone.take_photo(visit, self._picture(), kind=self.rng.choice(("before", "after", "label")))

    @rule(who=WHO, pick=PICK, number=st.integers(0, 3), photos=st.integers(0, 2))
    def work_to_the_end(self, who: int, pick: int, number: int, photos: int) -> None:
        """All that is left of a visit, down to both signatures, without a word from the office."""
        if not (visit := self._own_visit(who, pick)):
            return
        phone = self.phones[who]
        if self._status(who, visit) == "completed" and self.rng.random() < 0.7:
            return  # a second record of one visit is rare, and costs
        self.go_on(who, pick, 4)
        if self._status(who, visit) == "paused":
            phone.tap(visit, "resumption")
        self.write_record(who, pick, number, photos)
        if self.rng.random() < 0.8:
            phone.tap(visit, "backup-acknowledgement", backup_ack_method="not_applicable")
        phone.complete(visit, *signed(self.rng))
        self.happened["completed on a phone"] += 1

    # ---- the network and the phones

    @rule(who=WHO, faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=5))
    def send(self, who: int, faults: list[str]) -> None:
        phone = self.phones[who]
        self._have_something_to_send(who)
        for fault in faults:
            self.networks[who].fault = "none" if fault == "dies" else fault
            phone.dies_before_storing = fault == "dies"
            phone.wait(self.rng.uniform(0, 30))
            try:
                what = phone.step()
            except Died:
                phone.reboot()
                what = "died"
            phone.dies_before_storing, self.networks[who].fault = False, "none"
            self.happened[str(what)] += 1
        self._cheap()

    @rule(who=WHO, times=st.integers(4, 16))
    def good_signal(self, who: int, times: int) -> None:
        self._have_something_to_send(who)
        for _n in range(times):
            if self.phones[who].step() is None:
                self.phones[who].wait(20)
        self._cheap()

    @rule(who=WHO, what=st.sampled_from(DOINGS), clock=CLOCK)
    def phone(self, who: int, what: str, clock: timedelta) -> None:
        phone = self.phones[who]
        if what == "reboot":
            phone.reboot()
        elif what == "clock":
            phone.wrong_by = clock
        elif what == "contact":
            phone.contact()
        elif what == "session ends" and not phone.paused:
            self.office.log_out_everywhere(phone.user)
        elif what == "somebody else" and not phone.paused:
            phone.cookie = self.phones[1 - who].cookie  # logged in on this phone, and an old page still sends
        elif phone.paused:
            phone.log_in(self.office.log_in(phone.user))
        self.happened[what] += 1
        self._cheap()

    # ---- the office's machine

    @rule(what=st.sampled_from(("restart", "save", "restore", "work", "work once", "work once")))
    def machine(self, what: str) -> None:
        if what == "restart":
            self.office.restart()
        elif what == "restore" and self.backup is not None:
            self.office.restore(self.backup)
        elif what in ("save", "restore"):
            self.backup = self.office.save()
        elif what == "work":
            self.office.work()
        else:
            self.office.work_once()
        self.happened[what] += 1

    # ---- the end

    def teardown(self) -> None:
        """Everything heals: signal, clocks, sessions, worker. Then nothing may be left over."""
        if not hasattr(self, "phones"):
            return
        invariant.check(self.office.app, self.phones)
        for phone in self.phones:
            phone.wrong_by = timedelta()
            phone.log_in(self.office.log_in(phone.user))
            assert phone.contact() is not None
            phone.settle()
        self.office.work_to_the_end()
        invariant.check_settled(self.office.app, self.phones)
        self.happened["submissions"] += sum(len(phone.disk.receipts) for phone in self.phones)
        self.happened["photos arrived"] += sum(
            blob.arrived for phone in self.phones for blob in phone.disk.blobs.values()
        )

    # ---- below

    def _have_something_to_send(self, who: int) -> None:
        """A phone with an empty queue has an engineer who works: one step on, or to the very end."""
        phone = self.phones[who]
        if phone.drained and not phone.paused:
            pick, number = self.rng.randrange(4), self.rng.randrange(4)
            if self.rng.random() < 0.5:
                self.work_to_the_end(who, pick, number, self.rng.randrange(3))
            else:
                self.go_on(who, pick, self.rng.randrange(1, 4))

    def _cheap(self) -> None:
        invariant.check_phones(self.phones)

    def _some_visit(self, pick: int) -> str:
        visits = list(dict.fromkeys([*self.known[0], *self.known[1]]))
        return visits[pick % len(visits)]

    def _own_visit(self, who: int, pick: int) -> str | None:
        return self.known[who][pick % len(self.known[who])] if self.known[who] else None

    def _status(self, who: int, visit: str) -> str:
        """What the page shows: where the newest own item leads, else what the pack said."""
        own = [item for item in self.phones[who].disk.outbox.values() if item.visit == visit and item.leads_to]
        return own[-1].leads_to or "" if own else "scheduled"

    def _picture(self) -> bytes:
        """Mostly a new photo; sometimes one that was taken before, sometimes one of several ranges."""
        if self.pictures and self.rng.random() < 0.2:
            return self.rng.choice(self.pictures)
        self.pictures.append(picture(self.rng, large=self.rng.random() < 0.15))
        return self.pictures[-1]


def signed(rng: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    """What the customer gives, one way or another, and the engineer's signature."""
    ratings = {"skill_rating": "good", "attitude_rating": rng.choice(("good", "fair", "poor"))}
    ways = (
        {"customer_method": "drawn", "signer_name": "陈晓", "customer_strokes": ink(rng)},
        {"customer_method": "typed", "customer_typed": "陈晓", "signer_name": "陈晓"},
        {"customer_method": "refused", "customer_reason": "等领导确认"},
    )
    engineer = rng.choice(({"engineer_strokes": ink(rng)}, {"engineer_typed": "王磊"}, {"engineer_typed": "李婷"}))
    return {**ratings, **rng.choice(ways), "contact_phone": "13900000001"}, engineer


# ---- running ----------------------------------------------------------------------------------------

PROFILE = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


def quick_folder() -> Path:
    """A folder in memory where there is one: the order of what reaches the disk is tried elsewhere, with real kills."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it
    return Path(tempfile.mkdtemp(prefix="machine-", dir=memory if os.access(memory, os.W_OK) else None))


@pytest.fixture
def bench(migrated: Path):
    folder = quick_folder()
    bench = Bench(prepared(migrated), folder)
    yield bench
    bench.office.close()
    shutil.rmtree(folder)


@pytest.mark.timeout(900)
def test_whatever_happens_nothing_is_lost_and_nothing_doubled(bench: Bench) -> None:
    machine = type("Journeys", (Journeys,), {"bench": bench})

    with quick_paper():
        run_state_machine_as_test(machine, settings=PROFILE)

    assert bench.happened["journeys"] >= RUNS


def forgets(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    """An office that looks nothing up: each time is the first."""
    receipt, replayed = once_or_filed(told, apply)
    if replayed:
        with suppress(FieldAppError):
            operation(apply)()
    return receipt, replayed


def promises_too_much(told: Told, apply: Callable[[], Receipt]) -> tuple[Receipt, bool]:
    """An office that gives a receipt for what it does not keep."""
    if (told.sequence or 0) % 4:
        return once_or_filed(told, apply)
    server, epoch = identity()
    receipt = {"submission_id": str(told.submission_id), "body_sha256": told.body_sha256, "outcome": "applied"}
    return {**receipt, "received_at": told.received_at.isoformat(), "server": str(server), "epoch": epoch}, False


@pytest.mark.parametrize(
    ("broken", "finding"), [(forgets, "more than one"), (promises_too_much, "the office does not have it")]
)
def test_an_office_that_is_broken_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, broken: Callable[..., object], finding: str
) -> None:
    machine = type("Journeys", (Journeys,), {"bench": bench})
    monkeypatch.setattr(answers, "once_or_filed", broken)

    with quick_paper(), pytest.raises(AssertionError, match=finding):
        run_state_machine_as_test(machine, settings=settings(PROFILE, max_examples=60, phases=(Phase.generate,)))


def main(arguments: list[str]) -> int:
    """Try new journeys for some minutes; 1 when one of them broke the invariant."""
    parser = argparse.ArgumentParser(prog="make machine", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=40)
    chosen = parser.parse_args(arguments)
    folder, until, findings, round_number = quick_folder(), time.monotonic() + chosen.minutes * 60, 0, 0
    bench = Bench(prepared(_migrated(folder / "empty")), folder / "office")
    machine = type("Journeys", (Journeys,), {"bench": bench})
    profile = settings(PROFILE, derandomize=False, max_examples=25, stateful_step_count=chosen.steps)
    try:
        with quick_paper():
            while time.monotonic() < until:
                round_number += 1
                findings += _round(machine, profile, random.SystemRandom().randrange(2**64))
                print(json.dumps({"rounds": round_number, "findings": findings, **bench.happened}), flush=True)
    finally:
        bench.office.close()
        shutil.rmtree(folder)
    return 1 if findings else 0


def _round(machine: type[RuleBasedStateMachine], profile: settings, number: int) -> int:
    """Some journeys from a seed of their own; how many findings (0 or 1, shrunk and printed)."""
    try:
        run_state_machine_as_test(seed(number)(machine), settings=profile)
    except Exception:  # noqa: BLE001 - printed and counted, and the next round begins
        print(f"--- found with the seed {number}", flush=True)
        traceback.print_exc(file=sys.stdout)
        return 1
    return 0


def _migrated(folder: Path) -> Path:
    folder.mkdir(parents=True)
    app = create_app(settings_for(folder, log_level="ERROR"))
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        db.session.remove()
        db.engine.dispose()
    return folder / "fieldapp.db"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
