"""``make soak``: phones at work against a real server, behind a network that fails every fifth request.

Fifty engineers accept, travel, work, photograph, have it signed and finish, now and then without signal; web server and
worker are those of ``flask serve``. At the end every queue is empty, every report delivered, and the global invariant
of the offline part holds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import flask_migrate
from sqlalchemy import func, select

from fieldapp import clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.accounts.models import User
from fieldapp.config import ROOT
from fieldapp.extensions import db, operation, uuid7
from fieldapp.outbox import OPEN_STATES, Promise
from fieldapp.reports.models import Report
from fieldapp.sync.pull import pull
from fieldapp.tickets.desk import operations as desk
from fieldapp.tickets.models import Ticket
from fieldapp.tickets.stores import store
from fieldapp.visits import operations as visits
from fieldapp.visits.operations import Plan
from tests.conftest import SECRET, person, settings_for
from tests.faults.proxy import Fault, Proxy, proxy_to
from tests.offline import invariant
from tests.offline.office import Office, ink, picture, serve_customer
from tests.offline.phone import Answer, NoAnswer, Phone, over_tcp, true_time
from tests.ports import free_port

SPARE_VISITS = 3
REPORTS_WITHIN_S = 1800


@dataclass
class Measured:
    """Seconds of answered requests by kind; appended to by many threads."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"submission": [], "photo range": [], "page": []})
    trouble: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Run the soak; 1 when the invariant does not hold, a queue does not drain or a phone stumbled."""
    parser = argparse.ArgumentParser(prog="make soak", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--phones", type=int, default=50)
    parser.add_argument("--failing", type=float, default=0.2, help="share of requests that the network spoils")
    parser.add_argument("--visit", type=float, default=150, help="seconds that one visit takes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = parser.parse_args(arguments)
    print(
        f"{chosen.phones} phones, {chosen.minutes:g} minutes, {chosen.failing:.0%} failing, seed {chosen.seed}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return _soak(Path(folder), chosen)


def _soak(folder: Path, chosen: argparse.Namespace) -> int:
    rng, measured = random.Random(chosen.seed), Measured()
    plan = _prepared(folder, chosen.phones, round(chosen.minutes * 60 / chosen.visit) + SPARE_VISITS)
    started = time.monotonic()
    with _serving(folder) as port, proxy_to(port) as proxy:
        proxy.chooses = _bad_network(random.Random(chosen.seed + 1), chosen.failing)
        walkers = [
            Walker(user, cookie, todo, proxy, random.Random(rng.random()), measured, chosen.visit)
            for (user, cookie), todo in plan.items()
        ]
        _walk(walkers, until=started + chosen.minutes * 60)
        walked = time.monotonic() - started
        proxy.chooses = None
        phones = [walker.phone for walker in walkers]
        _drain(phones, measured)
        _wait_for_reports(folder)
    took = time.monotonic() - started
    return _told(folder, phones, measured, proxy, walked, took)


# ---- the installation -------------------------------------------------------------------------------


def _prepared(folder: Path, engineers: int, visits_each: int) -> dict[tuple[str, str], list[str]]:
    """An own data folder: engineers with their sessions, each with a customer and visits to make."""
    app = create_app(settings_for(folder, log_level="ERROR"))
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        dispatcher = person("zhaomin", "dispatcher", "赵敏")
        plan = {}
        for n in range(engineers):
            number = str(2001 + n)
            serve_customer(number)
            engineer = person(f"engineer{n}", "engineer", f"工程师{n}")
            token = accounts.open_session(engineer, user_agent="soak", address="127.0.0.1")
            cookie = f"{accounts.cookie_name()}={token}"
            plan[str(engineer.id), cookie] = _planned(number, engineer, dispatcher, visits_each)
        db.session.remove()
        db.engine.dispose()
    return plan


def _planned(number: str, engineer: User, dispatcher: User, count: int) -> list[str]:
    """Tickets of one customer, and a visit for each."""
    filed = _filed(number, count)
    pull(store())
    return _visits(filed, engineer, dispatcher)


@operation
def _filed(number: str, count: int) -> list[str]:
    words = {"customer_number": f"C-{number}", "asset_serial": f"S-{number}"}
    intakes = [desk.Intake(subject=f"服务器无法启动 {n}", **words) for n in range(count)]
    return [desk.file_ticket(intake, uid=str(uuid7())).number for intake in intakes]


@operation
def _visits(filed: list[str], engineer: User, dispatcher: User) -> list[str]:
    made = []
    for n, number in enumerate(filed):
        ticket = db.session.scalars(select(Ticket).where(Ticket.ref == number)).one()
        visit = visits.draft(ticket, by=dispatcher)
        start = clock.now() + timedelta(hours=2 * n + 1)
        visits.plan(visit, Plan(lead_id=engineer.id, window_start=start), by=dispatcher)
        made.append(str(visit.id))
    return made


@contextmanager
def _serving(folder: Path) -> Iterator[int]:
    """``flask serve``: web server and worker as in production, stopped by its own pid."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FIELDAPP_")}
    own = {"FIELDAPP_DATA_DIR": str(folder), "FIELDAPP_SECRET_KEY": SECRET, "FIELDAPP_LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-m", "flask", "--app", "app", "serve"]
    server = subprocess.Popen(command, cwd=ROOT, env={**kept, **own, "PORT": str(port)}, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server of the soak did not start")


def _bad_network(rng: random.Random, failing: float):
    """Draw what happens to the next request: dropped on the way up, answer dropped, reset on the way down, cut, 503,
    a captive portal."""

    def choose() -> Fault:
        if rng.random() >= failing:
            return Fault()
        kinds = (
            Fault(reset_up_after=rng.randrange(2000)),
            Fault(drop_answer=True),
            Fault(reset_down_after=rng.randrange(300)),
            Fault(cut_down_at=rng.randrange(300)),
            Fault(busy=True),
            Fault(captive_portal=True),
        )
        return rng.choice(kinds)

    return choose


# ---- the engineers ----------------------------------------------------------------------------------


class Walker:
    """An engineer: makes one visit after the other, and now and then has no signal."""

    def __init__(
        self,
        user: str,
        cookie: str,
        todo: list[str],
        proxy: Proxy,
        rng: random.Random,
        measured: Measured,
        visit_seconds: float,
    ) -> None:
        self.todo, self.rng, self.measured, self.visit_seconds = list(todo), rng, measured, visit_seconds
        self.completed = 0
        self.network = over_tcp(proxy.port)
        self.phone = Phone(user, cookie, self._timed, rng, clock=true_time)
        self._signal_until = 0.0
        self._signal = True
        self._script = self._work()
        self._next_act = 0.0

    def walk(self, until: float) -> None:
        """Act when it is time, send what is due; sleep in between."""
        started = time.monotonic()
        self._next_act = started + self.rng.uniform(0, self.visit_seconds / 3)
        while (now := time.monotonic()) < until:
            if now >= self._next_act:
                self._next_act = now + next(self._script, 3600.0)
            self.phone.uptime = now - started
            if not self._has_signal(now) or self.phone.step() is None:
                time.sleep(0.1)

    def _work(self) -> Iterator[float]:
        """What the engineer does; each pause is the time until the next thing, in seconds."""
        phone = self.phone
        while self.todo:
            visit = self.todo.pop(0)
            self._look(visit)
            for noun in ("acceptance", "departure", "arrival", "start"):
                phone.tap(visit, noun)
                yield self._pause()
            phone.open_record(visit, {"customer_name": [""], "content_text": [""]}, None)
            phone.write(visit, service_type="maintenance", content_text=f"更换主板 {visit[-4:]}", outcome="all_done")
            yield self._pause()
            phone.tap(visit, "backup-acknowledgement", backup_ack_method="not_applicable")
            for kind in ("before", "after"):
                phone.take_photo(visit, picture(self.rng, large=True), kind=kind)
                yield self._pause()
            customer = {"skill_rating": "good", "attitude_rating": "good", "contact_phone": "13900000001"}
            customer |= {"customer_method": "drawn", "signer_name": "陈晓", "customer_strokes": ink(self.rng)}
            phone.complete(visit, customer, {"engineer_strokes": ink(self.rng)})
            self.completed += 1
            yield self._pause()

    def _pause(self) -> float:
        return self.rng.uniform(0.5, 1.5) * self.visit_seconds / 9

    def _look(self, visit: str) -> None:
        """Open the visit's page, when there is signal."""
        if self._signal:
            try:
                self._timed("GET", f"/visits/{visit}", {"Cookie": self.phone.cookie}, b"")
            except NoAnswer:
                return

    def _has_signal(self, now: float) -> bool:
        """Spells with and without signal, about two thirds with."""
        if now >= self._signal_until:
            self._signal = self.rng.random() < 0.67
            self._signal_until = now + self.rng.uniform(5, 45)
        return self._signal

    def _timed(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        begun = time.perf_counter()
        answer = self.network(method, path, headers, body)
        kind = {"POST": "submission", "PUT": "photo range", "GET": "page"}.get(method)
        if kind and answer.status == 200 and b"Please pay" not in answer.body:
            self.measured.seconds[kind].append(time.perf_counter() - begun)
        return answer


def _walk(walkers: list[Walker], until: float) -> None:
    def walk(walker: Walker) -> None:
        try:
            walker.walk(until)
        except BaseException as error:
            walker.measured.trouble.append(repr(error))
            raise

    threads = [threading.Thread(target=walk, args=(walker,)) for walker in walkers]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        time.sleep(min(30.0, max(0.5, until - time.monotonic())))
        waiting = sum(len(walker.phone.waiting()) for walker in walkers)
        done = sum(walker.completed for walker in walkers)
        print(
            f"  {max(0, until - time.monotonic()):>4.0f} s left: {done} visits completed, {waiting} items wait",
            flush=True,
        )
    for each in threads:
        each.join()


def _drain(phones: list[Phone], measured: Measured) -> None:
    """The network is well: every queue runs empty."""

    def drain(phone: Phone) -> None:
        try:
            phone.settle()
        except AssertionError as error:
            measured.trouble.append(str(error))

    for first in range(0, len(phones), 8):
        threads = [threading.Thread(target=drain, args=(phone,)) for phone in phones[first : first + 8]]
        for each in threads:
            each.start()
        for each in threads:
            each.join()


def _wait_for_reports(folder: Path) -> None:
    """Until the worker has kept every promise."""
    give_up = time.monotonic() + REPORTS_WITHIN_S
    office = Office(folder)
    query = select(func.count()).where(Promise.state.in_(OPEN_STATES))
    while (left := office.ask(lambda: db.session.scalar(query) or 0)) and time.monotonic() < give_up:
        print(f"  {left} promises wait for the worker", flush=True)
        time.sleep(10)
    office.close()


# ---- what came of it --------------------------------------------------------------------------------


def _told(folder: Path, phones: list[Phone], measured: Measured, proxy: Proxy, walked: float, took: float) -> int:
    office = Office(folder)
    reports = office.ask(lambda: db.session.scalar(select(func.count()).select_from(Report)) or 0)
    received = sum(len(phone.told.received) for phone in phones)
    records = sum(item.path.endswith("/completion") for phone in phones for item in phone.disk.outbox.values())
    photos = sum(blob.arrived for phone in phones for blob in phone.disk.blobs.values())
    counts: Counter[str] = Counter()
    for phone in phones:
        counts.update(vars(phone.counts))
    print(
        f"  {received} submissions received in {walked:.0f} s: {received / walked:.2f}/s; {proxy.connections} connections"
    )
    print(f"  {records} records, {photos} photos, {reports} PDFs; everything delivered after {took:.0f} s")
    print(f"  retries {counts['again']}, no answer {counts['no_answer']}, not ours {counts['not_ours']},", end=" ")
    print(f"replays {counts['replayed']}, refused {counts['refused']}")
    for kind, seconds in measured.seconds.items():
        if len(seconds) > 1:
            cuts = statistics.quantiles(seconds, n=20)
            told = f"p50 {cuts[9] * 1000:.0f} ms, p95 {cuts[18] * 1000:.0f} ms, most {max(seconds) * 1000:.0f} ms"
            print(f"  {kind:<12} {told} ({len(seconds)})")
    try:
        invariant.check_settled(office.app, phones)
    except AssertionError as error:
        measured.trouble.append(str(error))
    office.close()
    for each in measured.trouble:
        print(f"  BROKEN: {each}")
    print("  the invariant holds, all queues are empty" if not measured.trouble else "  NOT WELL", flush=True)
    return 1 if measured.trouble else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
