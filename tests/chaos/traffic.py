"""Writers: random transactions over a small library, so that rows meet again and again, and some that must fail for good."""

import dataclasses
import random
import threading
import uuid

import psycopg

AUTHORS, DOCUMENTS, CHUNKS, CITES = 20, 120, 400, 300

SCHEMA = """
CREATE TABLE authors (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE documents (
  id uuid PRIMARY KEY, title text NOT NULL, author_id bigint REFERENCES authors ON DELETE SET NULL ON UPDATE CASCADE, embedding real[]);
CREATE TABLE chunks (
  id bigint PRIMARY KEY, document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE, body text NOT NULL, embedding real[]);
CREATE TABLE cites (
  id bigint PRIMARY KEY, from_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
  to_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE, page bigint);

SELECT apex.attach('authors', graph => apex.graph(label => 'Author', properties => ARRAY['name']),
  cache => apex.cache(entity => 'author', mode => 'write', entry => 'author:{id}'));
SELECT apex.attach('documents',
  graph => apex.graph(label => 'Document', properties => ARRAY['title'],
                      relations => ARRAY[apex.relation('AUTHORED_BY', via => 'author_id')]),
  vector => apex.vector('documents', 'embedding', dimensions => 4, distance => 'dot', payload => ARRAY['title', 'author_id']),
  cache => apex.cache(entity => 'document', mode => 'write', entry => 'document:{id}'));
SELECT apex.attach('chunks', aggregate => 'document_id',
  graph => apex.graph(label => 'Chunk', properties => ARRAY['body'],
                      relations => ARRAY[apex.relation('PART_OF', via => 'document_id')]),
  vector => apex.vector('chunks', 'embedding', dimensions => 4, distance => 'dot', payload => ARRAY['body', 'document_id']),
  cache => apex.cache(entity => 'chunk', mode => 'write', entry => 'chunk:{id}'));
SELECT apex.attach('cites', graph => apex.edge('CITES', from_column => 'from_id', to_column => 'to_id', properties => ARRAY['page']));
"""

# What is drawn more often stands more than once. %(mark)s makes every image another one.
CHANGES = [
    *["INSERT INTO documents VALUES (%(document)s, 'document ' || %(mark)s, %(author)s, %(vector)s) ON CONFLICT (id) DO UPDATE"
      " SET title = excluded.title, author_id = excluded.author_id, embedding = excluded.embedding"] * 3,
    *["UPDATE documents SET title = 'title ' || %(mark)s WHERE id = %(document)s"] * 3,
    "UPDATE documents SET embedding = %(vector)s WHERE id = %(document)s",
    "UPDATE documents SET embedding = NULL WHERE id = %(document)s",
    "UPDATE documents SET author_id = %(author)s, title = 'moved ' || %(mark)s WHERE id = %(document)s",
    *["DELETE FROM documents WHERE id = %(document)s"] * 2,
    *["INSERT INTO chunks VALUES (%(chunk)s, %(document)s, 'chunk ' || %(mark)s, %(vector)s) ON CONFLICT (id) DO UPDATE"
      " SET body = excluded.body, document_id = excluded.document_id, embedding = excluded.embedding"] * 3,
    "UPDATE chunks SET body = 'body ' || %(mark)s WHERE document_id = %(document)s",
    "UPDATE chunks SET document_id = %(document)s WHERE id BETWEEN %(chunk)s AND %(chunk)s + 5",
    "UPDATE chunks SET id = %(chunk)s WHERE id = (SELECT min(id) FROM chunks WHERE id > %(mark)s %% 400)",
    "DELETE FROM chunks WHERE id = %(chunk)s",
    *["INSERT INTO cites VALUES (%(cite)s, %(document)s, %(other)s, %(mark)s) ON CONFLICT (id) DO UPDATE"
      " SET from_id = excluded.from_id, to_id = excluded.to_id, page = excluded.page"] * 2,
    "UPDATE cites SET to_id = %(document)s WHERE id BETWEEN %(cite)s AND %(cite)s + 3",
    "DELETE FROM cites WHERE id = %(cite)s",
    *["INSERT INTO authors VALUES (%(author)s, 'author ' || %(mark)s) ON CONFLICT (id) DO UPDATE SET name = excluded.name"] * 2,
    "UPDATE authors SET id = %(author)s WHERE id = (SELECT max(id) FROM authors)",
    "DELETE FROM authors WHERE id = %(author)s",
]  # fmt: skip
# Qdrant refuses them: they are to be undone everywhere and parked.
POISON = [
    "UPDATE documents SET title = 'refused ' || %(mark)s, embedding = '{1,2}' WHERE id = %(document)s",
    "INSERT INTO chunks VALUES (%(chunk)s, %(document)s, 'refused ' || %(mark)s, '{1,2}') ON CONFLICT (id) DO UPDATE"
    " SET body = excluded.body, document_id = excluded.document_id, embedding = excluded.embedding",
]
POISON_SHARE = 0.003
# Whole tables, seldom enough for rows to meet in between.
TRUNCATIONS = ["TRUNCATE cites", "TRUNCATE chunks", "TRUNCATE documents CASCADE"]
TRUNCATION_SHARE = 0.001
# So that what was refused does not stay refused for long; the rest is mended at the end.
MEND = """
UPDATE documents SET title = 'mended', embedding = '{1,2,3,4}' WHERE cardinality(embedding) <> 4;
UPDATE chunks SET body = 'mended', embedding = '{1,2,3,4}' WHERE cardinality(embedding) <> 4;
"""


