"""Settings: read once, each bad value stops the start with a sentence that names its variable."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldapp.config import ROOT, BadSetting, Settings, from_environment

KEY = "k" * 32
GOOD = {"FIELDAPP_SECRET_KEY": KEY}


def read(folder: Path, **environment: str) -> Settings:
    return from_environment({"FIELDAPP_DATA_DIR": str(folder), **GOOD, **environment})


BAD = [
    ({"FIELDAPP_DEMO": "yes"}, "FIELDAPP_DEMO is 'yes'"),
    ({"FIELDAPP_ENV": "staging"}, "FIELDAPP_ENV is 'staging'"),
    ({"FIELDAPP_DEMO": "1", "FIELDAPP_ENV": "production"}, "refused in production"),
    ({"FIELDAPP_SECRET_KEY": ""}, "FIELDAPP_SECRET_KEY needs 32"),
    ({"FIELDAPP_SECRET_KEY": "short"}, "FIELDAPP_SECRET_KEY needs 32"),
    ({"FIELDAPP_ENV": "production"}, "FIELDAPP_PUBLIC_URL must be the https://"),
    ({"FIELDAPP_ENV": "production", "FIELDAPP_PUBLIC_URL": "http://x.example"}, "must be the https://"),
    ({"FIELDAPP_PUBLIC_URL": "service.example"}, "FIELDAPP_PUBLIC_URL is 'service.example'"),
    ({"FIELDAPP_PUBLIC_URL": "https://"}, "FIELDAPP_PUBLIC_URL is 'https://'"),
    ({"FIELDAPP_PUBLIC_URL": "ftp://service.example"}, "FIELDAPP_PUBLIC_URL is"),
    ({"FIELDAPP_DATABASE_URL": "mysql://x"}, "FIELDAPP_DATABASE_URL starts with 'mysql'"),
    ({"FIELDAPP_DATABASE_URL": "postgres://x"}, "write sqlite:///… or postgresql://…"),
    ({"PORT": "0"}, "PORT is '0': write a whole number from 1 to 65535"),
    ({"PORT": "http"}, "PORT is 'http'"),
    ({"PORT": "80²"}, "PORT is '80²'"),
    ({"FIELDAPP_PROXIES": "-1"}, "FIELDAPP_PROXIES is '-1'"),
    ({"FIELDAPP_PROXIES": "6"}, "from 0 to 5"),
    ({"FIELDAPP_ARGON2_MEMORY_KIB": "1024"}, "FIELDAPP_ARGON2_MEMORY_KIB is '1024'"),
    ({"FIELDAPP_TICKET_STORE": "paper"}, "FIELDAPP_TICKET_STORE is 'paper': write one of embedded"),
    ({"FIELDAPP_LOCALE": "de"}, "FIELDAPP_LOCALE is 'de'"),
    ({"FIELDAPP_TIMEZONE": "Shanghai"}, "FIELDAPP_TIMEZONE is 'Shanghai'"),
    ({"FIELDAPP_TIMEZONE": "../../etc/passwd"}, "write a name such as Asia/Shanghai"),
    ({"FIELDAPP_LOG_LEVEL": "LOUD"}, "FIELDAPP_LOG_LEVEL is 'LOUD'"),
    ({"FIELDAPP_TICKET_STORE": "redmine"}, "FIELDAPP_STORE_URL must be the address of the ticket store 'redmine'"),
    ({"FIELDAPP_STORE_URL": "tickets.example"}, "FIELDAPP_STORE_URL is 'tickets.example'"),
    ({"FIELDAPP_STORE_URL": "file:///etc/passwd"}, "FIELDAPP_STORE_URL is 'file:///etc/passwd'"),
    ({"FIELDAPP_STORE_PROXY": "proxy:3128"}, "FIELDAPP_STORE_PROXY is 'proxy:3128': write an address"),
    ({"FIELDAPP_STORE_NETWORKS": "10.0.0.0/8, office"}, "write networks such as 10.0.0.0/8, comma separated"),
    ({"FIELDAPP_STORE_NETWORKS": "10.0.0.1/8"}, "FIELDAPP_STORE_NETWORKS is '10.0.0.1/8'"),
    ({"FIELDAPP_STORE_MAPPING": "nowhere.toml"}, "FIELDAPP_STORE_MAPPING is 'nowhere.toml': there is no such file"),
    ({"FIELDAPP_STORE_CA": "nowhere.pem"}, "FIELDAPP_STORE_CA is 'nowhere.pem': there is no such file"),
    ({"FIELDAPP_CRASH_AT": "after commit"}, "FIELDAPP_CRASH_AT is 'after commit'"),
    ({"FIELDAPP_CRASH_AT": "after_commit:x"}, "write a point's name, or name:count"),
    (
        {
            "FIELDAPP_CRASH_AT": "after_commit",
            "FIELDAPP_ENV": "production",
            "FIELDAPP_PUBLIC_URL": "https://service.example",
        },
        "FIELDAPP_CRASH_AT kills the process",
    ),
]


@pytest.mark.parametrize(("environment", "sentence"), BAD, ids=[sentence for _environment, sentence in BAD])
def test_a_bad_value_is_answered_with_a_sentence(tmp_path: Path, environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadSetting) as refused:
        read(tmp_path, **environment)

    assert sentence in str(refused.value)


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BadSetting, match="cannot be made: Not a directory"):
        read(tmp_path / "file" / "data")


def test_the_start_says_the_sentence_and_nothing_else(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "FIELDAPP_DATA_DIR": str(tmp_path), "PORT": "http", **GOOD}
    started = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert started.returncode == 1
    assert started.stderr.startswith("fieldapp cannot start: PORT is 'http'")
    assert "Traceback" not in started.stderr


def test_defaults_and_empty_values_are_the_same(tmp_path: Path) -> None:
    assert read(tmp_path) == read(tmp_path, PORT=" ", FIELDAPP_TIMEZONE="", FIELDAPP_DATABASE_URL="")
    settings = read(tmp_path)
    assert settings.database == f"sqlite:///{tmp_path / 'fieldapp.db'}"
    assert settings.base_url == "http://127.0.0.1:8000"
    assert (settings.https, settings.hosts, settings.is_demo) == (False, None, False)
    assert settings.fonts_path == ROOT / "var" / "fonts"
    assert settings.zone.key == "Asia/Shanghai"


def test_values_are_read_as_they_are_meant(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        FIELDAPP_PUBLIC_URL="https://service.example/",
        FIELDAPP_TRUSTED_HOSTS="service.example, www.service.example,",
        FIELDAPP_FONTS_DIR="/fonts",
        FIELDAPP_DATABASE_URL="postgresql://u@h/d",
        FIELDAPP_CRASH_AT="after_commit:3",
    )

    assert settings.base_url == "https://service.example"
    assert settings.https
    assert settings.hosts == ["service.example", "www.service.example"]
    assert settings.fonts_path == Path("/fonts")
    assert settings.database == "postgresql://u@h/d"


def test_what_leads_to_the_ticket_store_is_read_as_it_is_meant(tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text("")
    settings = read(
        tmp_path,
        FIELDAPP_TICKET_STORE="rt",
        FIELDAPP_STORE_URL="http://10.1.2.3:8080/rt",
        FIELDAPP_STORE_USER="fieldapp",
        FIELDAPP_STORE_SECRET="a password",
        FIELDAPP_STORE_HOOK_SECRET="another",
        FIELDAPP_STORE_NETWORKS="10.0.0.0/8, fd12::/16,",
        FIELDAPP_STORE_MAPPING=str(tmp_path / "words.toml"),
        FIELDAPP_STORE_PROXY="http://proxy.example:3128",
    )

    assert (settings.ticket_store, settings.store_url) == ("rt", "http://10.1.2.3:8080/rt")
    assert (settings.store_user, settings.store_secret, settings.store_hook_secret) == (
        "fieldapp",
        "a password",
        "another",
    )
    assert settings.private_networks == ("10.0.0.0/8", "fd12::/16")
    assert settings.store_mapping == str(tmp_path / "words.toml")
    assert settings.store_proxy == "http://proxy.example:3128"
    assert read(tmp_path).private_networks == ()


def test_a_relative_data_folder_lies_in_the_project() -> None:
    assert Settings(secret_key=KEY, data_dir="var").data_path == ROOT / "var"


def test_the_environment_is_read_when_nothing_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FIELDAPP_SECRET_KEY", KEY)
    monkeypatch.setenv("FIELDAPP_DATA_DIR", str(tmp_path))

    assert from_environment().key == KEY


def test_a_demo_without_a_key_makes_one_for_itself(tmp_path: Path) -> None:
    settings = read(tmp_path, FIELDAPP_DEMO="1", FIELDAPP_SECRET_KEY="")
    other = read(tmp_path / "other", FIELDAPP_DEMO="1", FIELDAPP_SECRET_KEY="")

    assert len(settings.key) >= 32
    assert settings.key == settings.key != other.key
    assert stat.S_IMODE((tmp_path / "demo.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["demo.key"]


def test_processes_that_start_together_share_one_demo_key(tmp_path: Path) -> None:
    settings = read(tmp_path, FIELDAPP_DEMO="1", FIELDAPP_SECRET_KEY="")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _n: settings.key, range(40)))

    assert len(keys) == 1
    assert len(keys.pop()) >= 32
