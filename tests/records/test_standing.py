"""All sixteen combinations of the four signatures, and what each means."""

from __future__ import annotations

from itertools import combinations

import pytest

from fieldapp.records.models import ROLES
from fieldapp.records.standing import standing

B, C, E, M = ROLES
MEANINGS = {
    # nothing is excused: what is not signed is missing
    (): "open",
    (B,): "open",
    (C,): "open",
    (E,): "open",
    (M,): "invalid",
    (B, C): "open",
    (B, E): "open",
    (B, M): "invalid",
    (C, E): "open",
    (C, M): "invalid",
    (E, M): "invalid",
    (B, C, E): "signed",
    (B, C, M): "invalid",
    (B, E, M): "invalid",
    (C, E, M): "invalid",
    (B, C, E, M): "reviewed",
}
EXCUSED_MEANINGS = {
    # a missing backup or customer signature has its written reason
    (): "open",
    (B,): "open",
    (C,): "open",
    (E,): "signed_by_engineer_only",
    (M,): "invalid",
    (B, C): "open",
    (B, E): "signed_by_engineer_only",
    (B, M): "invalid",
    (C, E): "signed",
    (C, M): "invalid",
    (E, M): "reviewed_without_customer",
    (B, C, E): "signed",
    (B, C, M): "invalid",
    (B, E, M): "reviewed_without_customer",
    (C, E, M): "reviewed",
    (B, C, E, M): "reviewed",
}


def test_the_tables_name_all_sixteen() -> None:
    every = {chosen for size in range(5) for chosen in combinations(ROLES, size)}

    assert set(MEANINGS) == every == set(EXCUSED_MEANINGS)


@pytest.mark.parametrize(("present", "state"), MEANINGS.items())
def test_without_excuses(present: tuple[str, ...], state: str) -> None:
    found = standing(frozenset(present))

    assert found.state == state
    assert set(found.missing) == set(ROLES) - set(present)
    assert found.data_work_covered == (B in present)
    assert found.valid == (state not in ("open", "invalid"))


@pytest.mark.parametrize(("present", "state"), EXCUSED_MEANINGS.items())
def test_with_backup_and_customer_excused(present: tuple[str, ...], state: str) -> None:
    found = standing(frozenset(present), excused=frozenset({B, C}) - frozenset(present))

    assert found.state == state
    assert set(found.missing) <= {E, M}
