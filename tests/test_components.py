"""The components' words and attributes, without a browser: what a caller gives arrives, what was typed stays."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import Environment, FileSystemLoader
from lxml import html
from markupsafe import Markup
from werkzeug.datastructures import MultiDict
from wtforms import Form, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired

from fieldapp.config import ROOT
from tests.browser.gallery_app import STATES


@pytest.fixture
def render() -> Callable[..., html.HtmlElement]:
    """``render("{{ badge(word) }}", word=…)``: what a call of a component makes, as a tree."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"), autoescape=True, extensions=["jinja2.ext.i18n"]
    )
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    environment.globals.update(asset=lambda name: f"/assets/x/{name}", submission_id=lambda: "an-id")
    imports = """{% import "components/forms.html" as forms %}{% import "components/status.html" as status %}
        {% import "components/blocks.html" as blocks %}{% import "components/navigation.html" as navigation %}"""

    def made(call: str, **values: object) -> html.HtmlElement:
        return html.fragment_fromstring(environment.from_string(imports + call).render(values), create_parent="div")

    return made


class Example(Form):
    """A form as the packages write it."""

    phone = StringField("联系电话", validators=[InputRequired("请填写联系电话。")])
    content = TextAreaField("服务内容", description="用客户看得懂的话")
    outcome = RadioField("完成情况", choices={"done": "已全部完成", "rest": "还需解决"})
    reason = SelectField("原因", choices={"break": "休息", "part": "等备件"})


def test_what_was_typed_stays_beside_its_error(render: Callable[..., html.HtmlElement]) -> None:
    form = Example(MultiDict({"phone": "", "content": '<b>"做了"</b>', "outcome": "rest", "reason": "part"}))
    form.validate()

    page = render(
        "{% for f in form %}{{ forms.field(f, data_extra='yes') }}{% endfor %}{{ forms.error_summary(form) }}",
        form=form,
    )

    (phone,) = page.xpath("//input[@name='phone']")
    assert (phone.get("aria-invalid"), phone.get("aria-describedby")) == ("true", "phone-error")
    assert page.get_element_by_id("phone-error").text_content().strip() == "请填写联系电话。"
    assert page.xpath("//textarea")[0].text.strip() == '<b>"做了"</b>'
    assert page.xpath("//textarea/@aria-describedby") == ["content-hint"]
    assert page.xpath("//input[@checked]/@value") == ["rest"]
    assert page.xpath("//option[@selected]/@value") == ["part"]
    assert page.xpath("//*[@role='alert']//a/@href") == ["#phone"]
    assert len(page.xpath("//*[@data-extra='yes']")) == 3


@pytest.mark.parametrize(
    "call",
    [
        "forms.text_field('phone', 'Phone', 'x', hint='h', errors=['e'], required=true, autocomplete='tel', data_k='v')",
        "forms.text_area('phone', 'Phone', 'x', hint='h', errors='e', required=true, autocomplete='tel', data_k='v')",
        "forms.select('phone', 'Phone', [('x', 'X')], 'x', hint='h', errors=['e'], required=true, autocomplete='tel', data_k='v')",
    ],
)
def test_a_field_by_hand_has_label_hint_error_and_its_attributes(
    render: Callable[..., html.HtmlElement], call: str
) -> None:
    page = render("{{ " + call + " }}")

    (control,) = page.xpath("//*[@id='phone']")
    assert page.xpath("//label/@for") == ["phone"]
    assert (control.get("autocomplete"), control.get("data-k"), control.get("required")) == ("tel", "v", "")
    assert control.get("aria-describedby") == "phone-hint phone-error"
    assert (control.get("value") or control.text_content().strip()).lower() == "x"


def test_a_password_is_never_written_back(render: Callable[..., html.HtmlElement]) -> None:
    page = render("{{ forms.text_field('password', 'Password', 'secret', type='password') }}")

    assert b"secret" not in html.tostring(page)


def test_text_from_people_is_never_markup(render: Callable[..., html.HtmlElement]) -> None:
    evil = "<script>x</script>"

    page = render(
        "{{ blocks.notice(evil) }}{{ blocks.fact(evil, evil) }}{{ status.badge(evil) }}{{ forms.button(evil) }}"
        "{{ forms.chips('a', [evil]) }}{{ blocks.moment(evil, evil, note=evil, by=evil) }}"
        "{{ forms.choices('c', evil, [(evil, evil)], evil) }}{{ forms.checkbox('d', evil, errors=[evil]) }}"
        "{{ blocks.search('/x', value=evil) }}{{ forms.text_area('t', evil, evil) }}",
        evil=evil,
    )

    assert page.xpath("//script") == []
    assert page.text_content().count(evil) >= 12


