"""Words of a store that an administrator replaced on a page: they lie over those of the mapping's file.

One row is one entry of the mapping: ``section`` is ``place``, ``fields``, ``options``, or ``statuses.read`` and its like;
``word`` is the key there ("" for the place), ``means`` what stands at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from fieldapp.extensions import Base, Keyed, db, in_operation
from fieldapp.tickets import mapping
from fieldapp.tickets.mapping import StoreMapping

Entry = tuple[str, str, str]


class StoreWord(Keyed, Base):
    """One replaced entry, by whom and when."""

    __tablename__ = "store_word"
    __table_args__ = (UniqueConstraint("store", "section", "word"),)

    store: Mapped[str] = mapped_column(String(20))
    section: Mapped[str] = mapped_column(String(20))
    word: Mapped[str] = mapped_column(String(120))
    means: Mapped[str] = mapped_column(String(200))
    by: Mapped[UUID]
    at: Mapped[datetime]


def replaced(store: str) -> tuple[Entry, ...]:
    """The entries that were replaced for this store. Read beside the caller's transaction: a store may be asked next."""
    query = select(StoreWord.section, StoreWord.word, StoreWord.means).where(StoreWord.store == store)
    query = query.order_by(StoreWord.section, StoreWord.word)
    if in_operation():
        return tuple((row.section, row.word, row.means) for row in db.session.execute(query))
    with Session(db.engine) as session:
        return tuple((row.section, row.word, row.means) for row in session.execute(query))


def mapping_of(entries: Sequence[Entry]) -> StoreMapping:
    """The mapping that these entries make (raises BadMapping)."""
    told: dict[str, Any] = {}
    for section, word, means in entries:
        name, _dot, side = section.partition(".")
        if name == "place":
            told[name] = means
        elif side:
            told.setdefault(name, {}).setdefault(side, {})[word] = means
        else:
            told.setdefault(name, {})[word] = means
    return mapping.of(told, where="The replaced words")
