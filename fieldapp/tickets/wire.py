"""The only way out of this app: requests to the configured ticket store, and to nobody else.

Scheme and host come from the settings; the address that was connected to is looked at before a byte is sent; redirects are
not followed; time, and the size of the answer, are capped. Every failure becomes a StoreError with a sentence. What was asked
and answered is kept, without secrets, for the attempt's log.
"""

from __future__ import annotations

import hashlib
import html
import ipaddress
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from socket import SHUT_RDWR, socket
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from fieldapp import clock
from fieldapp.i18n import _
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.plain import read_json
from fieldapp.tickets.store import Denied, Rejected, Retry, Throttled, TooBig, Unreachable

CONNECT_S = 5
SILENT_S = 30  # longest wait for the next byte
WHOLE_S = 60  # longest exchange
LARGEST_ANSWER = 64 * 1024 * 1024
CHUNK = 65536
EXCERPT = 400
LONGEST_WAIT_S = 3600
HUSHED = "•••"
# Characters of a cookie's value that says who we are; what is shorter ("1", "en") stands in any text.
SHORTEST_SESSION = 8
# Where clouds keep the secrets of their machines; never a ticket store, whatever the settings allow.
NEVER = tuple(
    ipaddress.ip_network(each)
    for each in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32")
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


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
        """The body as JSON, in characters that can be kept; anything else is not the store speaking (raises Unreachable)."""
        try:
            return read_json(self.body)
        except (ValueError, RecursionError) as error:
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
    mark = _until.set(min(time.monotonic() + seconds, _until.get() or float("inf")))
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
        if self.auth:
            name, password = self.auth
            self._session.auth = HTTPBasicAuth(name.encode(), password.encode())  # else it is taken as Latin-1
        self._session.headers.update({"Accept": "application/json", "User-Agent": "fieldapp", **self.headers})
        self._session.verify = self.connection.ca or True
        if self.connection.proxy:
            self._session.proxies = {"http": self.connection.proxy, "https": self.connection.proxy}
        self._careful = _Careful(self.connection.networks)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._careful)

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
        hush: bool = False,
    ) -> Answer:
        """Ask ``path`` below the store's address. 2xx and what ``accept`` names comes back, all else is raised:

        Denied (401, 403), Retry (408, 425, 429 with the seconds asked for), Unreachable (5xx, a redirect, no answer, no
        end), Rejected (every other status; a path that leads elsewhere; an answer beyond the cap).
        ``hush``: what is asked for is itself a secret, such as a token; nothing of it goes into the log.
        """
        prepared = self._prepared(
            requests.Request(
                method,
                self._address(path),
                params=params,
                json=json,
                data=data,
                files=files,
                headers=dict(headers or {}),
            )
        )
        answer, excerpt = self._logged(prepared, urlsplit(path).path, hush=hush)
        if not 200 <= answer.status < 300 and answer.status not in accept:
            raise _refusal(answer, excerpt)
        return answer

    def _logged(self, prepared: requests.PreparedRequest, path: str, *, hush: bool) -> tuple[Answer, str]:
        """The answer and what may be told of it; both sides are kept for the attempt's log, however it ends."""
        sent = prepared.body or b""
        digest = hashlib.sha256(sent.encode() if isinstance(sent, str) else sent).hexdigest()
        status: int | None = None
        excerpt = ""
        try:
            answer = self._send(prepared)
            status, excerpt = answer.status, self._redacted(answer.body, prepared)
            if hush and 200 <= status < 300:
                excerpt = HUSHED
            return answer, excerpt
        except Exception as error:
            excerpt = str(error)
            raise
        finally:
            if (collected := _exchanges.get()) is not None:
                collected.append(Exchange(prepared.method or "", path, status, digest, excerpt))

    def _address(self, path: str) -> str:
        """Below our store's address, whatever the path says (a store may name the next page by a whole address)."""
        try:
            whole, ours = urlsplit(path), _end(self.connection.address)
            if not (whole.scheme or whole.netloc):
                return f"{self.connection.address}/{path.lstrip('/')}"
            if _end(path) == ours:
                return path
        except ValueError as error:
            raise Rejected(_("The ticket store names an address that is none.")) from error
        raise Rejected(_("The ticket store points to another address (%(host)s): not followed.", host=whole.netloc))

    def _prepared(self, request: requests.Request) -> requests.PreparedRequest:
        try:
            return self._session.prepare_request(request)
        except (requests.RequestException, ValueError) as error:
            raise Rejected(
                _("This cannot be asked of the ticket store: %(kind)s.", kind=type(error).__name__)
            ) from error

    def _send(self, prepared: requests.PreparedRequest) -> Answer:
        until = min(time.monotonic() + self.whole_s, _until.get() or float("inf"))
        left = until - time.monotonic()
        if left <= 0:
            raise _too_late()
        settings = self._session.merge_environment_settings(prepared.url or "", {}, stream=True, verify=None, cert=None)
        try:
            with (
                self._careful.cut_at(until),
                self._session.send(
                    prepared, timeout=(min(CONNECT_S, left), min(SILENT_S, left)), allow_redirects=False, **settings
                ) as response,
            ):
                answer = Answer(response.status_code, response.headers, self._body(response))
        except UnicodeError as error:
            raise _unaskable(error) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise (_too_late() if time.monotonic() >= until else Unreachable(_reason(error))) from error
        if time.monotonic() >= until:  # an answer that was cut may look whole: not every answer says how long it is
            raise _too_late()
        return answer

    def _body(self, response: requests.Response) -> bytes:
        parts, size = [], 0
        for part in response.iter_content(CHUNK):
            parts.append(part)
            size += len(part)
            if size > self.largest:
                raise Rejected(
                    _("The ticket store's answer is larger than %(size)s MB.", size=self.largest // 1_000_000)
                )
        return b"".join(parts)

    def _redacted(self, body: bytes, prepared: requests.PreparedRequest) -> str:
        """The answer's beginning without what only the two of us know, should the answer repeat it."""
        told = [str(prepared.headers.get(name, "")) for name in ("Authorization", "Cookie")]
        secrets = {self.connection.secret, self.connection.hook_secret, *(self.auth or ())[1:], *told}
        secrets |= {each.partition(" ")[2] for each in secrets}
        secrets |= {
            value for each in told[1].split(";") if len(value := each.partition("=")[2].strip()) >= SHORTEST_SESSION
        }
        text = body[:CHUNK].decode("utf-8", "replace")
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            for spelled in _spellings(secret):
                text = text.replace(spelled, HUSHED)
        return text[:EXCERPT]


def _spellings(secret: str) -> Iterator[str]:
    """As an answer may repeat it: plainly, in JSON, in an address, in a page."""
    yield secret
    yield from (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield from (html.escape(secret), html.escape(secret, quote=False))


def _end(address: str) -> tuple[str, str | None, int | None, str | None]:
    """What an address leads to: scheme, host, port, and who asks (raises ValueError)."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port, parts.username


def _unaskable(error: Exception) -> Rejected:
    """Its own text may carry the header, and with it a secret."""
    return Rejected(_("This cannot be asked of the ticket store: %(kind)s.", kind=type(error).__name__))


def _too_late() -> Unreachable:
    return Unreachable(_("The ticket store took too long."))


# ---- the address at the other end of the connection --------------------------------------------------------


class _Careful(HTTPAdapter):
    """Connections whose far end is looked at once it is known: a name may lead anywhere, and differently each time.

    They are cut when the time is over. A timeout alone only counts from one byte to the next, so a store that gives a byte
    now and then would hold a worker for as long as it likes.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self.networks = tuple(ipaddress.ip_network(each) for each in networks)
        self.until = float("inf")
        self.used: socket | None = None
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    @contextmanager
    def cut_at(self, until: float) -> Iterator[None]:
        """End the exchange inside when the time (of the monotonic clock) has come, whatever it is waiting for."""
        self.until, self.used = until, None
        watch = threading.Timer(until - time.monotonic(), self._cut)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()
            watch.join()

    def _cut(self) -> None:
        if (used := self.used) is not None:
            with suppress(OSError):  # it has ended by itself
                socket.shutdown(used, SHUT_RDWR)  # not the method of TLS, which takes the reader's state away

    def _pools(self) -> dict[str, type[HTTPConnectionPool]]:
        plain = type("Plain", (_Watched,), {"careful": self})
        secure = type("Secure", (_Watched, HTTPSConnection), {"careful": self})
        return {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }


class _Watched(HTTPConnection):
    """A connection that its adapter may refuse at once and cut later."""

    careful: ClassVar[_Careful]

    def _new_conn(self) -> socket:
        return _looked_at(super()._new_conn(), self.careful.networks)

    def send(self, data: Any) -> None:
        """Sending may take all the time that is left: the time-out to connect holds for the sum of a body's parts too, so a
        large file over a slow line would never get through."""
        if self.sock is None:
            self.connect()
        self.careful.used = self.sock
        self.sock.settimeout(max(self.careful.until - time.monotonic(), 0.001))
        super().send(data)


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
    """Public addresses, and those of the allowed networks; never the link-local ones. An IPv4 address inside an IPv6 one
    counts as what it is."""
    plain = _inner(address) or address
    if any(plain in network for network in NEVER):
        return False
    return (plain.is_global and not plain.is_multicast) or any(plain in network for network in networks)


def _inner(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, Teredo, NAT64, and the old form without a mark."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64 or (address in IPV4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


# ---- what an answer means ----------------------------------------------------------------------------------


def _refusal(answer: Answer, excerpt: str) -> Exception:
    if answer.status in (401, 403):
        return Denied(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=excerpt))
    if answer.status == 413:
        return TooBig(_("The ticket store says that this is too large: %(said)s", said=excerpt))
    if answer.status == 429:
        sentence = _("The ticket store asks us to wait.")
        return Throttled(sentence, after=seconds_to_wait(answer.headers.get("Retry-After")))
    if answer.status in (408, 425):
        return Retry(_("The ticket store asks us to wait."), after=seconds_to_wait(answer.headers.get("Retry-After")))
    if 300 <= answer.status < 400:  # a log-in, a page for maintenance: no word of the store's about this
        return Unreachable(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=excerpt))
    if answer.status >= 500:
        sentence = _("The ticket store has trouble (%(status)s): %(said)s", status=answer.status, said=excerpt)
        return Unreachable(sentence, after=seconds_to_wait(answer.headers.get("Retry-After")))
    return Rejected(_("The ticket store answered %(status)s: %(said)s", status=answer.status, said=excerpt))


def seconds_to_wait(text: str | None) -> int:
    """Retry-After in seconds, told as a number or as a date; at most an hour, 0 when nothing sensible is said."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text.lstrip("0")[:9] or 0), LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
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