def test_one_action_is_a_form_that_counts_once(render: Callable[..., html.HtmlElement]) -> None:
    page = render(
        "{{ forms.action_form('/visits/1/arrival', 'Arrived', shown_when='traveling', leads_to='arrived', hidden={'a': 1}) }}"
    )

    (form,) = page.xpath("//form[@method='post'][@action='/visits/1/arrival']")
    assert (form.get("data-when"), form.get("data-leads-to")) == ("traveling", "arrived")
    assert dict(zip(form.xpath(".//input/@name"), form.xpath(".//input/@value"), strict=True)) == {
        "submission_id": "an-id",
        "a": "1",
    }
    assert form.xpath(".//button/@type") == ["submit"]


def test_every_state_has_icon_word_and_colour(render: Callable[..., html.HtmlElement]) -> None:
    sprite = (ROOT / "static/img/icons.svg").read_text("utf-8")

    for state in STATES:
        (badge,) = render("{{ status.status_badge(state) }}", state=state).xpath("//*[@data-tone]")

        assert badge.text_content().strip()
        assert f'id="{badge.xpath(".//use/@href")[0].partition("#")[2]}"' in sprite


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    sprite = (ROOT / "static/img/icons.svg").read_text("utf-8")
    drawn = set(re.findall(r'<symbol id="([\w-]+)"', sprite))

    for template in (ROOT / "templates").rglob("*.html"):
        text = re.sub(r"\{#.*?#\}", "", template.read_text("utf-8"), flags=re.S)
        named = set(re.findall(r'(?:icon|picture)\(\s*"([\w-]+)"|\bicon="([\w-]+)"', text))
        assert {a or b for a, b in named} <= drawn, template


def test_a_table_row_says_its_columns_on_a_phone(render: Callable[..., html.HtmlElement]) -> None:
    page = render(
        "{% call(row) blocks.data_table('Visits', ['Number', 'Time'], rows) %}"
        "{{ blocks.cell('Number', row, head=true) }}{{ blocks.cell('Time', '14:00') }}{% endcall %}",
        rows=["a", "b"],
    )

    assert page.xpath("//caption")[0].text_content() == "Visits"
    assert page.xpath("//tbody//tr/th/@data-label") == ["Number", "Number"]
    assert page.xpath("//tbody//tr/td/@data-label") == ["Time", "Time"]


def test_markup_of_our_own_may_stand_in_a_fact(render: Callable[..., html.HtmlElement]) -> None:
    page = render("{{ blocks.fact('Phone', link) }}", link=Markup('<a href="tel:1">1</a>'))

    assert page.xpath("//dd/a/@href") == ["tel:1"]


def test_all_scripts_together_are_small(client: FlaskClient, scripts: dict[str, bytes], app: Flask) -> None:
    """On 400 kbit/s they take one second, once; then the service worker has them. Older browsers get gzip."""
    build, accepted = app.extensions["assets"].build, {"Accept-Encoding": "br"}
    sent = {name: client.get(f"/assets/{build}/{name}", headers=accepted, buffered=True) for name in scripts}

    assert {answer.headers["Content-Encoding"] for answer in sent.values()} == {"br"}
    assert {name: brotli.decompress(answer.data) for name, answer in sent.items()} == scripts
    assert sum(len(answer.data) for answer in sent.values()) <= 60_000
    assert sum(len(gzip.compress(script)) for script in scripts.values()) <= 69_000


def test_a_script_without_its_comments_is_still_one(scripts: dict[str, bytes], tmp_path: Path) -> None:
    node = shutil.which("node") or str(ROOT / ".node/bin/node")
    for name, script in scripts.items():
        assert not re.search(rb"^\s*//|^\s*\* ", script, re.M), name
        path = tmp_path / f"{name.replace('/', '-')[:-3]}.mjs"
        path.write_bytes(script)
    check = f"for file in {tmp_path}/*.mjs; do {node} --check $file || exit 1; done"
    run = subprocess.run(["sh", "-c", check], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr


@pytest.fixture
def scripts(app: Flask, client: FlaskClient) -> dict[str, bytes]:
    """Every script that a browser can load, as it is sent."""
    build = app.extensions["assets"].build
    files = sorted(path for folder in ("js", "vendor") for path in (ROOT / "static" / folder).rglob("*.js"))
    names = [path.relative_to(ROOT / "static").as_posix() for path in files]
    return {name: client.get(f"/assets/{build}/{name}", buffered=True).data for name in names}


def test_the_javascript_modules_pass_their_own_tests() -> None:
    node = shutil.which("node") or str(ROOT / ".node/bin/node")

    files = sorted((ROOT / "tests/js").glob("*.test.mjs"))  # newer versions of node take no folder

    run = subprocess.run([node, "--test", *files], cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout[-4000:]
