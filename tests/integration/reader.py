"""A leader without a sidecar: it makes the calls of docs/internals/extension-and-sidecar.md, and only reads."""

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

LEASE_MS = 1500


class Reader:
    """A leader that only reads: it takes each piece for settled and closes each batch."""

    def __init__(self, dsn: str, name: str = "reader", pipeline: str = "default") -> None:
        self.pg = psycopg.connect(dsn, autocommit=True, row_factory=namedtuple_row)
        self.name, self.pipeline = name, pipeline
        self.epoch = 0
        self.after = 0

    def lead(self) -> Any:
        """Returns what apex.lead says, or None while another leader is alive."""
        led = self.pg.execute("SELECT * FROM apex.lead(%s, %s, %s)", [self.pipeline, self.name, LEASE_MS]).fetchone()
        if led.epoch is None:
            return None
        self.epoch, self.after = led.epoch, led.settled
        return led

    def read(self, rows_max: int = 4000, upto: int | None = None, bytes_max: int | None = None) -> list:
        statement = "SELECT * FROM apex.read_piece(%s, %s, %s, %s, %s, %s)"
        return self.pg.execute(statement, [self.pipeline, self.epoch, self.after, rows_max, upto, bytes_max]).fetchall()

    def next_batch(self, rows_min: int = 1) -> Any:
        """Where a batch behind the open one would end, or None when it is not worth it."""
        statement = "SELECT * FROM apex.next_batch(%s, %s, %s)"
        found = self.pg.execute(statement, [self.pipeline, self.epoch, rows_min]).fetchone()
        return found if found.to_snapshot else None

    def read_ahead(self, end: Any, rows_max: int = 4000) -> list:
        statement = "SELECT * FROM apex.read_ahead(%s, %s, %s, %s, %s, %s, NULL)"
        return self.pg.execute(statement, [self.pipeline, self.epoch, *end, rows_max]).fetchall()

    def peek_bounds(self) -> Any:
        """Where the open batch begins and ends, and now; or None when nothing is worth a look."""
        found = self.pg.execute("SELECT * FROM apex.peek_bounds(%s, %s)", [self.pipeline, self.epoch]).fetchone()
        return (found[0:3], found[3:6], found[6:9]) if found.from_snapshot else None

    def peek(self, begin: Any, end: Any, after: int = 0, rows_max: int = 4000) -> list:
        statement = "SELECT * FROM apex.peek(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL)"
        return self.pg.execute(statement, [self.pipeline, self.epoch, *begin, *end, after, rows_max]).fetchall()

    def open_batch(self, settled: int, end: Any, handed_out: int) -> None:
        """Closes the open batch, settled up to there, and opens the next one."""
        with self.pg.transaction():
            self.checkpoint(settled, close=True)
            self.pg.execute("SELECT apex.open_batch(%s, %s, %s, %s, %s, %s)", [self.pipeline, self.epoch, *end, handed_out])
        self.after = handed_out

    def checkpoint(self, settled: int, *, close: bool = False, superseded: str = "[]") -> None:
        arguments = [self.pipeline, self.epoch, settled, superseded, close]
        self.pg.execute("SELECT apex.checkpoint(%s, %s, %s, %s, %s)", arguments)
        if close:
            self.after = 0

    def batch(self, rows_max: int = 4000) -> list:
        """The whole of the next batch, closed behind it."""
        events, ahead = [], set()
        while True:
            piece = self.read(rows_max)
            if piece:
                self.after = piece[0].through_seq
            events += [event for event in piece if event.seq not in ahead]
            ahead |= {event.seq for event in piece if event.seq > self.after}
            if not piece or piece[0].batch_end:
                if self.after:
                    self.checkpoint(self.after, close=True)
                return events

    def batches(self, rows_max: int = 4000) -> list:
        """The next batch and those that can be read ahead behind it, the last one closed."""
        events, piece, ahead = [], self.read(rows_max), set()
        while piece:
            self.after = piece[0].through_seq
            events += [event for event in piece if event.seq not in ahead]
            ahead |= {event.seq for event in piece if event.seq > self.after}
            if not piece[0].batch_end:
                piece = self.read(rows_max)
                if piece:
                    continue
            end = self.next_batch()
            piece = self.read_ahead(end, rows_max) if end else []
            if piece:
                self.open_batch(self.after, end, piece[0].through_seq)
                ahead = set()
        if self.after:
            self.checkpoint(self.after, close=True)
        return events

    def cursor(self) -> Any:
        return self.pg.execute("SELECT * FROM apex.pipeline WHERE name = %s", [self.pipeline]).fetchone()
