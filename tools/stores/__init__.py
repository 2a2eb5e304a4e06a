"""Private PostgreSQL, Redis, Neo4j, Qdrant, Prometheus and sidecar processes for the quickstart and the tests.

Every server lives in a directory of its own, listens on a free port of the loopback interface only, and is ended by the
process id that was recorded when it was started. Nothing here touches a server that the machine already runs.
"""

from stores.neo4j_server import Neo4j
from stores.paths import ROOT, runtime_directory
from stores.postgres_server import SIDECAR_ROLE, Postgres
from stores.process import Server, ServerError
from stores.prometheus_server import Prometheus
from stores.qdrant_server import Qdrant
from stores.redis_server import Redis
from stores.sidecar import Sidecar

__all__ = [
    "ROOT",
    "SIDECAR_ROLE",
    "Neo4j",
    "Postgres",
    "Prometheus",
    "Qdrant",
    "Redis",
    "Server",
    "ServerError",
    "Sidecar",
    "runtime_directory",
]
