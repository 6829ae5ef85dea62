"""The only way out of this app: requests to the configured ticket store, and to nobody else.

Scheme and host come from the settings; the address that was connected to is looked at before a byte is sent; redirects are
not followed; time, and the size of the answer, are capped. Every failure becomes a StoreError with a sentence. What was asked
and answered is kept, without secrets, for the attempt's log.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from socket import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from fieldapp import clock
from fieldapp.i18n import _
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.store import Denied, Rejected, Retry, Unreachable

CONNECT_S = 5
SILENT_S = 30  # longest wait for the next byte
WHOLE_S = 60  # longest exchange
LARGEST_ANSWER = 64 * 1024 * 1024
CHUNK = 65536
EXCERPT = 400
LONGEST_WAIT_S = 3600
NEVER = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10"))  # where clouds keep their secrets


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as the log keeps it: no header, no query, no body of ours but its hash."""

    method: str
    path: str
    status: int | None
    request_sha256: str
    excerpt: str


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer that was accepted."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; anything else is not the store speaking (raises Unreachable)."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unreachable(_("The ticket store answered with something that is not its data.")) from error


_exchanges: ContextVar[list[Exchange] | None] = ContextVar("exchanges", default=None)
_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def kept() -> Iterator[list[Exchange]]:
    """Collect what is asked and answered inside."""
    collected: list[Exchange] = []
    mark = _exchanges.set(collected)
    try:
        yield collected
    finally:
        _exchanges.reset(mark)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """All exchanges inside together take no longer: a lease must outlive the call that it covers."""
    mark = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(mark)


