"""Files that come to the desk and go from it: what they are is decided by their content, never by what they say."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from io import BytesIO
from pathlib import PurePosixPath

from flask import Response, send_file
from werkzeug.datastructures import FileStorage

from fieldapp.errors import Invalid
from fieldapp.i18n import _
from fieldapp.storage import blobs
from fieldapp.tickets.desk.models import DeskFile
from fieldapp.tickets.desk.operations import KeptFile

MOST_FILES = 8
LARGEST_FILE = 10 * 1024 * 1024
LONGEST_NAME = 120
BEGINNINGS = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)
SERVED_AS = frozenset(media_type for _beginning, media_type in BEGINNINGS)
ANYTHING = "application/octet-stream"


def kept(uploads: Iterable[FileStorage]) -> tuple[KeptFile, ...]:
    """Put what was uploaded into the storage (raises Invalid when it is too much). The uploads are closed."""
    chosen = [upload for upload in uploads if upload.filename]
    with ExitStack() as afterwards:
        for upload in chosen:
            afterwards.callback(upload.close)
        return _all_kept(chosen)


def download(file: DeskFile) -> Response:
    """The file for saving: of a fixed type, never shown in the page, and without any right if a browser opens it."""
    media_type = file.media_type if file.media_type in SERVED_AS else ANYTHING
    response = send_file(
        BytesIO(blobs.get(file.sha256)), mimetype=media_type, as_attachment=True, download_name=file.name
    )
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def clean_name(name: str) -> str:
    """The last part of a path, without control characters, not too long; the ending stays."""
    last = PurePosixPath(name.replace("\\", "/")).name
    plain = "".join(letter for letter in last if letter.isprintable()).strip(". ") or "file"
    stem, suffix = PurePosixPath(plain).stem, PurePosixPath(plain).suffix[:12]
    return f"{stem[: LONGEST_NAME - len(suffix)]}{suffix}"


def _all_kept(chosen: list[FileStorage]) -> tuple[KeptFile, ...]:
    if len(chosen) > MOST_FILES:
        raise _too_much(_("At most %(most)s files at a time. Please choose again.", most=MOST_FILES))
    return tuple(_kept(upload) for upload in chosen)


def _kept(upload: FileStorage) -> KeptFile:
    content = upload.stream.read(LARGEST_FILE + 1)
    name = clean_name(upload.filename or "")
    if len(content) > LARGEST_FILE:
        raise _too_much(_("“%(name)s” is larger than 10 MB. Please choose again.", name=name))
    media_type = next((kind for beginning, kind in BEGINNINGS if content.startswith(beginning)), ANYTHING)
    return KeptFile(name=name, media_type=media_type, size=len(content), sha256=blobs.put(content))


def _too_much(sentence: str) -> Invalid:
    return Invalid(sentence, fields={"files": sentence})
