"""A child for test_press.py: does what it is told, good or bad, within the limits of a press."""

from __future__ import annotations

import os
import socket
import tempfile

from fieldapp.reports.press import serve


def answer(question: bytes) -> bytes:
    match question.decode():
        case "loop":
            while True:
                pass
        case "grow":
            return bytes(1024 * 1024 * 1024)[:1]
        case "write":
            with tempfile.TemporaryFile() as file:
                file.write(b"x")
                file.flush()
        case "connect":
            socket.create_connection(("127.0.0.1", 9), timeout=2)
        case "print":
            print("noise on standard output", flush=True)
        case "environment":
            return "\n".join(os.environ).encode()
    return question[::-1]


if __name__ == "__main__":
    serve(answer, cpu_seconds=1, memory=256 * 1024 * 1024)
