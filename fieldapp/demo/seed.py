"""The demo day: a fictional service company with a fixed seed and a fixed story, told relative to today."""

from __future__ import annotations

from sqlalchemy import exists, select

from fieldapp.accounts import passwords
from fieldapp.accounts.models import User
from fieldapp.extensions import db, operation

PASSWORD = "demo"  # noqa: S105 - everybody may know it: demo mode only
PEOPLE = (
    ("wanglei", "王磊", "engineer"),
    ("liting", "李婷", "engineer"),
    ("zhangqiang", "张强", "engineer"),
    ("chenhao", "陈浩", "engineer"),
    ("zhaomin", "赵敏", "dispatcher"),
    ("sunyan", "孙燕", "dispatcher"),
    ("qianjun", "钱军", "manager"),
    ("admin", "系统管理员", "admin"),
)


def log_ins() -> dict[str, list[str]]:
    """Log-in names by role."""
    names: dict[str, list[str]] = {}
    for username, _name, role in PEOPLE:
        names.setdefault(role, []).append(username)
    return names


@operation
def load_if_empty() -> bool:
    """Load the demo day when there is nobody yet; whether it was loaded."""
    if db.session.scalar(select(exists().where(User.id.is_not(None)))):
        return False
    kept = passwords.hashed(PASSWORD)
    for username, name, role in PEOPLE:
        db.session.add(User(username=username, name=name, role=role, password_hash=kept, pin_hash=kept))
    return True
