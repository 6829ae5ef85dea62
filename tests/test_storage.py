"""Blobs: named by their content, written whole or not at all, never handed out damaged."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from fieldapp.errors import NotFound
from fieldapp.storage import FolderBlobs, blobs

CONTENT = "签字".encode()
NAME = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def kept(app: Flask, tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "kept")


def files(kept: FolderBlobs) -> list[str]:
    return sorted(path.relative_to(kept.folder).as_posix() for path in kept.folder.rglob("*") if path.is_file())


def test_what_was_put_comes_back_by_its_name(kept: FolderBlobs) -> None:
    assert kept.put(CONTENT) == NAME
    assert kept.exists(NAME)
    assert kept.get(NAME) == CONTENT
    assert files(kept) == [f"{NAME[:2]}/{NAME[2:]}"]


def test_the_same_content_is_kept_once(kept: FolderBlobs) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _n: kept.put(CONTENT), range(32)))

    assert names == {NAME}
    assert files(kept) == [f"{NAME[:2]}/{NAME[2:]}"]


def test_nothing_is_a_content_too(kept: FolderBlobs) -> None:
    assert kept.get(kept.put(b"")) == b""


@pytest.mark.parametrize("name", [NAME, "0" * 64, "../../etc/passwd", "", "AB" * 32, f"{NAME}/x", f"{NAME}\n"])
def test_a_name_that_is_not_there_is_not_found(kept: FolderBlobs, name: str) -> None:
    with pytest.raises(NotFound):
        kept.get(name)


def test_a_name_that_is_none_does_not_exist(kept: FolderBlobs) -> None:
    assert not kept.exists(NAME)
    with pytest.raises(NotFound):
        kept.exists("../demo.key")


def test_damaged_content_is_not_handed_out_and_is_mended_by_the_same_content(kept: FolderBlobs) -> None:
    kept.put(CONTENT)
    (kept.folder / NAME[:2] / NAME[2:]).write_bytes(CONTENT[:3])

    with pytest.raises(NotFound, match="damaged"):
        kept.get(NAME)
    kept.put(CONTENT)

    assert kept.get(NAME) == CONTENT


def test_a_full_disk_leaves_nothing_behind(kept: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        kept.put(CONTENT)
    with pytest.raises(OSError, match="No space left"):
        kept.check()

    assert files(kept) == []
    assert not kept.exists(NAME)


def test_a_probe_leaves_nothing_behind(kept: FolderBlobs) -> None:
    kept.check()

    assert files(kept) == []


def test_the_app_keeps_its_blobs_in_the_data_folder(app: Flask, tmp_path: Path) -> None:
    name = blobs.put(CONTENT)

    assert (tmp_path / "blobs" / name[:2] / name[2:]).read_bytes() == CONTENT
