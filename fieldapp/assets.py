"""The one inlined style sheet with its CSP hash, and addresses of static files that change with their content."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import brotli
from flask import Blueprint, Flask, Response, abort, current_app, request, send_from_directory
from flask_compress import Compress
from markupsafe import Markup

from fieldapp.security import public

blueprint = Blueprint("assets", __name__)
# A comment that has lines of its own; a remark after code; a type within a line.
_COMMENTS = re.compile(
    rb"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*(?:\n|\Z)"
    rb"|(?<=[;{,]) // [^\n'\"`]*$"
    rb"|/\*\* @type (?:(?!\*/)[^\n])*\*/ ?",
    re.S | re.M,
)
# What a module cannot start without; import("…") comes later, and so does what a comment names.
_IMPORTS = re.compile(r'^import\s[^"]*"(\.{1,2}/[^"]+)";$', re.M)
_ICON = Markup(
    '<svg class="icon" aria-hidden="true" width="24" height="24"><use href="{prefix}img/icons.svg#{name}"/></svg>'
)


@dataclass(frozen=True)
class Assets:
    """What the pages need: the style sheet (Markup), its hash as CSP writes it, and the build's short name."""

    css: Markup
    css_hash: str
    build: str


def init_app(app: Flask, static: Path) -> None:
    """Read ``static`` once: pages inline the style sheet, scripts come from ``/assets/<build>/…``."""
    css = _minified("".join(path.read_text("utf-8") for path in sorted((static / "css").glob("[0-9]*.css"))))
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assets = Assets(css=Markup(css), css_hash=f"'sha256-{digest}'", build=_build(static))  # noqa: S704 - our own file
    app.extensions["assets"] = assets
    prefix = f"/assets/{assets.build}/"
    app.jinja_env.globals.update(
        inline_css=assets.css, asset=lambda name: prefix + name, modules=partial(modules, static)
    )
    # A filter of a constant is worked out when the template is compiled: `{{ "van"|svg }}` costs a page nothing.
    app.jinja_env.filters["svg"] = lambda name: _ICON.format(prefix=prefix, name=name)
    app.register_blueprint(blueprint)
    app.config.update(COMPRESS_ALGORITHM=["br", "gzip"], COMPRESS_LEVEL=4)
    Compress(app)  # on 400 kbit/s an uncompressed page takes half a second longer


@lru_cache(maxsize=16)
def modules(static: Path, entry: str) -> list[str]:
    """A script and all that it imports. A page that names them asks for them at once, not for each when the one before
    has come: on a bad line every step of that way costs its latency."""
    found = [entry]
    for name in found:  # grows on the way
        script = static / name
        for wanted in _IMPORTS.findall(script.read_text("utf-8")):
            imported = Path(os.path.normpath(script.parent / wanted)).relative_to(static).as_posix()
            found += [] if imported in found else [imported]
    return found


@blueprint.get("/assets/<build>/<path:name>")
@public
def show(build: str, name: str) -> Response:
    """A static file; the current build may be kept for ever, another build's address is gone."""
    if build != current_app.extensions["assets"].build:
        abort(404)
    response = send_from_directory(current_app.config["STATIC"], name, max_age=31536000, etag=False)
    response.direct_passthrough = False
    content = response.get_data()  # whole, so that it can be compressed and its file is closed
    if name.endswith(".js"):
        _set_script(response, lean(content))
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def _set_script(response: Response, script: bytes) -> None:
    """A module never changes within a build: it is worth the best compression, once. Other answers get a quick one."""
    response.set_data(script)
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["br"] > 0:
        response.set_data(_small(script))
        response.headers["Content-Encoding"] = "br"


def _build(static: Path) -> str:
    """A short hash over all static files: relative imports between modules stay within one build."""
    digest = hashlib.sha256()
    for path in sorted(path for path in static.rglob("*") if path.is_file()):
        digest.update(path.relative_to(static).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=256)
def _small(script: bytes) -> bytes:
    small: bytes = brotli.compress(script, mode=brotli.MODE_TEXT)
    return small


@lru_cache(maxsize=256)
def lean(script: bytes) -> bytes:
    """A module as phones get it: comments stay with us, half of the bytes on the wire.

    So does the indentation, unless a text in backticks goes over several lines, which it belongs to.
    """
    script = _COMMENTS.sub(b"", script)
    if any(line.count(b"`") % 2 for line in script.splitlines()):
        return script
    return re.sub(rb"^[ \t]+", b"", script, flags=re.M)


def _minified(css: str) -> str:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r"\s*([{};,>])\s*", r"\1", css).replace(";}", "}").strip()
