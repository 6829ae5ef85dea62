"""A filled form, ink and short ways to a signed record, for the tests of what comes after."""

from __future__ import annotations

import json
import math
from typing import Any

from fieldapp.accounts.models import User
from fieldapp.records import operations as records
from fieldapp.records.values import Evaluation, Filled, Given
from fieldapp.visits.models import Visit

NOT_NEEDED = Given(method="not_applicable")


def ink(seed: int = 0) -> str:
    """Two strokes that pass for a signature."""
    wave = [[1500 + 40 * n, 2500 + int(900 * math.sin(n / 6 + seed)), n * 12] for n in range(120)]
    line = [[2000 + 60 * n, 3600 - 8 * n, 1500 + n * 10] for n in range(60)]
    return json.dumps({"v": 1, "w": 328, "h": 164, "strokes": [wave, line]})


DRAWN = ink()


def filled(**changes: Any) -> Filled:
    """A form on which all is done."""
    fields: dict[str, Any] = {
        "service_type": "maintenance",
        "content_text": "更换主板,测试正常",
        "outcome": "all_done",
        "cause": "主板电容老化",
        "solution": "更换主板",
    }
    return Filled(**{**fields, **changes})


def signed(visit: Visit, engineer: User, form: Filled | None = None) -> None:
    """Carry a visit at work to its signed end."""
    records.save(visit, form or filled(), by=engineer)
    records.acknowledge_backup(visit, NOT_NEEDED, by=engineer)
    records.finish(visit, by=engineer)
    customer = Given(method="drawn", name="陈晓", phone="13900000001", strokes=DRAWN)
    evaluation = Evaluation(skill_rating="good", attitude_rating="good", contact_phone="13900000001")
    records.customer_sign(visit, evaluation, customer, by=engineer)
    records.complete(visit, Given(method="drawn", strokes=ink(1)), by=engineer)
