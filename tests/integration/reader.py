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

    def read(self, rows_max: int = 4000, upto: int | None = None) -> list:
        statement = "SELECT * FROM apex.read_piece(%s, %s, %s, %s, %s)"
        return self.pg.execute(statement, [self.pipeline, self.epoch, self.after, rows_max, upto]).fetchall()

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
            run, rest = piece[:rows_max], piece[rows_max:]
            events += [event for event in run if event.seq not in ahead]
            events += [event for event in rest if event.seq not in ahead]
            ahead |= {event.seq for event in rest}
            if run:
                self.after = run[-1].seq
            if len(run) < rows_max:
                if self.after:
                    self.checkpoint(self.after, close=True)
                return events

    def cursor(self) -> Any:
        return self.pg.execute("SELECT * FROM apex.pipeline WHERE name = %s", [self.pipeline]).fetchone()
