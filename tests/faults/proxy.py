"""A TCP proxy on this machine that spoils connections on purpose: the network between a phone and the office.

``with proxy_to(port) as proxy`` stands before a server; ``proxy.fault = Fault(…)`` holds for connections from then on
(a connection keeps the fault it began with), and ``proxy.chooses = function`` draws one for each connection.

| Fault | The phone hears | The office |
|---|---|---|
| ``latency_s`` | everything, late | everything, late |
| ``reset_up_after=n`` | RST | the first n bytes of the request |
| ``reset_down_after=n`` | n bytes of the answer, then RST | all |
| ``cut_up_at=n`` | whatever was answered, then the end | the first n bytes of the request, then the end |
| ``cut_down_at=n`` | n bytes of the answer, then the end | all |
| ``drop_answer`` | RST, once the whole answer was there | all, and it has committed |
| ``blackhole`` | nothing, for ever | nothing |
| ``half_close`` | all; an end in one direction leaves the other open | all |
| ``captive_portal`` | 200 text/html | nothing |
| ``busy`` | 503 with Retry-After | nothing |
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 65536
NO_BODY = (b"204", b"304")


def _page(status: bytes, text: bytes, *more: bytes) -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Type: text/html", b"Content-Length: %d" % len(text), b"Connection: close"]
    return b"\r\n".join([*head, *more, b"", text])


CAPTIVE = b"<!doctype html><title>Wi-Fi</title><h1>Please pay</h1>"
PORTAL = _page(b"200 OK", CAPTIVE)
BUSY = _page(b"503 Service Unavailable", b"<h1>503</h1>", b"Retry-After: 1")


class _Cut(Exception):
    """The bytes end here, in good order as far as TCP can tell."""


@dataclass(frozen=True)
class Fault:
    """What happens to connections from now on; the default lets everything through. The module says what each does."""

    latency_s: float = 0.0
    reset_up_after: int | None = None
    reset_down_after: int | None = None
    cut_up_at: int | None = None
    cut_down_at: int | None = None
    drop_answer: bool = False
    blackhole: bool = False
    half_close: bool = False
    captive_portal: bool = False
    busy: bool = False


@dataclass
class Proxy:
    """A running proxy. ``dropped`` keeps the answers that no phone got, ``connections`` counts all."""

    server_port: int
    port: int = 0
    fault: Fault = field(default_factory=Fault)
    chooses: Callable[[], Fault] | None = None
    dropped: list[bytes] = field(default_factory=list)
    connections: int = 0
    meetings: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    def meet(self, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        """One connection of a phone: ``up`` is what it says, ``down`` what it hears."""
        self.connections += 1
        meeting = asyncio.create_task(self._between(up, down))
        self.meetings[meeting] = down
        meeting.add_done_callback(self.meetings.pop)

    async def end(self) -> None:
        """Break off whatever goes on, also with a phone that has come only just now."""
        ending = dict(self.meetings)
        for meeting in ending:
            meeting.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        for down in ending.values():
            down.transport.abort()

    async def _between(self, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        fault = self.chooses() if self.chooses else self.fault
        try:
            if fault.captive_portal or fault.busy:
                await _answer_instead(PORTAL if fault.captive_portal else BUSY, up, down)
            elif fault.blackhole:
                while await up.read(CHUNK):
                    pass
            else:
                await self._pass_on(fault, up, down)
        except (ConnectionError, asyncio.IncompleteReadError):
            _reset(down)
        finally:
            await _closed(down)

    async def _pass_on(self, fault: Fault, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self.server_port)
        asked = _Asked()
        ways = [asyncio.create_task(_pump(up, server, fault, fault.reset_up_after, fault.cut_up_at, asked))]
        if fault.drop_answer:
            ways.append(asyncio.create_task(self._drop(answers, asked)))
        else:
            ways.append(asyncio.create_task(_pump(answers, down, fault, fault.reset_down_after, fault.cut_down_at)))
        try:
            done, _others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if fault.half_close or fault.cut_up_at is not None:
                done, _others = await asyncio.wait(ways)
            for each in done:
                each.result()
        except _Cut:
            pass
        finally:
            try:
                for each in ways:
                    each.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:  # the proxy may be stopped while it waits
                await _closed(server)

    async def _drop(self, answers: asyncio.StreamReader, asked: _Asked) -> None:
        self.dropped.append(await _whole_answer(answers, asked))
        raise ConnectionAbortedError


@dataclass
class _Asked:
    """The first bytes of what the phone said: an answer to HEAD has a length and no body."""

    start: bytes = b""


async def _answer_instead(answer: bytes, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
    """Hear the whole request, say something of our own, and end in good order."""
    head = await up.readuntil(b"\r\n\r\n")
    await up.readexactly(_length(head))
    down.write(answer)
    await down.drain()


async def _pump(
    source: asyncio.StreamReader,
    target: asyncio.StreamWriter,
    fault: Fault,
    reset_after: int | None,
    cut_at: int | None,
    asked: _Asked | None = None,
) -> None:
    """Pass bytes on until there are no more; raises ConnectionAbortedError or _Cut once the first n have gone through."""
    most = reset_after if reset_after is not None else cut_at
    passed = 0
    while chunk := await source.read(CHUNK):
        await asyncio.sleep(fault.latency_s)
        if asked and not asked.start:
            asked.start = chunk[:8]
        room = len(chunk) if most is None else max(0, most - passed)
        target.write(chunk[:room])
        await target.drain()
        if room < len(chunk):
            await _stop(target, orderly=reset_after is None)
        passed += len(chunk)
    if (fault.half_close or cut_at is not None) and target.can_write_eof():
        target.write_eof()


async def _stop(target: asyncio.StreamWriter, *, orderly: bool) -> None:
    if not orderly:
        raise ConnectionAbortedError
    if target.can_write_eof():
        target.write_eof()
    raise _Cut


async def _whole_answer(answers: asyncio.StreamReader, asked: _Asked) -> bytes:
    """An HTTP answer with a Content-Length, from its first byte to its last."""
    head = await answers.readuntil(b"\r\n\r\n")
    if asked.start.startswith(b"HEAD ") or head.split(b" ", 2)[1] in NO_BODY:
        return head
    return head + await answers.readexactly(_length(head))


def _length(head: bytes) -> int:
    """What the head of a message says about its body; nothing said is none."""
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0].partition(b":")[2]) if lengths else 0


def _reset(phone: asyncio.StreamWriter) -> None:
    """Cut the connection with RST, as a network that is gone does."""
    raw: socket.socket = phone.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    phone.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        with suppress(ConnectionError):
            await writer.wait_closed()
    finally:  # the proxy may be stopped while bytes still wait to go out
        writer.transport.abort()


@contextmanager
def proxy_to(server_port: int) -> Iterator[Proxy]:
    """A proxy in a thread of its own, gone when the block ends."""
    proxy, started, loop = Proxy(server_port), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(proxy.meet, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        for each in server.sockets:
            loop.remove_reader(each.fileno())
        for _round in range(3):  # of the loop, until whoever was let in before that is met
            await asyncio.sleep(0)
        server.close()
        await proxy.end()
        await asyncio.sleep(0)  # what was aborted last is closed in the loop's next round

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
