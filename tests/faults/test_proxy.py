"""The proxy does to connections what it says, or the tests behind it prove nothing."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from tests.faults.proxy import CAPTIVE, Fault, Proxy, proxy_to

REQUEST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@dataclass
class Echo:
    """An office of one sentence: ``heard`` is what arrived on each connection, ``full`` tells of a whole request."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        said = b""
        try:
            while not _whole(said) and (chunk := connection.recv(65536)):
                said += chunk
            self.heard.append(said)
            if said == REQUEST or said.startswith(b"HEAD "):
                connection.sendall(ANSWER[: ANSWER.index(b"hello")] if said.startswith(b"HEAD ") else ANSWER)
        except OSError:
            self.heard.append(said)


def _whole(said: bytes) -> bool:
    return len(said) >= len(REQUEST) or (said.startswith(b"HEAD ") and said.endswith(b"\r\n\r\n"))


@contextmanager
def office() -> Iterator[Echo]:
    echo = Echo()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        echo.port = listener.getsockname()[1]
        thread = threading.Thread(target=echo.serve, args=(listener,))
        thread.start()
        yield echo
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with office() as echo:
        yield echo


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with proxy_to(echo.port) as proxy:
        yield proxy


def ask(proxy: Proxy, request: bytes = REQUEST) -> tuple[bytes, bool]:
    """What came back, and whether the connection ended in good order (False: reset)."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as phone:
            phone.sendall(request)
            while chunk := phone.recv(65536):
                got += chunk
    except ConnectionError:
        return got, False
    return got, True


def test_without_a_fault_everything_passes(proxy: Proxy, echo: Echo) -> None:
    assert ask(proxy) == (ANSWER, True)
    assert echo.heard == [REQUEST]
    assert proxy.connections == 1


@pytest.mark.parametrize("most", [0, 1, 30, len(REQUEST) - 1])
def test_a_reset_on_the_way_up_lets_only_the_first_bytes_through(proxy: Proxy, echo: Echo, most: int) -> None:
    proxy.fault = Fault(reset_up_after=most)

    assert ask(proxy) == (b"", False)
    proxy.fault = Fault()
    assert ask(proxy) == (ANSWER, True)
    assert echo.heard == [REQUEST[:most], REQUEST]


@pytest.mark.parametrize("most", [0, 1, 20, len(ANSWER) - 1])
def test_a_reset_on_the_way_down_comes_after_the_office_heard_all(proxy: Proxy, echo: Echo, most: int) -> None:
    proxy.fault = Fault(reset_down_after=most)

    got, orderly = ask(proxy)

    assert not orderly
    assert ANSWER[:most].startswith(got)  # a reset may take away what was not read yet
    assert echo.heard == [REQUEST]


@pytest.mark.parametrize("most", [1, 20, len(ANSWER) - 1])
def test_an_answer_that_is_cut_ends_in_good_order(proxy: Proxy, most: int) -> None:
    proxy.fault = Fault(cut_down_at=most)

    assert ask(proxy) == (ANSWER[:most], True)


def test_a_request_that_is_cut_ends_in_good_order(proxy: Proxy, echo: Echo) -> None:
    proxy.fault = Fault(cut_up_at=40)

    assert ask(proxy) == (b"", True)
    assert echo.heard == [REQUEST[:40]]


def test_the_answer_is_dropped_after_it_was_there_whole(proxy: Proxy, echo: Echo) -> None:
    proxy.fault = Fault(drop_answer=True)

    assert ask(proxy) == (b"", False)
    assert proxy.dropped == [ANSWER]
    assert echo.heard == [REQUEST]


def test_a_dropped_answer_to_head_is_not_waited_for_in_vain(proxy: Proxy, echo: Echo) -> None:
    proxy.fault = Fault(drop_answer=True)

    assert ask(proxy, b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n") == (b"", False)
    assert proxy.dropped == [ANSWER[: ANSWER.index(b"hello")]]


def test_a_captive_portal_answers_and_the_office_hears_nothing(proxy: Proxy, echo: Echo) -> None:
    proxy.fault = Fault(captive_portal=True)

    got, orderly = ask(proxy)

    assert orderly
    assert got.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
    assert got.endswith(CAPTIVE)
    assert echo.heard == []


def test_a_busy_gateway_says_when_to_come_again(proxy: Proxy, echo: Echo) -> None:
    proxy.fault = Fault(busy=True)

    got, _orderly = ask(proxy)

    assert got.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in got
    assert echo.heard == []


def test_a_blackhole_is_silent(proxy: Proxy, echo: Echo) -> None:
    proxy.fault = Fault(blackhole=True)

    with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.2) as phone:
        phone.sendall(REQUEST)
        with pytest.raises(TimeoutError):
            phone.recv(1)
    assert echo.heard == []


def test_a_half_closed_connection_still_brings_the_answer(proxy: Proxy) -> None:
    proxy.fault = Fault(half_close=True, latency_s=0.01)

    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as phone:
        phone.sendall(REQUEST)
        phone.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := phone.recv(65536):
            got += chunk
    assert got == ANSWER


def test_a_fault_can_be_drawn_for_each_connection(proxy: Proxy) -> None:
    drawn = iter([Fault(captive_portal=True), Fault()])
    proxy.chooses = lambda: next(drawn)

    assert ask(proxy)[0].endswith(CAPTIVE)
    assert ask(proxy) == (ANSWER, True)


def test_phones_that_come_as_the_proxy_ends_leave_nothing_open(echo: Echo) -> None:
    with ExitStack() as phones:
        with proxy_to(echo.port) as proxy:
            for _n in range(40):
                phones.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=10))
        gc.collect()  # what is left open is a warning, and a warning is an error


def test_an_office_that_is_down_is_a_reset(echo: Echo) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # held, so that nobody else listens there
        with proxy_to(nobody.getsockname()[1]) as proxy:
            assert ask(proxy) == (b"", False)
