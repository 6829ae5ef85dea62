"""The wire: where it goes and where it does not, how long it waits, what it believes, what it keeps of it.

Servers that speak HTTP as it should be are Flask apps; those that do not are plain sockets. All on loopback.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import ipaddress
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask, Response, redirect, request

from fieldapp import clock
from fieldapp.tickets import wire
from fieldapp.tickets.connection import Connection
from fieldapp.tickets.store import Denied, Rejected, Retry, StoreError, Throttled, TooBig, Unreachable
from fieldapp.tickets.wire import Wire, kept, may_be_reached, seconds_to_wait, within
from tests.stores.serving import serving

HERE = ("127.0.0.0/8", "::1/128")
SECRET = 's3cret-"key"-钥匙'
HALVES = (
    b'{"cut": "\xe5\x9d\x8f\xe4\xba\x86\\uD83D", "whole": ["\\ud83d\\ude00", 7, null], "nul": "a\\u0000b", "said": "\\\\u0000",'
    b' "raw\xed\xa0\xbd": {"x": "\\udc00"}}'
)
END = b"Connection: close\r\n\r\n"

pytestmark = pytest.mark.usefixtures("app")  # sentences are in the app's language


@pytest.fixture
def seen() -> list[Any]:
    """What the store was asked, in order."""
    return []


@pytest.fixture
def port(seen: list[Any]) -> Iterator[int]:
    """A store that answers as its paths say."""
    store = Flask("store")

    @store.before_request
    def note() -> None:
        seen.append((request.method, request.full_path.rstrip("?"), request.get_data()))

    @store.route("/status/<int:status>", methods=["GET", "POST"])
    def status(status: int) -> Response:
        return Response(json.dumps({"said": status}), status, headers={"Retry-After": request.args.get("after", "")})

    @store.get("/elsewhere")
    def elsewhere() -> Any:
        return redirect("/status/200")

    @store.get("/page")
    def page() -> str:
        return "<!doctype html><title>Log in</title>"

    @store.get("/deep")
    def deep() -> str:
        return "[" * 100_000

    @store.get("/halves")
    def halves() -> Response:
        return Response(HALVES)

    @store.route("/echo", methods=["GET", "POST"])
    def echo() -> Response:
        return Response(json.dumps({"token": SECRET, "sent": request.headers.get("Authorization")}, ensure_ascii=False))

    @store.get("/much/<int:size>")
    def much(size: int) -> Response:
        return Response(itertools.repeat(b"x" * 1000, size // 1000))

    @store.get("/bomb")
    def bomb() -> Response:
        return Response(gzip.compress(b"\0" * 50_000_000), headers={"Content-Encoding": "gzip"})

    @store.get("/remember")
    def remember() -> Response:
        answer = Response("{}")
        answer.set_cookie("sid", request.args.get("sid", "1"))
        answer.set_cookie("lang", "en")
        return answer

    @store.get("/mirror")
    def mirror() -> str:
        password, session = request.args["password"], request.cookies
        shown = f"{html.escape(password)}; {quote(password)}"
        return f"<p>session {session['sid']}, lang {session['lang']}; {request.full_path}; {shown}</p>"

    @store.get("/remembered")
    def remembered() -> dict[str, str]:
        return dict(request.cookies)

    with serving(store) as port:
        yield port


def at(port: int, host: str = "127.0.0.1", **more: Any) -> Wire:
    timing = {name: more.pop(name) for name in ("whole_s", "largest", "auth", "headers") if name in more}
    given = {"networks": HERE, "secret": SECRET, **more}
    return Wire(Connection(address=f"http://{host}:{port}", **given), **timing)


@contextmanager
def speaking(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does as ``talk`` says with each connection, after the request's head has come."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def listen() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=answer, args=(connection,), daemon=True))
            threads[-1].start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                _head(connection)
                talk(connection)
            except OSError:
                return  # the other side has left

    accepting = threading.Thread(target=listen, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(60)


def _head(connection: socket.socket) -> None:
    read = b""
    while b"\r\n\r\n" not in read and (part := connection.recv(1)):  # and nothing of the body
        read += part


def drips(connection: socket.socket, before: bytes, part: bytes) -> None:
    """``before`` at once, then ``part`` again and again until the other side has gone."""
    connection.sendall(before)
    gone = threading.Event()
    while not gone.wait(0.02):
        connection.sendall(part)


# ---- where it goes ---------------------------------------------------------------------------------------


def test_a_path_is_asked_for_below_the_stores_address(port: int, seen: list[Any]) -> None:
    asked = Wire(Connection(address=f"http://127.0.0.1:{port}/status", networks=HERE))

    assert asked.ask("POST", "/200", params={"q": "钥匙"}, json={"a": 1}).json() == {"said": 200}

    assert seen == [("POST", f"/status/200?q={quote('钥匙')}", b'{"a": 1}')]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_an_address_in_a_network_that_is_not_allowed_is_left_before_a_word_is_said(
    port: int, seen: list[Any], name: str
) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 lies in a network that the settings do not allow"):
        at(port, name, networks=()).ask("POST", "/status/200", json={"secret": SECRET})

    assert seen == []


def test_a_name_is_judged_by_where_it_leads_today(port: int, seen: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def lookup(host: Any, *more: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "tickets.example" else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    with pytest.raises(Unreachable, match="the settings do not allow"):
        at(port, "tickets.example", networks=("10.0.0.0/8",)).ask("GET", "/status/200")
    assert seen == []
    assert at(port, "tickets.example").ask("GET", "/status/200").status == 200


REACHED = {
    "93.184.216.34": True,
    "2606:2800:220:1:248:1893:25c8:1946": True,
    "10.1.2.3": True,  # allowed below
    "::ffff:10.1.2.3": True,
    "192.168.1.1": False,
    "172.16.0.1": False,
    "100.64.0.1": False,
    "127.0.0.1": False,
    "::1": False,
    "::ffff:127.0.0.1": False,
    "0.0.0.0": False,  # noqa: S104
    "::": False,
    "224.0.0.1": False,
    "ff0e::1": False,
    "fd00::1": False,
    "2002:7f00:1::": False,  # 6to4 of 127.0.0.1
    "64:ff9b::7f00:1": False,  # NAT64 of 127.0.0.1
    "::127.0.0.1": False,
}


@pytest.mark.parametrize(("address", "reached"), REACHED.items(), ids=REACHED)
def test_only_public_addresses_and_allowed_networks_are_reached(address: str, reached: bool) -> None:
    assert may_be_reached(ipaddress.ip_address(address), [ipaddress.ip_network("10.0.0.0/8")]) is reached


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_where_clouds_keep_their_secrets_is_never_reached(address: str) -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]

    assert not may_be_reached(ipaddress.ip_address(address), everything)


def test_a_redirect_is_not_followed(port: int, seen: list[Any]) -> None:
    with pytest.raises(Unreachable, match="302"):  # a log-in or a page for maintenance: it may answer later
        at(port).ask("GET", "/elsewhere")

    assert [path for _method, path, _body in seen] == ["/elsewhere"]


def test_a_next_page_on_the_same_host_is_followed_however_it_is_spelled(port: int) -> None:
    asked = at(port, "localhost")

    for address in (f"http://localhost:{port}/status/200", f"HTTP://LocalHost:{port}/status/200"):
        assert asked.ask("GET", address).status == 200
    default = Wire(Connection(address="https://tickets.example/api"))
    assert default._address("https://tickets.example:443/next") == "https://tickets.example:443/next"


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example/status/200",
        "//evil.example/status/200",
        "http://127.0.0.1:1/status/200",
        "https://127.0.0.1:{port}/status/200",
        "http://127.0.0.1:{port}@evil.example/",
        "http://somebody@127.0.0.1:{port}/status/200",
        "file:///etc/passwd",
        "http://[::1/",
        "http://127.0.0.1:http/",
    ],
)
def test_a_next_page_elsewhere_is_refused(port: int, seen: list[Any], address: str) -> None:
    with pytest.raises(Rejected):
        at(port).ask("GET", address.format(port=port))

    assert seen == []


@pytest.mark.parametrize("value", ["one\r\nX-Two: 2", "Bearer 钥匙"])
def test_what_cannot_be_asked_is_rejected_without_repeating_it(port: int, value: str) -> None:
    with pytest.raises(Rejected, match="cannot be asked of the ticket store") as caught:
        at(port).ask("GET", "/status/200", headers={"X-Ref": value})

    assert value not in str(caught.value)


# ---- how long, how much ----------------------------------------------------------------------------------


def test_a_body_that_drips_is_cut() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n" + END
    with speaking(lambda connection: drips(connection, head, b" ")) as port:
        _is_cut(at(port, whole_s=0.3))


def test_a_body_without_a_length_that_drips_is_cut_and_not_taken_for_whole() -> None:
    with speaking(lambda connection: drips(connection, b"HTTP/1.1 200 OK\r\n" + END + b"{}", b" ")) as port:
        _is_cut(at(port, whole_s=0.3))


def test_a_head_that_drips_is_cut() -> None:
    with speaking(lambda connection: drips(connection, b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")) as port:
        _is_cut(at(port, whole_s=0.3))


def test_a_store_that_says_nothing_is_left() -> None:
    silent = threading.Event()
    with speaking(lambda _connection: silent.wait(60) and None) as port:
        _is_cut(at(port, whole_s=0.3))
        silent.set()


def _is_cut(asked: Wire) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="took too long|did not answer in time"):
        asked.ask("GET", "/")
    assert time.monotonic() - began < 30


def test_all_exchanges_inside_a_deadline_share_it(port: int, seen: list[Any]) -> None:
    asked = at(port)
    head = b"HTTP/1.1 200 OK\r\n" + END
    with within(60):
        asked.ask("GET", "/status/200")
    with within(0.3):
        with speaking(lambda connection: drips(connection, head, b" ")) as slow:
            _is_cut(at(slow))
        with pytest.raises(Unreachable, match="took too long"):
            asked.ask("GET", "/status/200")
        with within(60), pytest.raises(Unreachable, match="took too long"):  # an inner one gives no more
            asked.ask("GET", "/status/200")

    assert len(seen) == 1
    assert asked.ask("GET", "/status/200").status == 200


def test_a_large_body_may_take_longer_to_send_than_a_connection_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CONNECT_S", 0.2)
    size = 8_000_000

    def read_slowly(connection: socket.socket) -> None:
        pause = threading.Event()
        pause.wait(0.5)
        connection.settimeout(60)
        left = size
        while left > 0 and (part := connection.recv(1_000_000)):
            left -= len(part)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + END + b"{}")

    with speaking(read_slowly) as port:
        assert at(port, whole_s=60).ask("PUT", "/file", data=b"x" * size).json() == {}


def test_an_answer_beyond_the_cap_is_not_read_to_its_end(port: int) -> None:
    assert len(at(port, largest=1_000_000).ask("GET", "/much/1000000").body) == 1_000_000
    with pytest.raises(Rejected, match="larger than 1 MB"):
        at(port, largest=1_000_000).ask("GET", "/much/900000000")


def test_a_packed_answer_counts_by_what_it_unpacks_to(port: int) -> None:
    with pytest.raises(Rejected, match="larger than 2 MB"):
        at(port, largest=2_000_000).ask("GET", "/bomb")


def test_half_an_answer_is_no_answer() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n" + END + b'{"half":'
    with speaking(lambda connection: connection.sendall(half)) as port, pytest.raises(Unreachable):
        at(port).ask("GET", "/")


def test_a_closed_door_is_told_without_the_address() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # held, so that nobody else listens there
        with pytest.raises(Unreachable, match="cannot be reached: Connection refused") as caught:
            at(nobody.getsockname()[1]).ask("GET", "/", params={"token": SECRET})

    assert "token" not in str(caught.value)


# ---- what it believes ------------------------------------------------------------------------------------


def test_success_and_what_is_expected_come_back(port: int) -> None:
    assert at(port).ask("GET", "/status/201").status == 201
    assert at(port).ask("GET", "/status/404", accept=(404,)).json() == {"said": 404}
    assert at(port).ask("GET", "/status/503", accept=(503,)).status == 503


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (304, Unreachable),
        (400, Rejected),
        (401, Denied),
        (403, Denied),
        (404, Rejected),
        (408, Retry),
        (409, Rejected),
        (413, TooBig),
        (422, Rejected),
        (425, Retry),
        (429, Throttled),
        (500, Unreachable),
        (502, Unreachable),
        (503, Unreachable),
    ],
)
def test_every_other_status_is_an_error_of_its_class(port: int, status: int, error: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught:
        at(port).ask("GET", f"/status/{status}")

    assert type(caught.value) is error


def test_retry_after_is_understood_as_a_number_and_as_a_date(port: int) -> None:
    soon = format_datetime(clock.now() + timedelta(seconds=90), usegmt=True)
    for status in (429, 503):
        for told, least, most in (("17", 17, 17), (soon, 60, 90)):
            with pytest.raises(Retry) as caught:
                at(port).ask("GET", f"/status/{status}", params={"after": told})
            assert least <= caught.value.after <= most


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        (" 5 ", 5),
        ("99999999", 3600),
        ("-3", 0),
        ("1.5", 0),
        ("²", 0),
        ("soon", 0),
        ("9" * 5000, 3600),
        ("0" * 20 + "30", 30),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 2026 23:59:59 +99999999999999", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Fri, 31 Dec 2999 23:59:59 -0000", 3600),
    ],
)
def test_what_is_said_about_waiting_is_taken_with_sense(told: str | None, seconds: int) -> None:
    assert seconds_to_wait(told) == seconds


@pytest.mark.parametrize("path", ["/page", "/deep", "/much/1000"])
def test_a_page_in_place_of_data_is_not_the_store_speaking(port: int, path: str) -> None:
    with pytest.raises(Unreachable, match="not its data"):
        at(port).ask("GET", path).json()


def test_what_no_database_keeps_is_told_in_characters_that_can_be_kept(port: int) -> None:
    told = at(port).ask("GET", "/halves").json()

    assert told == {"cut": "坏了�", "whole": ["😀", 7, None], "nul": "ab", "said": "\\u0000", "raw�": {"x": "�"}}
    str(told).encode()


def test_a_log_in_is_kept_as_a_cookie(port: int) -> None:
    asked = at(port)
    asked.ask("GET", "/remember")

    assert asked.ask("GET", "/remembered").json() == {"sid": "1", "lang": "en"}


# ---- what it keeps ---------------------------------------------------------------------------------------


def test_exchanges_are_kept_without_secrets(port: int) -> None:
    asked = at(port, auth=("fieldapp", SECRET), headers={"X-Key": "a key"})

    with kept() as exchanges:
        answer = asked.ask("POST", "/echo", params={"key": SECRET}, json={"note": "已更换电源"})
        with pytest.raises(Rejected):
            asked.ask("GET", "/status/404")

    first, second = exchanges
    assert (first.method, first.path, first.status) == ("POST", "/echo", 200)
    assert first.request_sha256 == hashlib.sha256(json.dumps({"note": "已更换电源"}).encode()).hexdigest()
    assert answer.json()["sent"] == f"Basic {b64encode(f'fieldapp:{SECRET}'.encode()).decode()}"
    assert first.excerpt == '{"token": "•••", "sent": "•••"}'
    assert (second.status, second.excerpt) == (404, '{"said": 404}')


def test_an_error_sentence_repeats_no_secret() -> None:
    body = json.dumps({"error": f"bad key {SECRET}"}).encode()
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n" % len(body) + END + body
    with speaking(lambda connection: connection.sendall(refusal)) as port, pytest.raises(Denied, match="bad key •••"):
        at(port).ask("GET", "/")


def test_a_page_that_repeats_our_session_or_how_we_asked_tells_none_of_it(port: int) -> None:
    """An error page may show the request: its cookies, its address, what was typed into the form."""
    asked = at(port, auth=("fieldapp", 'p&ss "word"/1'))
    asked.ask("GET", "/remember", params={"sid": "0a1b2c3d4e5f"})

    with kept() as exchanges:
        asked.ask("GET", "/mirror", params={"password": 'p&ss "word"/1'})

    (exchange,) = exchanges
    assert exchange.excerpt == "<p>session •••, lang en; /mirror?password=•••; •••; •••</p>"


def test_of_an_answer_that_is_a_secret_nothing_is_kept(port: int) -> None:
    asked = at(port)

    with kept() as exchanges:
        asked.ask("POST", "/echo", hush=True)
        with pytest.raises(Rejected):
            asked.ask("GET", "/status/400", hush=True)

    assert [exchange.excerpt for exchange in exchanges] == ["•••", '{"said": 400}']


def test_an_exchange_without_an_answer_is_kept_too() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with kept() as exchanges, pytest.raises(Unreachable):
            at(nobody.getsockname()[1]).ask("GET", "/tickets", params={"q": SECRET})

    (exchange,) = exchanges
    assert (exchange.path, exchange.status) == ("/tickets", None)
    assert "refused" in exchange.excerpt


# ---- proxies and certificates ----------------------------------------------------------------------------


def test_the_proxy_of_the_settings_is_used() -> None:
    heads = []

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + END + b"{}")

    with speaking_with_head(answer, heads) as port:
        asked = Wire(
            Connection(address="http://tickets.example", networks=HERE, proxy=f"http://127.0.0.1:{port}", secret=SECRET)
        )
        assert asked.ask("GET", "/tickets").json() == {}

    assert heads[0].startswith(b"GET http://tickets.example/tickets HTTP/1.1")


@contextmanager
def speaking_with_head(talk: Callable[[socket.socket], None], heads: list[bytes]) -> Iterator[int]:
    """As ``speaking``, with the heads that came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            connection, _address = listener.accept()
            with connection:
                heads.append(connection.recv(65536))
                talk(connection)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def test_the_proxy_too_must_lie_where_the_settings_allow() -> None:
    with speaking(lambda connection: connection.sendall(b"")) as port:
        asked = Wire(Connection(address="http://tickets.example", proxy=f"http://127.0.0.1:{port}"))
        with pytest.raises(Unreachable, match="the settings do not allow"):
            asked.ask("GET", "/tickets")


