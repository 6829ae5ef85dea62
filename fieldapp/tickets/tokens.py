"""Asking with a token that a log-in gives for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fieldapp.tickets.wire import Answer, Wire


class Tokens:
    """A wire that logs in when it has to: the token is kept, and one that has ended is replaced once."""

    def __init__(self, wire: Wire, log_in: Callable[[], str]) -> None:
        self._wire, self._log_in, self._token = wire, log_in, ""

    def ask(self, method: str, path: str, *, accept: Sequence[int] = (), **more: Any) -> Answer:
        """As the wire asks; 401 comes back where the token that we have just been given is refused (raises StoreError)."""
        fresh = not self._token
        answer = self._once(method, path, accept, **more)
        return self._once(method, path, accept, **more) if answer.status == 401 and not fresh else answer

    def _once(
        self, method: str, path: str, accept: Sequence[int], headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        self._token = self._token or self._log_in()
        carried = {**(headers or {}), "Authorization": f"Bearer {self._token}"}
        answer = self._wire.ask(method, path, headers=carried, accept=(401, *accept), **more)
        if answer.status == 401:
            self._token = ""
        return answer
