"""Blobs by their SHA-256: photos, signatures, reports. Written once, never changed, the same bytes kept once."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Protocol, cast

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


def init_app(app: Flask) -> None:
    """The blobs of this installation: a folder in the data folder."""
    app.extensions["blobs"] = FolderBlobs(app.extensions["settings"].data_path / "blobs")


blobs = cast(Blobs, LocalProxy(lambda: current_app.extensions["blobs"]))


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
