"""What may become a password or a PIN."""

from __future__ import annotations

import pytest
from flask import Flask

from fieldapp.accounts import passwords
from fieldapp.errors import Invalid


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("", "A password has at least 8 characters."),
        ("seven77", "A password has at least 8 characters."),
        ("x" * 129, "A password has at most 128 characters."),
        ("xx-WangLei-42-river", "Your own name must not be a part of the password."),
        ("我叫王磊住在松江河边上", "Your own name must not be a part of the password."),
        ("password1", "This password is easy to guess."),
        ("12345678", "This password is easy to guess."),
        ("qwertyuiop", "This password is easy to guess."),
        ("1qaz2wsx3edc", "This password is easy to guess."),
    ],
)
def test_a_weak_password_is_refused_with_the_reason_at_its_field(app: Flask, password: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        passwords.check_new(password, "wanglei", "王磊", field="new_password")

    assert refused.value.fields["new_password"].startswith(sentence)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "onlylowercaseoftravel",
        "月亮船在海上慢慢走过桥",
        " blanks around count ",
        "river-" + "stone~" * 20,
    ],
)
def test_any_characters_may_make_a_good_password(app: Flask, password: str) -> None:
    passwords.check_new(password, "wanglei", "王磊", field="new_password")

    assert passwords.matches(passwords.hashed(password), password)


def test_nothing_is_cut_off(app: Flask) -> None:
    kept = passwords.hashed("river-" + "stone~" * 20)

    assert not passwords.matches(kept, "river-" + "stone~" * 19)


def test_what_is_no_hash_matches_nothing(app: Flask) -> None:
    assert not passwords.matches("plain", "plain")
    assert not passwords.matches(None, "nobody has this password")


@pytest.mark.parametrize("pin", ["7391", "00000001", "135790"])
def test_four_to_eight_digits_are_a_pin(app: Flask, pin: str) -> None:
    passwords.check_pin(pin)


@pytest.mark.parametrize("pin", ["", "123", "739173917", "12a4", "٧٣٩١", "0000", "1234", "6543", "-391"])
def test_other_pins_are_refused(app: Flask, pin: str) -> None:
    with pytest.raises(Invalid) as refused:
        passwords.check_pin(pin)

    assert set(refused.value.fields) == {"pin"}
