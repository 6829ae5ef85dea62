"""The field service app. Read on: ticket → visit → service record → signature → report → ticket store."""

from __future__ import annotations

from typing import Any

from flask import Flask

from fieldapp import (
    assets,
    audit,
    cli,
    config,
    crashpoints,
    errors,
    extensions,
    health,
    i18n,
    logs,
    outbox,
    security,
    shell,
    storage,
)
from fieldapp.accounts import views as accounts
from fieldapp.customers import views as customers
from fieldapp.dispatch import news
from fieldapp.dispatch import views as dispatch
from fieldapp.dispatch.devices import views as devices
from fieldapp.dispatch.exceptions import views as exceptions
from fieldapp.offline import answers
from fieldapp.offline import views as offline
from fieldapp.records import views as records
from fieldapp.reports import views as reports
from fieldapp.sync import hooks
from fieldapp.sync import views as sync
from fieldapp.tickets import views as tickets
from fieldapp.today import history, pack
from fieldapp.today import outbox as queue
from fieldapp.today import views as today
from fieldapp.visits import views as visits

PAGES = (
    accounts,
    today,
    history,
    pack,
    queue,
    customers,
    tickets,
    visits,
    offline,
    records,
    reports,
    dispatch,
    exceptions,
    news,
    devices,
    sync,
    hooks,
    health,
)


def create_app(settings: config.Settings | None = None, **flask_config: Any) -> Flask:
    """The WSGI application for these settings (default: the environment's)."""
    settings = settings or config.from_environment()
    app = Flask("fieldapp", root_path=str(config.ROOT), template_folder="templates", static_folder=None)
    app.extensions["settings"] = settings
    app.config.update(
        SECRET_KEY=settings.key,
        SQLALCHEMY_DATABASE_URI=settings.database,
        STATIC=str(config.ROOT / "static"),
        TRANSLATIONS=str(config.ROOT / "fieldapp" / "translations"),
        JSON_SORT_KEYS=False,
        **flask_config,
    )
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    logs.init(settings.log_level)
    crashpoints.arm(settings.crash_at)
    extensions.init_app(app)
    i18n.init_app(app)
    errors.init_app(app)
    assets.init_app(app, config.ROOT / "static")
    storage.init_app(app)
    security.init_app(app)
    shell.init_app(app)
    answers.init_app(app)
    for page in PAGES:
        app.register_blueprint(page.blueprint)
    cli.init_app(app)
    return app