@dataclass
class Wire:
    """A store's address with its credentials. Not for several threads at once."""

    connection: Connection
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: tuple[str, str] | None = None
    whole_s: float = WHOLE_S
    largest: int = LARGEST_ANSWER

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = self.auth
        self._session.headers.update({"Accept": "application/json", "User-Agent": "fieldapp", **self.headers})
        self._session.verify = self.connection.ca or True
        if self.connection.proxy:
            self._session.proxies = {"http": self.connection.proxy, "https": self.connection.proxy}
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Careful(self.connection.networks))

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
        json: Any = None,
        data: bytes | Mapping[str, Any] | None = None,
        files: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
    ) -> Answer:
        """Ask ``path`` below the store's address. 2xx and what ``accept`` names comes back, all else is raised:

        Denied (401, 403), Retry (408, 425, 429 with the seconds asked for), Unreachable (5xx, no answer, no end),
        Rejected (every other status, a redirect among them; a path that leads elsewhere; an answer beyond the cap).
        """
        request = requests.Request(
            method, self._address(path), params=params, json=json, data=data, files=files, headers=dict(headers or {})
        )
        prepared = self._session.prepare_request(request)
        sent = prepared.body or b""
        digest = hashlib.sha256(sent.encode() if isinstance(sent, str) else sent).hexdigest()
        status: int | None = None
        excerpt = ""
        try:
            answer = self._send(prepared)
            status, excerpt = answer.status, self._redacted(answer.body)
        except Exception as error:
            excerpt = str(error)
            raise
        finally:
            if (collected := _exchanges.get()) is not None:
                collected.append(Exchange(method, urlsplit(path).path, status, digest, excerpt))
        if not 200 <= answer.status < 300 and answer.status not in accept:
            raise _refusal(answer, excerpt)
        return answer

    def _address(self, path: str) -> str:
        """Below our store's address, whatever the path says (a store may name the next page by a whole address)."""
        base = urlsplit(self.connection.address)
        whole = urlsplit(path)
        if whole.scheme or whole.netloc:
            if (whole.scheme, whole.netloc) != (base.scheme, base.netloc):
                raise Rejected(
                    _("The ticket store points to another address (%(host)s): not followed.", host=whole.netloc)
                )
            return path
        return f"{self.connection.address}/{path.lstrip('/')}"

    def _send(self, prepared: requests.PreparedRequest) -> Answer:
        until = min(time.monotonic() + self.whole_s, _until.get() or float("inf"))
        left = until - time.monotonic()
        if left <= 0:
            raise Unreachable(_("The ticket store took too long."))
        settings = self._session.merge_environment_settings(prepared.url or "", {}, stream=True, verify=None, cert=None)
        try:
            with self._session.send(
                prepared, timeout=(min(CONNECT_S, left), min(SILENT_S, left)), allow_redirects=False, **settings
            ) as response:
                return Answer(response.status_code, response.headers, self._body(response, until))
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Unreachable(_reason(error)) from error

    def _body(self, response: requests.Response, until: float) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(CHUNK):
            parts.append(part)
            size += len(part)
            if size > self.largest:
                raise Rejected(
                    _("The ticket store's answer is larger than %(size)s MB.", size=self.largest // 1_000_000)
                )
            if time.monotonic() > until:
                raise Unreachable(_("The ticket store took too long."))
        return b"".join(parts)

    def _redacted(self, body: bytes) -> str:
        text = body[: 4 * EXCERPT].decode("utf-8", "replace")
        for secret in (self.connection.secret, self.connection.hook_secret, *(self.auth or ())[1:]):
            if secret:
                text = text.replace(secret, "•••")
        return text[:EXCERPT]


# ---- the address at the other end of the connection --------------------------------------------------------


class _Careful(HTTPAdapter):
    """Connections whose far end is looked at once it is known: a name may lead anywhere, and differently each time."""

    def __init__(self, networks: Sequence[str]) -> None:
        self.networks = tuple(ipaddress.ip_network(each) for each in networks)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def _pools(self) -> dict[str, type[HTTPConnectionPool]]:
        networks = self.networks

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket:
                return _looked_at(super()._new_conn(), networks)

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket:
                return _looked_at(super()._new_conn(), networks)

        plain = type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": Plain})
        secure = type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": Secure})
        return {"http": plain, "https": secure}


def _looked_at(connected: socket, networks: Sequence[Any]) -> socket:
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    if may_be_reached(address, networks):
        return connected
    connected.close()
    raise OSError(_("%(address)s lies in a network that the settings do not allow.", address=address))


def may_be_reached(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> bool:
    """Public addresses, and those of the allowed networks; never the link-local ones."""
    plain = getattr(address, "ipv4_mapped", None) or address
    if any(plain in network for network in NEVER):
        return False
    return (plain.is_global and not plain.is_multicast) or any(plain in network for network in networks)


# ---- what an answer means ----------------------------------------------------------------------------------


def _refusal(answer: Answer, excerpt: str) -> Exception:
    if answer.status in (401, 403):
        return Denied(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=excerpt))
    if answer.status in (408, 425, 429):
        return Retry(_("The ticket store asks us to wait."), after=seconds_to_wait(answer.headers.get("Retry-After")))
    if answer.status >= 500:
        sentence = _("The ticket store has trouble (%(status)s): %(said)s", status=answer.status, said=excerpt)
        return Unreachable(sentence, after=seconds_to_wait(answer.headers.get("Retry-After")))
    return Rejected(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=excerpt))


def seconds_to_wait(text: str | None) -> int:
    """Retry-After in seconds, told as a number or as a date; at most an hour, 0 when nothing sensible is said."""
    if not text:
        return 0
    if text.strip().isdigit():
        return min(int(text), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, min(int((aware - clock.now()).total_seconds()), LONGEST_WAIT_S))


def _reason(error: Exception) -> str:
    """A sentence without the address's details, which may carry a secret in the query."""
    if isinstance(error, requests.Timeout):
        return _("The ticket store did not answer in time.")
    if isinstance(error, requests.exceptions.SSLError):
        return _("The ticket store's certificate is not one that we trust.")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException) and cause.args:
            return _("The ticket store cannot be reached: %(why)s", why=cause.args[-1])
        cause = cause.__cause__ or cause.__context__
    return _("The connection to the ticket store broke.")
