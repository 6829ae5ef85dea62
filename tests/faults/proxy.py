"""A TCP proxy on this machine that spoils connections on purpose: the network between a phone and the office."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 65536
CAPTIVE = b"<!doctype html><title>Wi-Fi</title><h1>Please pay</h1>"
PORTAL = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
    len(CAPTIVE),
    CAPTIVE,
)


@dataclass
class Fault:
    """What happens to connections from now on; the default lets everything through.

    ``reset_up_after``/``reset_down_after``: bytes let through from the phone/from the server before the reset.
    ``drop_answer``: the server's answer is waited for, thrown away, and the phone is cut off.
    """

    latency_s: float = 0.0
    reset_up_after: int | None = None
    reset_down_after: int | None = None
    drop_answer: bool = False
    blackhole: bool = False
    half_close: bool = False
    captive_portal: bool = False


@dataclass
class Proxy:
    """A running proxy. Set ``fault`` between two requests; ``dropped`` keeps the answers that no phone got."""

    server_port: int
    port: int = 0
    fault: Fault = field(default_factory=Fault)
    dropped: list[bytes] = field(default_factory=list)

    async def meet(self, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        """One connection of a phone: ``up`` is what it says, ``down`` what it hears."""
        fault = self.fault
        try:
            if fault.captive_portal:
                await up.read(CHUNK)
                down.write(PORTAL)
                await down.drain()
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
        ways = [asyncio.create_task(_pump(up, server, fault, fault.reset_up_after))]
        if fault.drop_answer:
            ways.append(asyncio.create_task(self._drop(answers)))
        else:
            ways.append(asyncio.create_task(_pump(answers, down, fault, fault.reset_down_after)))
        try:
            done, _others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if fault.half_close:
                done, _others = await asyncio.wait(ways)
            for each in done:
                each.result()
        finally:
            for each in ways:
                each.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _closed(server)

    async def _drop(self, answers: asyncio.StreamReader) -> None:
        self.dropped.append(await _whole_answer(answers))
        raise ConnectionAbortedError


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, fault: Fault, most: int | None) -> None:
    """Pass bytes on until there are no more; after ``most`` bytes ConnectionAbortedError."""
    passed = 0
    while chunk := await source.read(CHUNK):
        await asyncio.sleep(fault.latency_s)
        room = len(chunk) if most is None else max(0, most - passed)
        target.write(chunk[:room])
        await target.drain()
        if room < len(chunk):
            raise ConnectionAbortedError
        passed += len(chunk)
    if fault.half_close and target.can_write_eof():
        target.write_eof()


async def _whole_answer(answers: asyncio.StreamReader) -> bytes:
    """An HTTP answer with a Content-Length, from its first byte to its last."""
    head = await answers.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await answers.readexactly(int(lengths[0].partition(b":")[2]))


def _reset(phone: asyncio.StreamWriter) -> None:
    """Cut the connection with RST, as a network that is gone does."""
    raw: socket.socket = phone.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    phone.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


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
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
