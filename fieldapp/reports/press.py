"""A limited child process that answers one question at a time: bytes in, bytes out.

The renderer reads text that strangers wrote and is written in C underneath, so it works apart: without our secrets
in its environment, with bounded memory, processor time and wall-clock time, unable to write files and, where the system
allows it, without a network. A child that hangs or dies is replaced; nobody else notices.
This module knows nothing of PDFs: the parent's half is ``Press``, the child's half ``serve``.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import resource
import selectors
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, BinaryIO, cast

ROOT = Path(__file__).resolve().parents[2]
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
# Importing the package builds the whole application; the child has no use for it, so it gets an empty package root.
START = """
import runpy, sys, types
root = sys.modules["fieldapp"] = types.ModuleType("fieldapp")
root.__path__ = ["fieldapp"]
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""
HEADER = struct.Struct(">?I")  # did it work, how many bytes follow
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000


class PressStopped(Exception):
    """The child gave no answer: it crashed, was killed, or took longer than it may."""


class PressRefused(Exception):
    """The child answered that it cannot do this; the text says why."""


class Press:
    """One child process that runs ``module`` as its main program, started at the first question and kept for ``jobs`` questions.

    ``seconds`` is wall-clock time for one answer. Questions of several threads wait for each other; a forked
    process starts a child of its own.
    """

    def __init__(
        self, module: str, *, environment: Mapping[str, str], seconds: float, jobs: int, arguments: tuple[str, ...] = ()
    ) -> None:
        self._command = [sys.executable, "-c", START, module, *arguments]
        self._environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | dict(
            environment
        )
        self._seconds, self._jobs, self._left = seconds, jobs, 0
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """Process id of the child; None when there is none at the moment."""
        return self._child.pid if self._child else None

    def ask(self, question: bytes) -> bytes:
        """The child's answer; raises PressStopped (the child is replaced next time) or PressRefused."""
        with self._lock:
            child = self._ready_child()
            try:
                worked, answer = _exchange(child, question, until=time.monotonic() + self._seconds)
            except (EOFError, OSError, TimeoutError) as error:
                self._end()
                raise PressStopped(str(error) or type(error).__name__) from error
            self._left -= 1
            if not worked:
                self._end()
                raise PressRefused(answer.decode("utf-8", "replace"))
            return answer

    def close(self) -> None:
        """End the child; a later question starts a new one."""
        with self._lock:
            self._end()

    def _ready_child(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # forked since: the child belongs to the process that started it
            self._owner, self._child = os.getpid(), None
        if self._child is not None and (self._left <= 0 or self._child.poll() is not None):
            self._end()
        if self._child is None:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C in a terminal is the parent's to handle
            )
            self._left = self._jobs
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            _closed(pipe)


def _closed(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except OSError:  # what was not yet written has nobody to read it
        pass


def _exchange(child: subprocess.Popen[bytes], question: bytes, *, until: float) -> tuple[bool, bytes]:
    writer, reader = cast(IO[bytes], child.stdin).fileno(), cast(IO[bytes], child.stdout).fileno()
    os.set_blocking(writer, False)
    rest = memoryview(HEADER.pack(True, len(question)) + question)
    while rest:
        _wait(writer, selectors.EVENT_WRITE, until)
        rest = rest[os.write(writer, rest[:65536]) :]
    worked, length = HEADER.unpack(_read(reader, HEADER.size, until))
    return worked, _read(reader, length, until)


def _read(reader: int, length: int, until: float) -> bytes:
    found = bytearray()
    while len(found) < length:
        _wait(reader, selectors.EVENT_READ, until)
        some = os.read(reader, length - len(found))
        if not some:
            raise EOFError("the child ended before it answered")
        found += some
    return bytes(found)


def _wait(descriptor: int, event: int, until: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        if not selector.select(max(0.0, until - time.monotonic())):
            raise TimeoutError("the child took too long")


# ---- the child's half ----------------------------------------------------------------------------------


def serve(answer: Callable[[bytes], bytes], *, cpu_seconds: int, memory: int) -> None:
    """Answer questions from standard input until it closes, within the limits. Called in the child only.

    ``memory`` is address space in bytes; ``cpu_seconds`` is processor time for each answer. An exception becomes a
    refusal with its text, after which the child ends: nobody knows what state it left.
    """
    questions, answers = _private_pipes()
    _confine(memory)
    while (header := questions.read(HEADER.size)) and len(header) == HEADER.size:
        question = questions.read(HEADER.unpack(header)[1])
        _allow_cpu(cpu_seconds)
        try:
            worked, said = True, answer(question)
        except BaseException as error:  # noqa: BLE001 - WeasyPrint's fatal errors are BaseExceptions
            worked, said = False, f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace")
        answers.write(HEADER.pack(worked, len(said)) + said)
        answers.flush()
        if not worked:
            return


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Our pipes under numbers of their own; what a library prints must not stand between the answers."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return questions, answers


def _confine(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold customers' names
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        _without_network()


def _without_network() -> None:
    """A network namespace of its own, with nothing in it. Best effort: some systems do not let users make one."""
    ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET)


def _allow_cpu(seconds: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(usage.ru_utime + usage.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
