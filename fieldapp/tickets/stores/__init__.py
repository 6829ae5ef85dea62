"""The ticket stores we know. To add one: copy the nearest adapter, name it here, make the contract test pass."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flask import current_app

from fieldapp.extensions import settings
from fieldapp.tickets import connection, wording
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.store import TicketStore
from fieldapp.tickets.stores.embedded import EmbeddedStore
from fieldapp.tickets.stores.jira import JiraStore
from fieldapp.tickets.stores.redmine import RedmineStore
from fieldapp.tickets.stores.rt import RequestTrackerStore
from fieldapp.tickets.stores.salesforce import SalesforceStore
from fieldapp.tickets.stores.servicenow import ServiceNowStore
from fieldapp.tickets.stores.webhook import WebhookStore
from fieldapp.tickets.stores.zammad import ZammadStore
from fieldapp.tickets.stores.zendesk import ZendeskStore

STORES: dict[str, Callable[[Connection], TicketStore]] = {
    "embedded": EmbeddedStore,
    "rt": RequestTrackerStore,
    "redmine": RedmineStore,
    "jira": JiraStore,
    "servicenow": ServiceNowStore,
    "zammad": ZammadStore,
    "zendesk": ZendeskStore,
    "salesforce": SalesforceStore,
    "webhook": WebhookStore,
}
_kept = threading.local()  # log-ins and open connections are not for several threads at once


def store() -> TicketStore:
    """The central ticket store of this installation."""
    return named(settings.ticket_store)


def named(name: str) -> TicketStore:
    """A store by its name, with this installation's connection; kept for this thread (raises KeyError, BadMapping).

    Made anew when an administrator has replaced one of its words since.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    if getattr(_kept, "app", None) is not app:
        _kept.app, _kept.stores = app, {}
    made, over = STORES[name], wording.replaced(name)
    if name not in _kept.stores or _kept.stores[name][0] != (made, over):
        _kept.stores[name] = (made, over), made(connection.of(settings, wording.mapping_of(over)))
    return _kept.stores[name][1]  # type: ignore[no-any-return]
