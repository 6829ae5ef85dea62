"""Text that no person types is refused before it reaches the database."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient


@pytest.mark.parametrize("address", ["/login?lang=%00", "/verify/%00", "/login%00"])
def test_nul_in_an_address_is_refused(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code == 400


def test_nul_in_a_form_is_refused(client: FlaskClient) -> None:
    assert client.post("/login", data={"username": "wang\0lei", "password": "x"}).status_code == 400
