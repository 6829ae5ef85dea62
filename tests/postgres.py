"""A throw-away PostgreSQL for the tests: its own folder, a socket instead of a port, no durability, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL does not run as root
FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "listen_addresses=", "-c", "max_connections=60")
MISSING = """PostgreSQL's programs were not found. Type this, then try again:
    sudo apt-get install postgresql
or leave these tests out:
    make test ARGS="-m 'not postgresql'\""""


@dataclass(frozen=True)
class Cluster:
    """A running server. Databases are copied from a template, which takes a moment only."""

    socket_dir: Path
    user: str

    def url(self, database: str) -> str:
        """What FIELDAPP_DATABASE_URL would say."""
        return f"postgresql://{self.user}@/{database}?host={self.socket_dir}"

    def create(self, database: str, template: str = "template0") -> str:
        """A new database, a copy of ``template``; its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a server in a folder of its own and stop it by its own process (raises LookupError when it is not there)."""
    programs = _programs()
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if owner:
            shutil.chown(folder, owner)
        as_owner = {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []} if owner else {}
        role = owner or pwd.getpwuid(os.getuid()).pw_name
        initdb = [
            programs / "initdb",
            "-D",
            folder / "data",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_owner)
        pg_ctl = [programs / "pg_ctl", "-D", folder / "data", "-s", "-w"]
        options = f"-k {folder} {' '.join(FAST)}"
        try:
            subprocess.run([*pg_ctl, "-l", folder / "log", "-o", options, "start"], check=True, cwd=folder, **as_owner)
        except subprocess.CalledProcessError as error:
            raise LookupError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}") from error
        try:
            yield Cluster(folder, role)
        finally:
            subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=True, cwd=folder, **as_owner)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """Where initdb and postgres lie: Debian keeps them by version, outside the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    candidates = [*([Path(on_path)] if on_path else []), *found]
    if not candidates:
        raise LookupError(MISSING)
    return candidates[-1].parent


def _owner() -> str | None:
    """Who the server runs as when we are root."""
    if os.getuid() != 0:
        return None
    known = {each.pw_name for each in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)
