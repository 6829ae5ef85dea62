"""An installation of its own for a browser test: a server that can be killed and started again, a spoilt network, and
what must be true after every fault (the global invariant)."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import urlopen
from uuid import UUID

from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import select

from fieldapp import clock, create_app
from fieldapp.accounts import operations as accounts
from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation
from fieldapp.offline.models import Submission
from fieldapp.records.models import ServiceRecord, Signature
from fieldapp.sync import worker
from fieldapp.tickets.desk.models import DeskNote
from fieldapp.visits import operations as visits
from fieldapp.visits.models import Visit, VisitEvent
from fieldapp.visits.operations import Plan
from tests.browser.hands import eventually
from tests.conftest import person, settings_for
from tests.faults import child
from tests.faults.proxy import Fault, Proxy, proxy_to
from tests.security import world

T = TypeVar("T")
PIN = "5937"
STORES = """async (user) => {
  const database = await new Promise((done, fail) => {
    const asked = indexedDB.open(`fieldapp-${user}`);
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
  const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const plain = (value) => JSON.parse(JSON.stringify(value, (_key, each) =>
    each instanceof ArrayBuffer ? {text: new TextDecoder().decode(each), size: each.byteLength} : each));
  const found = {};
  try {
    for (const name of database.objectStoreNames) {
      if (name === "ballast") continue;
      const all = (kind) => new Promise((done, fail) => {
        const asked = database.transaction(name).objectStore(name)[kind]();
        asked.onsuccess = () => done(asked.result);
        asked.onerror = () => fail(asked.error);
      });
      const [keys, values] = [await all("getAllKeys"), await all("getAll")];
      found[name] = await Promise.all(values.map(async (value, at) => {
        const bytes = value && (value.body ?? value.bytes);
        const sha = bytes instanceof ArrayBuffer ? hex(await crypto.subtle.digest("SHA-256", bytes)) : null;
        return {key: keys[at], value: plain(value), actual_sha256: sha};
      }));
    }
  } finally {
    database.close();
  }
  return found;
}"""


@dataclass
class Installation:
    """A server process with its data folder behind a proxy; phones speak to ``address``, whatever happens behind it."""

    folder: Path
    proxy: Proxy
    tokens: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    process: ForkServerProcess | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    # ---- the server

    def start(self) -> None:
        """A web server on the same data; phones find it at the same address as before."""
        listener = child.listening()
        self.process = child.started(child.serve, self.folder, listener, "")
        self.proxy.server_port = listener.getsockname()[1]
        listener.close()
        with urlopen(f"http://127.0.0.1:{self.proxy.server_port}/healthz", timeout=60):
            pass  # it answers: a phone would not wait for a server that is still starting

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said, connections are refused from now on."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None

    def deliver(self) -> None:
        """The worker's work until nothing is due: reports, and what the ticket store is told."""
        self.ask(lambda: worker.run_until_idle("browser test"))

    def ask(self, question: Callable[[], T]) -> T:
        """What the installation says to a question asked inside its application."""
        app = create_app(settings_for(self.folder, log_level="ERROR"))
        with app.app_context():
            try:
                return question()
            finally:
                db.session.remove()
                db.engine.dispose()

    # ---- the office

    def visit(self, engineer: str = "wanglei", *, hours: int = 1, customer: str = "1001", steps: int = 0) -> str:
        """A visit planned for an engineer ``hours`` from now and taken that many steps (4: at work); its id."""

        def plan() -> str:
            office = self.user("zhaomin")
            visit = world.planner(customer, self.user(engineer), office)(None)
            start = clock.now() + timedelta(hours=hours)
            wanted = Plan(lead_id=self.user(engineer).id, window_start=start, override_reason="测试")
            visits.plan(visit, wanted, by=office)
            for step in (visits.accept, visits.depart, visits.arrive, visits.start)[:steps]:
                step(visit, by=self.user(engineer))
            return str(visit.id)

        return self.ask(plan)

    def replan(self, visit: str, engineer: str, *, hours: int) -> None:
        """The dispatcher gives the visit another time, or another engineer."""

        def plan() -> None:
            start = clock.now() + timedelta(hours=hours)
            wanted = Plan(lead_id=self.user(engineer).id, window_start=start, bring="梯子", override_reason="测试")
            visits.plan(db.session.get_one(Visit, UUID(visit)), wanted, by=self.user("zhaomin"))

        self.ask(plan)

    def cancel(self, visit: str, reason: str) -> None:
        self.ask(lambda: visits.cancel(db.session.get_one(Visit, UUID(visit)), reason, by=self.user("zhaomin")))

    def beside(self, visit: str) -> list[str]:
        """The visits that were made for work beside the plan of this one."""
        found = select(Visit.id).where(Visit.parent_id == UUID(visit))
        return [str(key) for key in self.ask(lambda: list(db.session.scalars(found)))]

    def user(self, username: str) -> User:
        return db.session.scalars(select(User).where(User.username == username)).one()

    # ---- what is there

    def visit_now(self, visit: str) -> dict[str, Any]:
        """A visit as the office has it: state, events with their times, records, signatures."""

        def look() -> dict[str, Any]:
            row = db.session.get_one(Visit, UUID(visit))
            events = db.session.scalars(
                select(VisitEvent).where(VisitEvent.visit_id == row.id).order_by(VisitEvent.seq)
            )
            records = list(db.session.scalars(select(ServiceRecord).where(ServiceRecord.visit_id == row.id)))
            return {
                "status": row.status,
                "events": [(event.type, event.device_at) for event in events],
                "records": [
                    {
                        "content": record.content_text,
                        "remark": record.remark,
                        "signed_at": record.signed_at,
                        "strokes": {each.role: each.strokes for each in record.signatures if each.voided_at is None},
                        "photos": [(photo.source_sha256, photo.arrived_at) for photo in record.photos],
                    }
                    for record in records
                ],
            }

        return self.ask(look)


@contextmanager
def installation(migrated: Path, folder: Path) -> Iterator[Installation]:
    """Two engineers with a PIN, a dispatcher and two customers; gone when the block ends."""
    data = folder / "data"
    data.mkdir(parents=True)
    shutil.copyfile(migrated, data / "fieldapp.db")
    with proxy_to(1) as proxy:
        here = Installation(data, proxy)
        here.ask(lambda: _people(here))
        here.start()
        try:
            yield here
        finally:
            proxy.fault = Fault()
            here.kill()


def _people(here: Installation) -> None:
    for username, name, role in (
        ("wanglei", "王磊", "engineer"),
        ("liting", "李婷", "engineer"),
        ("zhaomin", "赵敏", "dispatcher"),
    ):
        user = person(username, role, name)
        _know_pin(user)
        here.people[username] = str(user.id)
        here.tokens[username] = accounts.open_session(user, user_agent="tests", address="127.0.0.1")
    for number in ("1001", "1002"):
        world.serve_customer(number)


@operation
def _know_pin(user: User) -> None:
    """The PIN as the account page would have set it: for the server, and for the phone without signal."""
    user.pin_hash, user.pin_check = passwords.hashed(PIN), passwords.phone_check(PIN)


# ---- the phone --------------------------------------------------------------------------------------


def phone_of(browser: Browser, here: Installation, username: str = "wanglei", **options: Any) -> BrowserContext:
    """A phone in which this engineer is logged in."""
    context = browser.new_context(
        base_url=here.address,
        viewport={"width": 360, "height": 640},
        has_touch=True,
        locale="zh-CN",
        reduced_motion="reduce",
        **options,
    )
    context.set_default_timeout(30_000)
    let_in(context, here, username)
    return context


def let_in(context: BrowserContext, here: Installation, username: str) -> None:
    """Give a browser the session of a person, as a log-in does."""
    context.add_cookies([{"name": accounts.COOKIE, "value": here.tokens[username], "url": here.address}])


def ready_offline(page: Page, visit: str) -> None:
    """Open the day and wait until the phone says that this visit can be made without signal."""
    page.goto("/")
    badge = page.locator(f'[data-visit-id="{visit}"] [data-ready-offline]').first
    expect(badge).to_be_visible(timeout=60_000)


def waiting(page: Page, user: str) -> list[dict[str, Any]]:
    return [item for item in items(page, user) if not item["receipt"]]


def all_received(page: Page, user: str) -> None:
    """The queue drains to zero."""
    eventually(lambda: not waiting(page, user), "the phone's queue is empty")


def stores(page: Page, user: str) -> dict[str, list[dict[str, Any]]]:
    """What lies in the phone's own database, store by store: key, value (bytes as text), and the hash of the bytes."""
    found: dict[str, list[dict[str, Any]]] = page.evaluate(STORES, user)
    return found


def items(page: Page, user: str) -> list[dict[str, Any]]:
    """The phone's outbox with what it shows about each item."""
    found = stores(page, user)
    receipts = {row["value"]["submission_id"]: row["value"] for row in found["receipts"]}
    sending = {row["key"]: row["value"] for row in found["sending"]}
    return [
        {
            **row["value"],
            "actual_sha256": row["actual_sha256"],
            "receipt": receipts.get(row["value"]["id"]),
            "sending": sending.get(row["value"]["id"]),
        }
        for row in found["outbox"]
    ]


def check_invariant(here: Installation, *phones: tuple[Page, str]) -> None:
    """offline.md §7: what a phone shows as received is at the office with the same bytes; everything else is still on
    the phone; at most one effect per submission, at most one per message in the ticket store."""
    kept = here.ask(lambda: {str(row.id): row.body_sha256 for row in db.session.scalars(select(Submission))})
    for page, user in phones:
        for item in items(page, user):
            assert item["actual_sha256"] == item["sha256"], "the body on the phone changed after it was frozen"
            if item["receipt"]:
                assert kept.get(item["id"]) == item["sha256"], "shown as received, but not at the office"
            else:
                assert item["body"]["size"] > 0, "not received, and not on the phone either"
    assert max(here.ask(_effects).values(), default=1) == 1, "a submission had more than one effect"
    assert max(here.ask(_notes).values(), default=1) == 1, "the ticket store was told twice"


def _effects() -> Counter[tuple[str, ...]]:
    events = db.session.scalars(select(VisitEvent).where(VisitEvent.submission_id.is_not(None)))
    signatures = db.session.scalars(select(Signature).where(Signature.submission_id.is_not(None)))
    told = [("event", event.type, str(event.submission_id)) for event in events]
    return Counter([*told, *(("signature", each.role, str(each.submission_id)) for each in signatures)])


def _notes() -> Counter[str]:
    return Counter(note.uid for note in db.session.scalars(select(DeskNote)) if note.uid)
