"""A private PostgreSQL cluster, with the extension preloaded."""

import os
import pathlib
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

import psycopg

from stores.process import Server, ServerError

SUPERUSER = "postgres"
SIDECAR_ROLE = "apex_sidecar"


def _programs(pg_config: str | None) -> pathlib.Path:
    """The directory of an installation's initdb and postgres; Debian keeps it out of PATH."""
    command = [pg_config or os.environ.get("PG_CONFIG", "pg_config"), "--bindir"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise ServerError("pg_config was not found: run `make setup`")
    return pathlib.Path(found.stdout.strip())


class Postgres(Server):
    """`dsn` is the superuser's, `sidecar_dsn` that of a role with no right but to log in.

    The installation is the one that `pg_config` or PG_CONFIG names. Data are under `directory`, which must not be inside a home directory: as root the cluster runs as user postgres.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, keeps the data

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        preload: bool = True,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
        pg_config: str | None = None,
        initdb: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "max_connections": "200",
            "max_prepared_transactions": "20",
            "shared_buffers": "256MB",
            "fsync": "on" if fsync else "off",
            "shared_preload_libraries": "apex_saga" if preload else "",
            **(settings or {}),
        }
        self.bin = _programs(pg_config)
        self._initdb = initdb
        self.data = self.directory / "data"
        self._secret = self.directory / "password"
        # postgres refuses root, and initdb too.
        self.as_user = (
            ["setpriv", f"--reuid={SUPERUSER}", f"--regid={SUPERUSER}", "--clear-groups"] if os.getuid() == 0 else []
        )

    @property
    def password(self) -> str:
        return self._secret.read_text()

    @property
    def dsn(self) -> str:
        return self.dsn_of("postgres")

    @property
    def sidecar_dsn(self) -> str:
        return self.sidecar_dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        return self._dsn(SUPERUSER, database)

    def sidecar_dsn_of(self, database: str) -> str:
        return self._dsn(SIDECAR_ROLE, database)

    @property
    def variables(self) -> dict[str, str]:
        """libpq's environment variables of the superuser, for psql and pg_regress."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": self.password,
            "PGDATABASE": "postgres",
        }

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A superuser's session in autocommit mode."""
        return psycopg.connect(self.dsn_of(database), autocommit=True)

    def command(self) -> Sequence[str]:
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        sockets = ["-c", f"unix_socket_directories={self.directory}"]
        return [*self.as_user, str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port), *sockets, *options]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "LC_ALL": "C.UTF-8"}

    def prepare(self) -> None:
        if self.data.exists():
            return
        if self.as_user:
            shutil.chown(self.directory, SUPERUSER, SUPERUSER)
        self.directory.chmod(0o700)
        self._secret.touch(mode=0o600)
        self._secret.write_text(secrets.token_hex(16))
        if self.as_user:
            shutil.chown(self._secret, SUPERUSER, SUPERUSER)
        # Made beside its place and renamed: an initdb that was interrupted leaves nothing that looks like a cluster.
        draft = self.directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        made = subprocess.run(
            [
                *self.as_user,
                str(self.bin / "initdb"),
                f"--pgdata={draft}",
                f"--username={SUPERUSER}",
                f"--pwfile={self._secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                *self._initdb,
            ],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerError(f"initdb failed:\n{made.stdout}{made.stderr}")
        draft.rename(self.data)

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.dsn, connect_timeout=2, autocommit=True) as session:
                known = session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [SIDECAR_ROLE]).fetchone()
                if not known:
                    session.execute(f"CREATE ROLE {SIDECAR_ROLE} LOGIN PASSWORD '{self.password}'")
        except psycopg.OperationalError:
            return False
        return True

    def remove(self) -> None:
        """Ends the cluster and deletes its data."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _dsn(self, user: str, database: str) -> str:
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"
