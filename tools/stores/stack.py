"""The four stores together. As a program: `python -m stores.stack up|down|status [--dir D]`."""

import argparse
import concurrent.futures
import pathlib
import shlex
import sys
from collections.abc import Callable

from stores.neo4j_server import Neo4j
from stores.paths import runtime_directory
from stores.postgres_server import Postgres
from stores.process import Server, ServerError
from stores.qdrant_server import Qdrant
from stores.redis_server import Redis


class Stack:
    """One PostgreSQL, Redis, Neo4j and Qdrant under one directory. A stack found running is used as it is."""

    def __init__(
        self, directory: pathlib.Path, *, preload: bool = True, fsync: bool = False, neo4j_password: str = ""
    ) -> None:
        self.directory = pathlib.Path(directory)
        self.postgres = Postgres(self.directory / "postgres", preload=preload, fsync=fsync)
        self.redis = Redis(self.directory / "redis")
        self.neo4j = Neo4j(self.directory / "neo4j", password=neo4j_password)
        self.qdrant = Qdrant(self.directory / "qdrant")

    @property
    def servers(self) -> list[Server]:
        return [self.postgres, self.redis, self.neo4j, self.qdrant]

    def up(self) -> None:
        """Starts what is not running, all at once: Neo4j alone takes 14 s. What did start stays up when one fails."""
        self._each(lambda server: server.start())

    def down(self) -> None:
        self._each(lambda server: server.stop())

    def sidecar_variables(self, database: str = "postgres") -> dict[str, str]:
        """The environment of an `apex run` that serves `database` and all three stores."""
        variables = {
            "APEX_POSTGRES_DSN": self.postgres.sidecar_dsn_of(database),
            "APEX_NEO4J_URI": self.neo4j.uri,
            "APEX_NEO4J_USER": self.neo4j.user,
            "APEX_NEO4J_PASSWORD": self.neo4j.password,
            "APEX_QDRANT_URI": self.qdrant.uri,
            "APEX_QDRANT_API_KEY": self.qdrant.api_key,
            "APEX_REDIS_URI": self.redis.uri,
        }
        return {name: value for name, value in variables.items() if value}

    def _each(self, act: Callable[[Server], None]) -> None:
        failures = []
        with concurrent.futures.ThreadPoolExecutor(len(self.servers)) as pool:
            for outcome in [pool.submit(act, server) for server in self.servers]:
                try:
                    outcome.result()
                except (ServerError, OSError) as failed:
                    failures.append(str(failed))
        if failures:
            raise ServerError("\n".join(failures))


def main() -> int:
    parser = argparse.ArgumentParser(prog="stores.stack", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "status", "env"])
    parser.add_argument("--dir", type=pathlib.Path, help="where they live; default: under /var/tmp, one for each clone")
    parser.add_argument("--no-preload", action="store_true", help="PostgreSQL without the extension's worker")
    options = parser.parse_args()
    stack = Stack(options.dir or runtime_directory("stack"), preload=not options.no_preload)
    try:
        if options.action == "up":
            stack.up()
        elif options.action == "down":
            stack.down()
    except ServerError as failed:
        print(failed, file=sys.stderr)
        return 1
    if options.action == "env":
        for name, value in {**stack.postgres.variables, **stack.sidecar_variables()}.items():
            print(f"export {name}={shlex.quote(value)}")
    elif options.action != "down":
        for server in stack.servers:
            address = server.dsn if isinstance(server, Postgres) else server.uri
            print(f"{server.name:<9} {'up  ' if server.running else 'down'} {address if server.running else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
