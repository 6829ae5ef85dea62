"""The store's words and ours: read from a file that people write, so every mistake has a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fieldapp.tickets import connection, mapping
from fieldapp.tickets.mapping import BadMapping, StoreMapping, Words
from tests.conftest import settings_for

DEFAULTS = StoreMapping(
    place="Support",
    statuses=Words({"New": "new", "Done": "resolved"}, {"new": "New", "resolved": "Done"}),
    fields={"customer": "CustomerId", "asset": "Serial"},
    options={"version": "62.0"},
)
WHOLE = """
place = "现场服务"

[statuses.read]
"处理中" = "in_progress"
"DONE" = "closed"
[statuses.write]
resolved = "已解决"

[priorities.read]
"1" = "urgent"
[types.write]
hardware = "硬件"
[channels.read]
"WeChat" = "wechat"

[fields]
customer = "客户编号"
asset = ""

[options]
version = "63.0"
"""


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "mapping.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_a_file_replaces_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    words = DEFAULTS.changed(mapping.read(written(tmp_path, WHOLE)))

    assert words.place == "现场服务"
    assert words.statuses.ours("处理中", "new") == "in_progress"
    assert words.statuses.ours("new", "?") == "new"
    assert (words.statuses.theirs("resolved"), words.statuses.theirs("new")) == ("已解决", "New")
    assert words.priorities.ours("1", "normal") == "urgent"
    assert words.types.theirs("hardware") == "硬件"
    assert words.channels.ours("wechat", "hotline") == "wechat"
    assert words.options == {"version": "63.0"}


def test_their_words_count_without_regard_to_case_and_the_files_word_goes_before_ours(tmp_path: Path) -> None:
    words = DEFAULTS.changed(mapping.read(written(tmp_path, WHOLE)))

    assert [DEFAULTS.statuses.ours(word, "?") for word in ("DONE", "done")] == ["resolved", "resolved"]
    assert [words.statuses.ours(word, "?") for word in ("DONE", "done")] == ["closed", "closed"]


def test_an_empty_word_takes_a_word_away() -> None:
    words = DEFAULTS.changed(mapping.of({"statuses": {"write": {"new": ""}}, "fields": {"asset": ""}}, where="here"))

    assert words.statuses.theirs("new") is None
    assert words.fields == {"customer": "CustomerId"}


def test_what_neither_side_knows_is_said_so() -> None:
    assert DEFAULTS.statuses.theirs("suspended") is None
    assert DEFAULTS.statuses.ours("On Fire", "in_progress") == "in_progress"
    assert DEFAULTS.statuses.ours(None, "new") == "new"


def test_nothing_in_the_file_changes_nothing(tmp_path: Path) -> None:
    assert DEFAULTS.changed(mapping.read(written(tmp_path, ""))) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("place = ", "is not TOML"),
        (b'place = "\xff"', "is not TOML"),
        ("place = 3", "place is one word in quotes"),
        ('[status.read]\nNew = "new"', "there is no section 'status'; write one of place, statuses"),
        ('[statuses]\nNew = "new"', r"\[statuses\] has the parts \[statuses.read\] and \[statuses.write\]"),
        ('statuses = "new"', r"\[statuses\] has the parts"),
        ('[statuses.read]\nNew = "neww"', r"'neww' in \[statuses\] is none of our words: new, triaged"),
        ('[statuses.write]\nfixed = "Done"', r"'fixed' in \[statuses\] is none of our words"),
        ("[statuses.write]\nresolved = 5", r"\[statuses.write\] holds lines of the form name = \"word\""),
        ('[statuses.read]\nNew = ["new"]', r"\[statuses.read\] holds lines"),
        ('[priorities.read]\nP1 = "now"', "none of our words: urgent, high, normal, low"),
        ("[fields]\ncustomer = 1", r"\[fields\] holds lines of the form"),
        ('fields = ["customer"]', r"\[fields\] holds lines of the form"),
        ('read = "x"', "there is no section 'read'"),
    ],
)
def test_a_mistake_is_answered_with_its_place(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    file = written(tmp_path, text)

    with pytest.raises(BadMapping, match=sentence) as refused:
        mapping.read(file)

    assert str(refused.value).startswith(str(file))


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BadMapping, match="cannot be read: No such file"):
        mapping.read(tmp_path / "mapping.toml")
    with pytest.raises(BadMapping, match="cannot be read: Is a directory"):
        mapping.read(tmp_path)


def test_a_connection_is_what_the_settings_say(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path,
        ticket_store="redmine",
        store_url="https://tickets.example/redmine/",
        store_user="fieldapp",
        store_secret="a key",
        store_hook_secret="a hook's key",
        store_networks="10.0.0.0/8, fd12::/16",
        store_mapping=str(written(tmp_path, WHOLE)),
        store_ca=str(written(tmp_path, WHOLE)),
        store_proxy="http://proxy.example:3128",
    )

    made = connection.of(settings)

    assert made.address == "https://tickets.example/redmine"
    assert (made.user, made.secret, made.hook_secret) == ("fieldapp", "a key", "a hook's key")
    assert made.networks == ("10.0.0.0/8", "fd12::/16")
    assert made.words.place == "现场服务"
    assert (made.ca, made.proxy) == (settings.store_ca, "http://proxy.example:3128")
    assert connection.of(replace(settings, store_mapping="")).words == StoreMapping()


def test_a_connection_that_is_printed_shows_no_secret() -> None:
    shown = repr(connection.Connection("https://tickets.example", secret="a key", hook_secret="a hook's key"))

    assert "key" not in shown
