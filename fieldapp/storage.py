"""Blobs by their SHA-256: photos, signatures, reports. Written once, never changed, the same bytes kept once."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Protocol, cast
from uuid import UUID

from flask import Flask, current_app
from werkzeug.local import LocalProxy

from fieldapp.errors import NotFound
from fieldapp.i18n import _

SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs(Protocol):
    """Content-addressed storage; every name is the SHA-256 of the content in lower-case hex."""

    def put(self, content: bytes) -> str:
        """Keep ``content`` durably and return its name; the same content twice is kept once."""

    def get(self, name: str) -> bytes:
        """The content (raises NotFound when it is not there, or no longer what its name says)."""

    def exists(self, name: str) -> bool:
        """Whether the content is there."""

    def check(self) -> None:
        """Write, read and remove a probe (raises OSError when storage is not well)."""


class FolderBlobs:
    """Blobs in a folder, ``ab/cdef…``: written beside, flushed to the disk, then renamed into place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        path = self._path(name)
        if not _holds(path, content):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(path, content)
        return name

    def get(self, name: str) -> bytes:
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(_("This file is not in the storage.")) from error
        if hashlib.sha256(content).hexdigest() != name:
            raise NotFound(_("This file was damaged in the storage."))
        return content

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def check(self) -> None:
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="probe-") as file:
            file.write(b"probe")
            file.flush()
            os.fsync(file.fileno())

    def _path(self, name: str) -> Path:
        if not SHA256.fullmatch(name):
            raise NotFound(_("This file is not in the storage."))
        return self.folder / name[:2] / name[2:]

    def _write(self, path: Path, content: bytes) -> None:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)
        _flush_folder(self.folder)


class Staging:
    """Bytes that are still coming, a file for each upload: kept part by part, each on the disk before it counts.

    Whoever writes holds the upload's row, so that two writers never meet in one file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def size(self, name: str) -> int:
        """How many bytes lie there; 0 when nothing does."""
        try:
            return self._path(name).stat().st_size
        except FileNotFoundError:
            return 0

    def write(self, name: str, content: bytes, *, at: int) -> None:
        """Put ``content`` behind the first ``at`` bytes; what lay behind them (a part whose writing was cut) goes."""
        path = self._path(name)
        new = not path.exists()
        with path.open("wb" if new else "r+b") as file:
            file.truncate(at)
            file.seek(at)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _flush_folder(self.folder)

    def read(self, name: str) -> bytes | None:
        """All that came so far; None when nothing lies there."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def drop(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / str(UUID(name))


def init_app(app: Flask) -> None:
    """The blobs of this installation, and what is still coming: two folders in the data folder."""
    data = app.extensions["settings"].data_path
    app.extensions["blobs"] = FolderBlobs(data / "blobs")
    app.extensions["staging"] = Staging(data / "uploads")


blobs = cast(Blobs, LocalProxy(lambda: current_app.extensions["blobs"]))
staging = cast(Staging, LocalProxy(lambda: current_app.extensions["staging"]))


def _holds(path: Path, content: bytes) -> bool:
    """Whether exactly this content lies there; what a failing disk has damaged is written anew."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
