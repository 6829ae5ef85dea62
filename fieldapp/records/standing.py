"""What a record is worth with the signatures it has: all sixteen combinations, and what each means.

The four places are the backup acknowledgement (F6), the customer (F11), the engineer (F13) and the manager (F14).
A place counts as filled when somebody signed there. A missing customer or backup signature can be excused by a
reason that was written down (refused, absent, not applicable); a missing engineer signature cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldapp.records.models import ROLES, ServiceRecord

STATES = ("open", "signed", "signed_by_engineer_only", "reviewed", "reviewed_without_customer", "invalid")


@dataclass(frozen=True)
class Standing:
    """``state`` is one of STATES; ``missing`` names the places that are neither signed nor excused;
    ``data_work_covered``: the customer confirmed the backup reminder by signing."""

    state: str
    missing: tuple[str, ...]
    data_work_covered: bool

    @property
    def valid(self) -> bool:
        """The record may be issued."""
        return self.state not in ("open", "invalid")


def standing(present: frozenset[str], excused: frozenset[str] = frozenset()) -> Standing:
    """The meaning of a set of filled places and of those excused by a reason."""
    missing = tuple(role for role in ROLES if role not in present | excused)
    return Standing(_state(present, missing), missing, "backup_ack" in present)


def _state(present: frozenset[str], missing: tuple[str, ...]) -> str:
    """A manager's signature under a record that the engineer did not sign is worth nothing: invalid."""
    if "engineer" not in present:
        return "invalid" if "manager" in present else "open"
    if "customer" in missing or "backup_ack" in missing:
        return "invalid" if "manager" in present else "open"
    if "manager" in present:
        return "reviewed" if "customer" in present else "reviewed_without_customer"
    return "signed" if "customer" in present else "signed_by_engineer_only"


def standing_of(record: ServiceRecord) -> Standing:
    """The standing of a record by its valid signatures."""
    valid = [signature for role in ROLES if (signature := record.signature(role))]
    present = frozenset(each.role for each in valid if each.present)
    excused = frozenset(
        each.role for each in valid if not each.present and (each.reason or _needs_no_reason(each.method))
    )
    return standing(present, excused)


def _needs_no_reason(method: str) -> bool:
    return method == "not_applicable"
