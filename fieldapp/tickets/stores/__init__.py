"""The ticket stores we know. To add one: copy the nearest adapter, name it here, make the contract test pass."""

from __future__ import annotations

from collections.abc import Callable

from fieldapp.extensions import settings
from fieldapp.tickets.store import TicketStore
from fieldapp.tickets.stores.embedded import EmbeddedStore

STORES: dict[str, Callable[[], TicketStore]] = {"embedded": EmbeddedStore}


def store() -> TicketStore:
    """The central ticket store of this installation."""
    return STORES[settings.ticket_store]()
