"""Every component on three pages, with the real style sheet and a strict policy, and an office that takes what they send.

To look at it: ``python -m tests.browser.gallery_app`` and open http://127.0.0.1:5170/phone (also /desk, /calm, ?lang=en).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from flask import Flask, Request, jsonify, render_template, request
from jinja2 import ChoiceLoader, FileSystemLoader
from werkzeug.wrappers import Response
from wtforms import BooleanField, Form, RadioField, StringField
from wtforms.validators import InputRequired

from fieldapp import assets

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STATES = (
    "draft scheduled accepted traveling arrived working paused awaiting_sign completed partial "
    "cannot_complete reviewed declined rescheduled canceled no_show"
).split()


class Example(Form):
    """One wtforms field of each look."""

    note = StringField("备注", description="可不填")
    kind = RadioField("本次服务完成情况", choices={"all": "已全部完成", "rest": "还需解决"})
    agree = BooleanField("客户在场", validators=[InputRequired()])


@dataclass
class Office:
    """What the gallery's pages sent, and with which status the next answers go out (then 201)."""

    forms: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    photos: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def take(self, asked: Request) -> int:
        """Remember one submission; photos as (id, whole body, picture)."""
        body = asked.get_data(cache=True, parse_form_data=False)
        key = asked.headers.get("Idempotency-Key", "")
        self.forms.append((asked.path, asked.form.to_dict()))
        self.photos += [(key, body, picture.read()) for picture in asked.files.getlist("photos")]
        return self.statuses.pop(0) if self.statuses else 201


def gallery() -> Flask:
    """An application without database: pages at ``/<page>?lang=zh|en``, every POST goes to its ``Office``."""
    app = Flask("gallery", root_path=str(ROOT), static_folder=None)
    app.secret_key = "only-for-the-gallery"
    app.config["STATIC"] = ROOT / "static"
    app.jinja_loader = ChoiceLoader([FileSystemLoader(ROOT / "templates"), FileSystemLoader(HERE / "gallery")])
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_null_translations(newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    app.jinja_env.globals["submission_id"] = lambda: "0193a1b2-0000-7000-8000-000000000001"
    app.jinja_env.globals["open_exceptions"] = lambda: 0
    assets.init_app(app, ROOT / "static")
    office = app.extensions["office"] = Office()

    @app.get("/<page>")
    def show(page: str) -> str:
        chinese = request.args.get("lang", "zh") == "zh"
        return render_template(
            f"{page}.html",
            html_lang="zh-CN" if chinese else "en",
            t=lambda zh, en: zh if chinese else en,
            states=STATES,
            form=Example(),
            current_user=SimpleNamespace(is_authenticated=page != "calm", role="dispatcher", name="赵敏"),
        )

    @app.post("/<path:anything>")
    def take(anything: str) -> tuple[Response, int]:
        status = office.take(request)
        return jsonify(revision=len(office.forms) + 3, message=f"The office says {status}."), status

    @app.after_request
    def policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self'; style-src {app.extensions['assets'].css_hash}; "
            "img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
            "require-trusted-types-for 'script'"
        )
        return response

    return app


if __name__ == "__main__":
    gallery().run(port=5170)
