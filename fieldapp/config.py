"""Settings: one frozen value read from the environment, once, at the start.

A bad value stops the start with a sentence that says which variable it was and what would be right.
Every setting stands in the table of the README (a test compares the two).
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parent.parent
TICKET_STORES = ("embedded", "rt", "redmine", "zammad", "zendesk", "jira", "servicenow", "salesforce", "webhook")
DATABASES = ("sqlite", "postgresql", "postgresql+psycopg")


class BadSetting(Exception):
    """A setting is missing or wrong; the text is one sentence for the person who starts the app."""


def _env(name: str, default: str, says: str) -> Any:
    """A dataclass field that is read from the variable ``name``; ``says`` is its line in the README."""
    return field(default=default, metadata={"env": name, "says": says})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that differs between installations. All values are strings in the environment."""

    database_url: str = _env("FIELDAPP_DATABASE_URL", "", "database; empty: SQLite in the data folder")
    data_dir: str = _env("FIELDAPP_DATA_DIR", "var", "folder for the database, photos, reports and fonts")
    secret_key: str = _env("FIELDAPP_SECRET_KEY", "", "32 or more random characters; required outside demo mode")
    demo: str = _env("FIELDAPP_DEMO", "", "1: demo log-ins and the demo day; refused in production")
    env: str = _env("FIELDAPP_ENV", "", "production: refuse demo mode, ask for https")
    ticket_store: str = _env("FIELDAPP_TICKET_STORE", "embedded", f"which ticket store: {', '.join(TICKET_STORES)}")
    store_url: str = _env("FIELDAPP_STORE_URL", "", "address of the ticket store's server, http:// or https://")
    store_user: str = _env("FIELDAPP_STORE_USER", "", "our user name there, where the store wants one")
    store_secret: str = _env("FIELDAPP_STORE_SECRET", "", "our token, key or password there")
    store_hook_secret: str = _env(
        "FIELDAPP_STORE_HOOK_SECRET", "", "secret that signs the store's webhooks; empty: none taken"
    )
    store_mapping: str = _env("FIELDAPP_STORE_MAPPING", "", "TOML file with the store's words where they differ")
    store_networks: str = _env(
        "FIELDAPP_STORE_NETWORKS", "", "private networks the store may be in, such as 10.0.0.0/8"
    )
    store_ca: str = _env("FIELDAPP_STORE_CA", "", "file with the certificate authority of the store's https")
    store_proxy: str = _env("FIELDAPP_STORE_PROXY", "", "proxy on the way to the store, http://…")
    public_url: str = _env("FIELDAPP_PUBLIC_URL", "", "address people use; https makes cookies Secure")
    trusted_hosts: str = _env("FIELDAPP_TRUSTED_HOSTS", "", "host names answered, comma separated; empty: any")
    proxies: str = _env("FIELDAPP_PROXIES", "0", "how many reverse proxies stand in front")
    port: str = _env("PORT", "8000", "port that make run listens on")
    company: str = _env("FIELDAPP_COMPANY", "智维信息技术有限公司", "company name printed on the service record")
    timezone: str = _env("FIELDAPP_TIMEZONE", "Asia/Shanghai", "time zone of pages and reports")
    locale: str = _env("FIELDAPP_LOCALE", "zh_Hans_CN", "language when a person has chosen none")
    fonts_dir: str = _env("FIELDAPP_FONTS_DIR", "", "folder with the report's fonts; empty: var/fonts of the project")
    log_level: str = _env("FIELDAPP_LOG_LEVEL", "INFO", "least level that is logged")
    argon2_memory_kib: str = _env("FIELDAPP_ARGON2_MEMORY_KIB", "65536", "memory of one password hash, at least 19456")
    crash_at: str = _env("FIELDAPP_CRASH_AT", "", "fault tests only: kill the process at this named point")

    def __post_init__(self) -> None:
        self._check_mode()
        self._check_numbers()
        self._check_names()
        self._check_addresses()
        self._check_store()
        self._check_crash_point()
        self._make_data_dir()

    # ---- what the rest of the app asks --------------------------------------------------------

    @property
    def is_demo(self) -> bool:
        return self.demo == "1"

    @property
    def data_path(self) -> Path:
        path = Path(self.data_dir)
        return path if path.is_absolute() else ROOT / path

    @property
    def fonts_path(self) -> Path:
        return Path(self.fonts_dir) if self.fonts_dir else ROOT / "var" / "fonts"

    @property
    def database(self) -> str:
        """SQLAlchemy URL; in SQLAlchemy 2.1 ``postgresql://`` means psycopg 3."""
        return self.database_url or f"sqlite:///{self.data_path / 'fieldapp.db'}"

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @cached_property
    def https(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def hosts(self) -> list[str] | None:
        names = [name.strip() for name in self.trusted_hosts.split(",") if name.strip()]
        return names or None

    @property
    def private_networks(self) -> tuple[str, ...]:
        """Networks besides the public ones in which the ticket store may be."""
        return tuple(name.strip() for name in self.store_networks.split(",") if name.strip())

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @cached_property
    def key(self) -> str:
        """The secret key; in demo mode without one, a key of this installation kept in the data folder."""
        return self.secret_key or _demo_key(self.data_path / "demo.key")

    # ---- checks: each says what to type --------------------------------------------------------

    def _check_mode(self) -> None:
        if self.demo not in ("", "0", "1"):
            raise BadSetting(f"FIELDAPP_DEMO is {self.demo!r}: write 1 for the demo day, or leave it empty.")
        if self.env not in ("", "production"):
            raise BadSetting(f"FIELDAPP_ENV is {self.env!r}: write production, or leave it empty.")
        if self.is_demo and self.env == "production":
            raise BadSetting("FIELDAPP_DEMO=1 opens log-ins that everybody knows: it is refused in production.")
        if not self.is_demo and len(self.secret_key) < 32:
            raise BadSetting(
                "FIELDAPP_SECRET_KEY needs 32 or more random characters"
                ' (python -c "import secrets; print(secrets.token_urlsafe(48))").'
            )
        if self.env == "production" and not self.https:
            raise BadSetting("FIELDAPP_PUBLIC_URL must be the https:// address that people use in production.")

    def _check_numbers(self) -> None:
        for name, low, high in (("port", 1, 65535), ("proxies", 0, 5), ("argon2_memory_kib", 19456, 4194304)):
            text = getattr(self, name)
            if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
                raise BadSetting(f"{_variable(name)} is {text!r}: write a whole number from {low} to {high}.")

    def _check_names(self) -> None:
        if self.ticket_store not in TICKET_STORES:
            known = ", ".join(TICKET_STORES)
            raise BadSetting(f"FIELDAPP_TICKET_STORE is {self.ticket_store!r}: write one of {known}.")
        if self.locale not in ("zh_Hans_CN", "zh_Hant_TW", "en"):
            raise BadSetting(f"FIELDAPP_LOCALE is {self.locale!r}: write zh_Hans_CN, zh_Hant_TW or en.")
        try:
            ZoneInfo(self.timezone)
        except Exception as error:
            raise BadSetting(f"FIELDAPP_TIMEZONE is {self.timezone!r}: write a name such as Asia/Shanghai.") from error
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise BadSetting(f"FIELDAPP_LOG_LEVEL is {self.log_level!r}: write DEBUG, INFO, WARNING or ERROR.")

    def _check_addresses(self) -> None:
        if self.public_url and not _is_address(self.public_url):
            raise BadSetting(
                f"FIELDAPP_PUBLIC_URL is {self.public_url!r}: write an address such as https://service.example."
            )
        scheme = self.database_url.partition("://")[0]
        if self.database_url and scheme not in DATABASES:
            raise BadSetting(f"FIELDAPP_DATABASE_URL starts with {scheme!r}: write sqlite:///… or postgresql://….")

    def _check_store(self) -> None:
        for name in ("store_url", "store_proxy"):
            text = getattr(self, name)
            if text and not _is_address(text):
                raise BadSetting(f"{_variable(name)} is {text!r}: write an address such as https://tickets.example.")
        if self.ticket_store != "embedded" and not self.store_url:
            raise BadSetting(f"FIELDAPP_STORE_URL must be the address of the ticket store {self.ticket_store!r}.")
        for network in self.private_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise BadSetting(
                    f"FIELDAPP_STORE_NETWORKS is {self.store_networks!r}: write networks such as 10.0.0.0/8, comma separated."
                ) from error
        for name in ("store_mapping", "store_ca"):
            text = getattr(self, name)
            if text and not Path(text).is_file():
                raise BadSetting(f"{_variable(name)} is {text!r}: there is no such file.")

    def _check_crash_point(self) -> None:
        name, colon, count = self.crash_at.partition(":")
        if self.crash_at and self.env == "production":
            raise BadSetting("FIELDAPP_CRASH_AT kills the process at a named point: it is refused in production.")
        if self.crash_at and not (name.isidentifier() and (not colon or (count.isascii() and count.isdigit()))):
            raise BadSetting(f"FIELDAPP_CRASH_AT is {self.crash_at!r}: write a point's name, or name:count.")

    def _make_data_dir(self) -> None:
        try:
            self.data_path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadSetting(f"FIELDAPP_DATA_DIR {self.data_path} cannot be made: {error.strerror}.") from error


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment (raises BadSetting). An empty variable counts as not set."""
    source = os.environ if environment is None else environment
    named = {each.name: source.get(each.metadata["env"], "") for each in fields(Settings)}
    return Settings(**{name: value.strip() for name, value in named.items() if value.strip()})


def _is_address(text: str) -> bool:
    scheme, _rest, host = text.partition("://")
    return scheme in ("http", "https") and bool(host.strip("/")) and " " not in host


def _variable(name: str) -> str:
    return next(str(each.metadata["env"]) for each in fields(Settings) if each.name == name)


def _demo_key(path: Path) -> str:
    """One random key per demo folder, so that two demos on a machine do not share sessions."""
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    return path.read_text("ascii")


def _write_once(path: Path, text: str) -> None:
    """Put a file in place whole: of several processes that start together, the first one's stays."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with open(beside, "x", encoding="ascii", opener=_private) as file:
        file.write(text)
    try:
        os.link(beside, path)
    except FileExistsError:
        pass
    finally:
        beside.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
