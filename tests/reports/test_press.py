"""The limited child process: what it may not do, and that it is replaced when it hangs or dies."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from fieldapp.reports.press import Press, PressRefused, PressStopped


@pytest.fixture
def press() -> Iterator[Press]:
    press = Press("tests.reports.press_child", environment={"GIVEN": "1"}, seconds=120, jobs=3)
    yield press
    press.close()


def pid_of(press: Press) -> int:
    assert press.pid is not None
    return press.pid


def test_a_question_larger_than_a_pipe_is_answered_by_one_child(press: Press) -> None:
    long = b"ab" * 300_000

    assert press.ask(long) == long[::-1]
    first = pid_of(press)
    assert press.ask(b"again") == b"niaga"

    assert press.pid == first


def test_the_child_is_replaced_after_its_number_of_jobs(press: Press) -> None:
    press.ask(b"one")
    first = pid_of(press)
    press.ask(b"two")
    press.ask(b"three")

    press.ask(b"four")

    assert press.pid != first


def test_a_killed_child_is_replaced(press: Press) -> None:
    press.ask(b"one")
    first = pid_of(press)
    os.kill(first, signal.SIGKILL)

    answers = []
    for _try in range(2):  # the kernel may tell us before or after we ask
        try:
            answers.append(press.ask(b"two"))
        except PressStopped:
            continue

    assert answers[-1] == b"owt"
    assert press.pid != first


def test_a_child_that_hangs_is_stopped_at_the_wall_clock_and_replaced(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    press.ask(b"one")
    os.kill(pid_of(press), signal.SIGSTOP)

    with monkeypatch.context() as now:
        now.setattr(press, "_seconds", 0.5)  # a child that starts on a busy machine needs more
        with pytest.raises(PressStopped, match="too long"):
            press.ask(b"two")

    assert press.pid is None
    assert press.ask(b"three") == b"eerht"


def test_a_child_that_computes_for_ever_is_stopped_by_its_cpu_limit(press: Press) -> None:
    with pytest.raises(PressStopped, match="ended before it answered"):
        press.ask(b"loop")

    assert press.ask(b"next") == b"txen"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS knows no limit of address space")
def test_a_child_that_wants_too_much_memory_is_refused(press: Press) -> None:
    with pytest.raises(PressRefused, match="MemoryError"):
        press.ask(b"grow")

    assert press.ask(b"next") == b"txen"


def test_the_child_cannot_write_files(press: Press) -> None:
    with pytest.raises(PressRefused, match="No usable temporary directory"):
        press.ask(b"write")


def test_the_child_reaches_nobody(press: Press) -> None:
    with pytest.raises(PressRefused, match="OSError|ConnectionRefused|unreachable"):
        press.ask(b"connect")


def test_the_child_does_not_know_our_secrets(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDAPP_SECRET_KEY", "not for the child")

    names = press.ask(b"environment").decode().split("\n")

    assert "GIVEN" in names
    assert not [name for name in names if name.startswith("FIELDAPP")]


def test_what_a_library_prints_does_not_spoil_the_answer(press: Press) -> None:
    assert press.ask(b"print") == b"tnirp"


def test_a_fork_of_ours_starts_a_child_of_its_own(press: Press) -> None:
    press.ask(b"one")
    ours = pid_of(press)

    forked = os.fork()
    if forked == 0:
        fine = press.ask(b"two") == b"owt" and press.pid != ours
        press.close()
        os._exit(0 if fine else 1)

    assert os.waitpid(forked, 0)[1] == 0
    assert press.ask(b"three") == b"eerht"
    assert press.pid == ours
