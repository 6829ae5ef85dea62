"""The outbox page: words and places for what waits on a phone; its script fills them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from fieldapp.accounts.models import User
from fieldapp.config import ROOT

SCRIPT = (ROOT / "static/js/offline/outbox-page.js").read_text("utf-8")
STATES = ("kept", "sending", "waiting", "login", "attention", "received")


def dashed(name: str) -> str:
    """noSignal → no-signal, as an attribute writes it."""
    return re.sub(r"[A-Z]", lambda found: "-" + found[0].lower(), name)


def test_every_word_that_the_script_says_stands_on_the_page(phone: FlaskClient) -> None:
    page = phone.get("/outbox").text

    reasons = SCRIPT.split("const REASONS = {")[1].split("}")[0]
    asked = set(re.findall(r"\bwords\.(\w+) \?\?|\(words\.(\w+),|this\.words\.(\w+)", SCRIPT))
    asked = {next(filter(None, names)) for names in asked} | set(re.findall(r'"(\w+)"', reasons)) | {"refused"}
    given = set(re.findall(r'data-([\w-]+)="[^"]+"', page.split("data-outbox")[1].split(">")[0]))
    assert asked >= {"kept", "received", "noSignal", "photoDamaged"}
    assert {dashed(name) for name in asked} == given


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_badge_with_words(phone: FlaskClient, state: str) -> None:
    page = phone.get("/outbox").text

    badge = page.split(f'<template data-for="{state}">')[1].split("</template>")[0]
    assert "<svg" in badge
    assert re.sub("<[^>]+>", "", badge).strip()
    assert f'"{state}"' in SCRIPT


def test_every_place_that_the_script_fills_stands_on_the_page(phone: FlaskClient) -> None:
    page = phone.get("/outbox").text

    for name in set(re.findall(r"\[(data-[\w-]+)\]", SCRIPT)) | {'data-list="waiting"', 'data-part="received"'}:
        assert name in page, name


def test_sentences_keep_the_places_of_their_values(phone: FlaskClient) -> None:
    page = phone.get("/outbox").text

    for name, values in {
        "again": ("count", "time"),
        "received": ("time", "receipt"),
        "photos": ("arrived", "count"),
    }.items():
        sentence = page.split(f'data-{name}="')[1].split('"')[0]
        assert all(f"{{{value}}}" in sentence for value in values), sentence


def test_nothing_can_be_thrown_away(phone: FlaskClient) -> None:
    main = phone.get("/outbox").text.split("<main")[1].split("<dialog")[0]

    assert re.findall(r"<button[^>]* data-(export|send)\b", main) == ["export", "send"]
    assert re.findall(r"<template data-(\w+)><button", main) == ["file"], "one file of a large export"
    assert main.count("<button") == 3
    assert "<form" not in main


def test_the_page_is_the_engineers(
    logged_in: Callable[[User], FlaskClient], dispatcher: User, client: FlaskClient
) -> None:
    assert client.get("/outbox").status_code == 303
    assert logged_in(dispatcher).get("/outbox").status_code == 403


def test_the_page_holds_nothing_of_anybody(
    logged_in: Callable[[User], FlaskClient], engineer: User, colleague: User
) -> None:
    pages = [logged_in(user).get("/outbox").text.split("<main")[1] for user in (engineer, colleague)]

    assert pages[0].split("<script")[0] == pages[1].split("<script")[0]
