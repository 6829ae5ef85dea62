"""An office that burnt down, twice, and one whose backup is older than a plan."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldapp.offline.operations import bump_epoch
from tests.offline import invariant
from tests.offline.office import Office, Stage, prepared
from tests.offline.phone import Phone, into


@pytest.fixture
def stage(migrated: Path) -> Stage:
    return prepared(migrated)


@pytest.fixture
def office(stage: Stage, tmp_path: Path) -> Iterator[Office]:
    office = Office(Path(shutil.copytree(stage.folder, tmp_path / "data")))
    yield office
    office.close()


@pytest.fixture
def phone(office: Office, stage: Stage) -> Phone:
    return office.phone("wanglei", stage, lambda *request: into(office.app)(*request), random.Random(7))


def burn(office: Office, backup: bytes) -> None:
    """Everything since the backup is gone; somebody says so with `flask restored`."""
    office.save()
    (office.folder / "fieldapp.db").write_bytes(backup)
    office.restart()
    office.ask(bump_epoch)


def test_an_office_that_is_restored_twice_from_the_same_backup_gets_everything_again(
    office: Office, phone: Phone
) -> None:
    visit = office.plan_new(phone.user)
    phone.tap(visit, "acceptance")
    phone.settle()
    backup = office.save()

    burn(office, backup)
    phone.contact()
    phone.settle()
    phone.tap(visit, "departure")
    phone.settle()
    burn(office, backup)
    phone.contact()
    phone.settle()

    assert office.status(visit) == "traveling"
    invariant.check_settled(office.app, [phone])


def test_work_on_a_visit_that_the_backup_does_not_know_still_gets_its_receipt(office: Office, phone: Phone) -> None:
    backup = office.save()
    visit = office.plan_new(phone.user)
    phone.tap(visit, "acceptance")
    phone.settle()

    burn(office, backup)
    phone.contact()
    phone.settle()

    assert phone.attention() == {}
    invariant.check_settled(office.app, [phone])
