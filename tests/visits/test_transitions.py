"""The life of a visit: every state, every event, every role, against the table of the design written out here again."""

from __future__ import annotations

import itertools

import pytest

from fieldapp.errors import NotAllowedNow, Refused
from fieldapp.security import ROLES
from fieldapp.visits import transitions
from fieldapp.visits.models import Visit

OFFICE = {"dispatcher", "manager", "admin"}
# event: (from, to, by whom). Whatever is not here is not possible.
LIFE = {
    "planned": ({"draft", "declined"}, "scheduled", OFFICE),
    "replanned": ({"scheduled", "accepted", "traveling"}, "scheduled", OFFICE),
    "accepted": ({"scheduled"}, "accepted", {"engineer"}),
    "declined": ({"scheduled", "accepted"}, "draft", {"engineer"}),
    "taken_back": ({"scheduled", "accepted", "traveling"}, "draft", OFFICE),
    "departed": ({"accepted"}, "traveling", {"engineer"}),
    "arrived": ({"traveling"}, "arrived", {"engineer"}),
    "started": ({"arrived"}, "working", {"engineer"}),
    "paused": ({"working"}, "paused", {"engineer"}),
    "resumed": ({"paused"}, "working", {"engineer"}),
    "finished": ({"working"}, "awaiting_sign", {"engineer"}),
    "reopened": ({"awaiting_sign"}, "working", {"engineer"}),
    "completed": ({"awaiting_sign"}, "completed", {"engineer"}),
    "partly_done": ({"awaiting_sign"}, "partial", {"engineer"}),
    "cannot_complete": ({"arrived", "working", "paused"}, "cannot_complete", {"engineer"}),
    "no_show": ({"traveling", "arrived"}, "no_show", {"engineer"}),
    "canceled": ({"draft", "scheduled", "accepted", "traveling", "arrived"}, "canceled", OFFICE),
    "reviewed": ({"completed", "partial", "cannot_complete"}, "reviewed", {"manager", "admin"}),
}


def test_the_table_has_these_events_and_no_other() -> None:
    assert set(transitions.TRANSITIONS) == set(LIFE)


@pytest.mark.parametrize("event", LIFE)
@pytest.mark.usefixtures("app")
def test_an_event_is_possible_in_its_states_and_for_its_roles_only(event: str) -> None:
    sources, target, roles = LIFE[event]

    for state, role in itertools.product(transitions.STATES, ROLES):
        visit = Visit(status=state)

        assert transitions.allows(visit, event, role) == (state in sources and role in roles)
        if role not in roles:
            with pytest.raises(Refused):
                transitions.check(visit, event, role)
        elif state not in sources:
            with pytest.raises(NotAllowedNow, match=str(transitions.LABELS[state])):
                transitions.check(visit, event, role)
        else:
            assert transitions.check(visit, event, role).target == target


def test_every_state_has_a_label_and_only_closed_ones_end_the_visit() -> None:
    assert set(transitions.LABELS) == set(transitions.STATES)
    assert {row.target for row in transitions.TRANSITIONS.values() if row.closes} | {"reviewed"} == set(
        transitions.CLOSED
    )