@dataclasses.dataclass
class Written:
    """What the writers know to be committed; a commit whose answer was lost is in none of the sums."""

    transactions: int = 0
    rows: int = 0
    rolled_back: int = 0
    lost_answers: int = 0


class Writers:
    """Each draws from a seed of its own; what they draw is the same for a seed, when they meet each other is not."""

    def __init__(self, dsn: str, seed: int, count: int, pause_seconds: float) -> None:
        self._dsn, self._pause_seconds = dsn, pause_seconds
        self._over = threading.Event()
        self.written = [Written() for _ in range(count)]
        self.failures: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + number), number), daemon=True) for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def total(self) -> Written:
        sums = (sum(getattr(each, field.name) for each in self.written) for field in dataclasses.fields(Written))
        return Written(*sums)

    def _run(self, dice: random.Random, number: int) -> None:
        mine, mark = self.written[number], number
        while not self._over.is_set():
            try:
                with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as session:
                    session.execute("SET deadlock_timeout = '20ms'")
                    while not self._over.is_set():
                        mark += len(self.written)
                        self._transaction(session, dice, mark, mine)
                        self._over.wait(dice.expovariate(1 / self._pause_seconds))
            except psycopg.OperationalError:
                # The server is being stopped or restarted.
                mine.lost_answers += 1
                self._over.wait(0.05)
            except BaseException as failed:  # noqa: BLE001 - whatever it is, the run fails with it
                self.failures.append(failed)
                return

    def _transaction(self, session: psycopg.Connection, dice: random.Random, mark: int, mine: Written) -> None:
        rows = 0
        keep = dice.random() > 0.08
        try:
            with session.transaction(force_rollback=not keep):
                session.execute(f"SET LOCAL synchronous_commit = {dice.choice(['on', 'off'])}")
                for _ in range(dice.choice([1, 1, 1, 2, 3, 5, 40])):
                    if dice.random() < 0.1:
                        with session.transaction(force_rollback=True):
                            change(session, dice, mark)
                    else:
                        with session.transaction():
                            rows += change(session, dice, mark)
        except (psycopg.errors.DeadlockDetected, psycopg.IntegrityError):
            mine.rolled_back += 1
            return
        if keep:
            mine.transactions += 1
            mine.rows += rows
        else:
            mine.rolled_back += 1


def change(session: psycopg.Connection, dice: random.Random, mark: int) -> int:
    drawn = {
        "mark": mark,
        "author": dice.randrange(AUTHORS),
        "document": document(dice.randrange(DOCUMENTS)),
        "other": document(dice.randrange(DOCUMENTS)),
        "chunk": dice.randrange(CHUNKS),
        "cite": dice.randrange(CITES),
        "vector": [float(dice.randrange(1000)) for _ in range(4)],
    }
    draw = dice.random()
    if draw < TRUNCATION_SHARE:
        with session.transaction():
            session.execute(dice.choice(TRUNCATIONS))
        return 1
    try:
        with session.transaction():
            return session.execute(dice.choice(POISON if draw < TRUNCATION_SHARE + POISON_SHARE else CHANGES), drawn).rowcount
    except psycopg.IntegrityError:
        # A document or author that is not there just now, or a key that is taken.
        return 0


def document(number: int) -> uuid.UUID:
    return uuid.UUID(int=number, version=4)