def test_the_environment_names_no_proxy_and_no_log_in(
    port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert at(port).ask("GET", "/echo").json()["sent"] is None


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority (ca.pem) and a server's certificate from it (server.pem)."""
    if not shutil.which("openssl"):
        pytest.skip("the openssl command is not installed")
    folder = tmp_path_factory.mktemp("authority")
    (folder / "server.ext").write_text(
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"]
    signed = "-days 2 -out server.crt -extfile server.ext"
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    for command in (
        ["req", "-x509", *key, "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Our own", *usage],
        ["req", *key, "server.key", "-out", "server.csr", "-subj", "/CN=Tickets"],
        ["x509", "-req", *"-in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial".split(), *signed.split()],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    (folder / "server.pem").write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())
    return folder


@contextmanager
def speaking_tls(authority: Path, talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """As ``speaking``, under a certificate of our own authority; one connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            connection, _address = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    _head(secured)
                    talk(secured)
            except OSError:
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def _well(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + END + b"{}")


def test_an_authority_of_our_own_is_trusted_when_the_settings_name_it(authority: Path) -> None:
    with speaking_tls(authority, _well) as port:
        own = Connection(address=f"https://127.0.0.1:{port}", networks=HERE, ca=str(authority / "ca.pem"))
        assert Wire(own).ask("GET", "/").json() == {}


def test_a_certificate_of_an_unknown_authority_is_not_trusted(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority / "ca.pem"))

    with speaking_tls(authority, _well) as port:
        asked = Wire(Connection(address=f"https://127.0.0.1:{port}", networks=HERE))
        with pytest.raises(Unreachable, match="certificate is not one that we trust"):
            asked.ask("GET", "/")


def test_the_certificate_must_be_for_the_name_that_is_asked(authority: Path) -> None:
    with speaking_tls(authority, _well) as port:
        other = Connection(address=f"https://localhost:{port}", networks=HERE, ca=str(authority / "ca.pem"))
        with pytest.raises(Unreachable, match="certificate is not one that we trust"):
            Wire(other).ask("GET", "/")


def test_a_secured_body_that_drips_is_cut_too(authority: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + END
    with speaking_tls(authority, lambda connection: drips(connection, head, b" ")) as port:
        own = Connection(address=f"https://127.0.0.1:{port}", networks=HERE, ca=str(authority / "ca.pem"))
        _is_cut(Wire(own, whole_s=0.3))


def test_a_secured_address_that_is_not_allowed_is_left_before_the_handshake(authority: Path) -> None:
    with speaking_tls(authority, _well) as port:
        asked = Wire(Connection(address=f"https://127.0.0.1:{port}", ca=str(authority / "ca.pem")))
        with pytest.raises(Unreachable, match="the settings do not allow"):
            asked.ask("GET", "/")
