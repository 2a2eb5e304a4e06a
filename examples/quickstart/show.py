"""What the quickstart shows once the packages are in: each function is one section and asks the stores themselves."""

import json
import time
from typing import Any

import neo4j
import psycopg
import qdrant_client
import redis

import terminal
from embedding import DIMENSIONS, embed
from packages import Package
from world import World


class Show:
    """Reads through the official clients only: nothing here is told by the sidecar."""

    def __init__(
        self,
        world: World,
        session: psycopg.Connection,
        graph: neo4j.Driver,
        vectors: qdrant_client.QdrantClient,
        cache: redis.Redis,
    ) -> None:
        self._world = world
        self._session = session
        self._graph = graph
        self._vectors = vectors
        self._cache = cache

    def same_document(self, packages: list[Package]) -> None:
        package = _well_known(packages, ["git", "curl", "bash", "dpkg"])
        terminal.heading(
            f"One row, four databases: {package.name}",
            "The loader wrote it into PostgreSQL. Below is what each database answers when asked for it by its id.",
        )
        document = self._row("SELECT id::text, name, version, title FROM documents WHERE name = %s", package.name)
        key = document["id"]
        point = self._vectors.retrieve("documents", [key], with_payload=True, with_vectors=True)[0]
        node = self._cypher(
            "MATCH (d:Document {id: $id})-[:IN_SECTION]->(s) OPTIONAL MATCH (d)-[:DEPENDS_ON]->(n)"
            " RETURN d.name AS name, d.version AS version, s.name AS section, count(n) AS needs",
            id=key,
        )[0]
        entry = f"doc:{key}"
        payload, cached = point.payload or {}, json.loads(self._text(entry) or "{}")
        terminal.table(
            [
                ("PostgreSQL", document["name"], document["version"], f"id {key}"),
                ("Neo4j", node["name"], node["version"], f"section {node['section']}, needs {node['needs']} packages"),
                ("Qdrant", payload.get("name"), payload.get("version"), f"a vector of {len(point.vector or [])} numbers"),
                ("Redis", cached.get("name"), cached.get("version"), f"expires in {self._cache.ttl(entry)} s"),
            ],
            header=("where", "name", "version", "and"),
        )

    def graph_question(self, packages: list[Package]) -> None:
        package = _well_known(packages, ["zlib1g", "libc6", "dpkg"])
        terminal.heading(
            f"A graph question: what would break without {package.name}?",
            "Everything that depends on it through any number of steps, asked of Neo4j.",
        )
        terminal.code(f"MATCH (:Document {{name: '{package.name}'}})<-[:DEPENDS_ON*]-(d) RETURN count(DISTINCT d)")
        started = time.monotonic()
        everything = self._cypher(
            "MATCH (:Document {name: $name})<-[:DEPENDS_ON*]-(d) RETURN count(DISTINCT d) AS many", name=package.name
        )[0]["many"]
        milliseconds = (time.monotonic() - started) * 1000
        direct = self._cypher(
            "MATCH (:Document {name: $name})<-[:DEPENDS_ON]-(d) RETURN count(d) AS many", name=package.name
        )[0]["many"]
        terminal.say(f"{everything} packages, of which {direct} name it themselves; answered in {milliseconds:.0f} ms.")
        # Breadth first from the package: the shortest way of everything that needs it, the longest of these first.
        chain = self._cypher(
            "MATCH (start:Document {name: $name}) MATCH way = shortestPath((start)<-[:DEPENDS_ON*]-(d:Document))"
            " WHERE d <> start RETURN [n IN nodes(way) | n.name] AS names ORDER BY length(way) DESC, d.name LIMIT 1",
            name=package.name,
        )
        if chain:
            names = chain[0]["names"]
            terminal.say(f"The farthest is {len(names) - 1} steps away: {' ← '.join(names)}")

    def semantic_search(self, text: str = "compress and decompress files") -> None:
        terminal.heading(f"A search by meaning: “{text}”", "The nearest paragraphs in Qdrant, and whose they are.")
        search(self._session, self._vectors, text)

    def cache(self, packages: list[Package]) -> None:
        package = _well_known(packages, ["bash", "dpkg"])
        terminal.heading(
            f"A cache that cannot go stale: UPDATE {package.name}",
            "An application has cached the document's chunks and a query that found it. One UPDATE, and nothing else, follows.",
        )
        key = self._row("SELECT id::text FROM documents WHERE name = %s", package.name)["id"]
        entries = {
            f"doc:{key}": "the document itself",
            f"doc:{key}:chunks": "cached by the application",
            f"query:shells:{key}": "cached by the application",
        }
        for entry, who in entries.items():
            if who == "cached by the application":
                self._cache.set(entry, "something computed earlier", ex=600)
        before = {entry: self._told(entry) for entry in entries}
        terminal.code(f"UPDATE documents SET title = title || ' (updated)' WHERE name = '{package.name}';")
        first = self._retitle(package, package.title + " (updated)")
        terminal.table(
            [(entry.replace(key, "{id}"), before[entry], self._told(entry)) for entry in entries],
            header=("key in Redis", "before", "after"),
        )
        second = self._retitle(package, package.title)
        terminal.say(
            f"In every store {first:.0f} ms after the UPDATE was sent (Neo4j had to plan its statement); "
            f"a second one, which took the title back, {second:.0f} ms after."
        )

    def poison(self) -> None:
        terminal.heading(
            "A row that a store refuses",
            f"Three new documents, each its own transaction. Qdrant wants {DIMENSIONS} numbers; the second brings 3.",
        )
        statement = "INSERT INTO documents (name, title, version, embedding) VALUES (%s, 'a test', '1', %s)"
        good, bad = embed("a test"), [0.1, 0.2, 0.3]
        names = ["neighbour-before", "poison", "neighbour-after"]
        verdicts = {}
        for name in names:
            with self._session.transaction():
                self._session.execute(statement, [name, bad if name == "poison" else good])
                verdicts[name] = self._session.execute("SELECT apex.position()::text").fetchone()[0]  # type: ignore[index]
        verdicts = {name: self._world.wait(self._session, position) for name, position in verdicts.items()}
        self._where(names, verdicts)
        failed = self._row("SELECT failed_step, error FROM apex.failed_sagas ORDER BY created_at DESC LIMIT 1")
        if failed:
            terminal.say("Neo4j had accepted it; that was taken back, so that no store has half of it. Why, in Qdrant's own words:")
            terminal.code(f"{failed['failed_step']}: {failed['error']}")
        terminal.say("An UPDATE with a good embedding mends it. No retry to call, nothing to clean up:")
        terminal.code("UPDATE documents SET embedding = … WHERE name = 'poison';")
        self._session.execute("UPDATE documents SET embedding = %s WHERE name = 'poison'", [good])
        self._where(names, dict.fromkeys(names, self._world.wait(self._session)))
        waiting = self._row("SELECT count(*) AS many FROM apex.failed_sagas")["many"]
        terminal.say(f"Failed sagas left: {waiting}.")

    def counts(self) -> bool:
        """True when every store holds exactly as much as PostgreSQL."""
        terminal.heading("Counted at the end")
        sql = self._row(
            "SELECT (SELECT count(*) FROM documents) AS documents, (SELECT count(*) FROM chunks) AS chunks,"
            " (SELECT count(*) FROM entities) AS entities, (SELECT count(*) FROM depends) AS depends"
        )
        redis_keys = sum(1 for key in self._cache.scan_iter("doc:*", count=1000) if key.count(":") == 1)
        found = [
            ("documents", sql["documents"], self._nodes("Document"), self._points("documents"), redis_keys),
            ("chunks", sql["chunks"], self._nodes("Chunk"), self._points("chunks"), None),
            ("entities", sql["entities"], self._nodes("Entity"), None, None),
            ("depends", sql["depends"], self._cypher("MATCH ()-[r:DEPENDS_ON]->() RETURN count(r) AS many")[0]["many"], None, None),
        ]
        equal = True
        rows = []
        for table, expected, *stores in found:
            same = all(count in (None, expected) for count in stores)
            equal = equal and same
            rows.append((table, expected, *("–" if count is None else count for count in stores), "equal" if same else "DIFFERENT"))
        terminal.table(rows, header=("", "PostgreSQL", "Neo4j", "Qdrant", "Redis", ""))
        return equal

    def _retitle(self, package: Package, title: str) -> float:
        """Returns the milliseconds from the UPDATE until every store has it."""
        started = time.monotonic()
        self._session.execute("UPDATE documents SET title = %s WHERE name = %s", [title, package.name])
        self._world.wait(self._session)
        return (time.monotonic() - started) * 1000

    def _where(self, names: list[str], verdicts: dict[str, str]) -> None:
        rows = []
        for name in names:
            key = self._row("SELECT id::text FROM documents WHERE name = %s", name)["id"]
            in_graph = bool(self._cypher("MATCH (d:Document {id: $id}) RETURN d.id AS id", id=key))
            in_vectors = bool(self._vectors.retrieve("documents", [key]))
            in_cache = bool(self._cache.exists(f"doc:{key}"))
            rows.append((name, verdicts[name], *("there" if there else "–" for there in (in_graph, in_vectors, in_cache))))
        terminal.table(rows, header=("document", "saga", "Neo4j", "Qdrant", "Redis"))

    def _row(self, statement: str, *arguments: Any) -> dict[str, Any]:
        cursor = self._session.execute(statement, arguments or None)
        row = cursor.fetchone()
        return {column.name: value for column, value in zip(cursor.description or [], row)} if row else {}

    def _cypher(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        return [record.data() for record in self._graph.execute_query(query, parameters).records]

    def _nodes(self, label: str) -> int:
        return self._cypher(f"MATCH (n:{label}) RETURN count(n) AS many")[0]["many"]

    def _points(self, collection: str) -> int:
        return self._vectors.count(collection, exact=True).count

    def _text(self, entry: str) -> str | None:
        value = self._cache.get(entry)
        return value if value is None or isinstance(value, str) else None

    def _told(self, entry: str) -> str:
        value = self._text(entry)
        if value is None:
            return "gone"
        return json.loads(value)["title"] if value.startswith("{") else f"“{value}”"


def search(session: psycopg.Connection, vectors: qdrant_client.QdrantClient, text: str, many: int = 5) -> None:
    points = vectors.query_points("chunks", query=embed(text), limit=many, with_payload=True).points
    rows = []
    for point in points:
        payload = point.payload or {}
        owner = session.execute("SELECT name FROM documents WHERE id = %s", [payload["document_id"]]).fetchone()
        rows.append((f"{point.score:.2f}", owner[0] if owner else "?", payload["body"]))
    terminal.table(rows, header=("score", "package", "paragraph"))


def _well_known(packages: list[Package], names: list[str]) -> Package:
    """The first of `names` that this machine has; any package when it has none."""
    by_name = {package.name: package for package in packages}
    return next((by_name[name] for name in names if name in by_name), packages[0])
