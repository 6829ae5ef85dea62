"""Our mark in a note's text: what is written is read back, and nothing else is taken for it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldapp.extensions import uuid7
from fieldapp.tickets.marks import Marked, mark, read

# What people and phones send: no NUL, no lone halves of a character, plain line ends.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40)


@given(text=TEXT, author=NAME)
def test_what_was_marked_is_read_back(text: str, author: str) -> None:
    uid = str(uuid7())

    marked = read(mark(text, author=author, uid=uid))

    assert marked == Marked(text.rstrip("\n"), " ".join(author.split()), uid)


@given(text=TEXT, end=st.text(" \t\n\r", max_size=6))
def test_line_ends_and_space_that_a_store_adds_do_not_hide_the_mark(text: str, end: str) -> None:
    as_a_form = mark(text, author="王磊", uid="a:status").replace("\n", "\r\n") + end

    assert read(as_a_form) == Marked(text.rstrip("\n"), "王磊", "a:status")


@given(text=TEXT)
def test_other_peoples_text_is_nobodys_mark(text: str) -> None:
    assert read(f"{text}.") == Marked(f"{text}.", "", None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "— 王磊 · fieldapp:",
        "— 王磊 · fieldapp:1 2",
        "> — 王磊 · fieldapp:0193",
        "— 王磊 · otherapp:0193",
        f"{mark('已更换电源', author='王磊', uid='0193')}\n好的，谢谢！",
    ],
)
def test_a_quoted_or_broken_mark_is_no_mark(text: str) -> None:
    assert read(text).uid is None
    assert read(text).text == text


def test_of_two_marks_the_last_one_counts() -> None:
    inner = mark("已更换电源", author="李婷", uid="one")

    assert read(mark(inner, author="王磊", uid="two")) == Marked(inner, "王磊", "two")


@pytest.mark.parametrize("text", ["\n" * 300_000 + "x", "— " * 150_000 + "\nx", "— a · fieldapp:" * 20_000 + "!"])
def test_a_strange_text_costs_no_time(text: str) -> None:
    began = time.thread_time()

    assert read(text).uid is None

    assert time.thread_time() - began < 1
