"""``flask import-customers``."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select

from fieldapp.customers.commands import import_customers
from fieldapp.customers.models import Asset
from fieldapp.extensions import db
from tests.customers.samples import ASSETS, CUSTOMERS, SITES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The three files in a folder."""
    for name, text in (("customers", CUSTOMERS), ("sites", SITES), ("assets", ASSETS)):
        (tmp_path / f"{name}.csv").write_text(text, encoding="gb18030")
    return tmp_path


def run(app: Flask, folder: Path, *more: str) -> Result:
    """Run the command on the files of a folder."""
    arguments = [f"--{kind}={folder / kind}.csv" for kind in ("customers", "sites", "assets")]
    return app.test_cli_runner().invoke(import_customers, [*arguments, *more])


def test_without_load_it_only_checks(app: Flask, folder: Path) -> None:
    result = run(app, folder)

    assert result.exit_code == 0
    assert "assets: 2 rows, 2 new" in result.output
    assert db.session.scalars(select(Asset)).all() == []


def test_with_load_the_rows_are_there(app: Flask, folder: Path) -> None:
    result = run(app, folder, "--load")

    assert (result.exit_code, "Loaded." in result.output) == (0, True)
    assert len(db.session.scalars(select(Asset)).all()) == 2


def test_wrong_rows_are_printed_and_the_exit_status_says_so(app: Flask, folder: Path) -> None:
    (folder / "sites.csv").write_text(SITES.replace("地址", "住址") + "C-0,x\n", encoding="utf-8")

    result = run(app, folder, "--load")

    assert result.exit_code == 1
    assert "sites row 1, 地址: The column is missing." in result.output
    assert "'住址' is not known" in result.output
    assert db.session.scalars(select(Asset)).all() == []


def test_no_file_at_all_is_a_mistake_of_use(app: Flask) -> None:
    result = app.test_cli_runner().invoke(import_customers, ["--load"])

    assert result.exit_code == 2
    assert "Name at least one file" in result.output
