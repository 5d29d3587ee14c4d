"""A private PostgreSQL server on a free port, and a new database for whoever asks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

ACCOUNT = "postgres"
OWNER = "radnode"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
PLACE_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
}
# A test database need not survive a power cut.
OPTIONS = {
    **PLACE_OPTIONS,
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
}


class PostgresServer:
    """A server that lives as long as a `with` block.

    PostgreSQL refuses to run as root: then it runs as the account `postgres`. `is_durable`: it
    keeps its own settings for what survives a power cut, for whoever measures.
    """

    def __init__(self, *, is_durable: bool = False) -> None:
        self._numbers = count(1)
        self._options = PLACE_OPTIONS if is_durable else OPTIONS

    def __enter__(self) -> Self:
        # Not pytest's folder: the server's account could not enter that one.
        self.folder = Path(tempfile.mkdtemp(prefix="radnode-postgres-"))
        self.port = _free_port()
        try:
            self._create()
            self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the server's first process."""
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """The URL of a database on this server, as settings have it."""
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str | None = None) -> str:
        """Make a database, empty or a copy of the one at the URL `template`; its URL."""
        name = f"test_{next(self._numbers)}"
        source = "template0" if template is None else template.rsplit("/", 1)[1]
        self._run(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY file_copy")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database at once, also under the feet of whoever is connected."""
        self._run(f"DROP DATABASE {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server; clients lose their connections."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Start again what `stop` has stopped, on the same port with the same data."""
        self._start()

    def _create(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, ACCOUNT, ACCOUNT)
        arguments = ["--pgdata", str(self.folder / "data"), "--username", OWNER]
        arguments += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(
            [_program("initdb"), *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **_account(),
        )

    def _start(self) -> None:
        options = [f"--{name}={value}" for name, value in self._options.items()]
        command = [_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options], stdout=log, stderr=log, cwd=self.folder, **_account()
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._run("SELECT 1")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text()
                    raise RuntimeError(f"PostgreSQL did not start:\n{log}") from error
                time.sleep(0.05)
            else:
                return

    def _run(self, statement: str) -> None:
        # Not typed as a literal: the names in it are this module's own.
        text: Any = statement
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(text)


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}


def _program(name: str) -> str:
    """The newest installed version of a server program; these are not on PATH."""
    found = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    return str(max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
