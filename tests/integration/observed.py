"""A sidecar in trouble and the Prometheus that watches it: one scenario, and what can be asked of each of its moments."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import library
from gate import Gate
from stores import Prometheus, Sidecar
from world import World, wait_until

SUCCEEDING, POISONED, WAITING = 12, 3, 5
# What Grafana puts in depends on the size of a panel; this long a window holds the whole scenario.
WINDOW_SECONDS = 300
GRAFANA = {"$__rate_interval": f"{WINDOW_SECONDS}s", "$__range": "1h"}

Labels = frozenset[tuple[str, str]]


def labels(**named: str) -> Labels:
    return _labels(named)


def _labels(named: Mapping[str, str]) -> Labels:
    """Without what the scrape adds; a bucket's bound in one spelling, since some versions of Prometheus change it."""
    return frozenset(
        (name, str(float(value)) if name == "le" else value)
        for name, value in named.items()
        if name not in ("__name__", "job", "instance")
    )


def exposed(text: str) -> dict[tuple[str, Labels], float]:
    """The text of /metrics as (name, labels) -> value."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, inner, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found[name, _labels(dict(re.findall(r'(\w+)="([^"]*)"', inner or "")))] = float(value)
    return found


@dataclasses.dataclass
class Moment:
    """The sidecar's series as of one scrape; everything is asked of Prometheus as of that time."""

    prometheus: Prometheus
    at: float
    series: dict[tuple[str, Labels], float]

    @classmethod
    def now(cls, prometheus: Prometheus) -> "Moment | None":
        """None before the first scrape and after the sidecar's end."""
        scraped = prometheus.query("timestamp(apex_leader)")
        if not scraped:
            return None
        at = scraped[0][1]
        found = prometheus.query(f'{{job="{Prometheus.job}", __name__=~"apex_.*"}}', at)
        return cls(prometheus, at, {(named["__name__"], _labels(named)): value for named, value in found})

    def query(self, expression: str) -> dict[Labels, float]:
        """The vector of a panel's or an alert's expression, with Grafana's variables put in."""
        for variable, value in GRAFANA.items():
            expression = expression.replace(variable, value)
        assert "$" not in expression, f"not one of Grafana's variables: {expression}"
        return {_labels(named): value for named, value in self.prometheus.query(expression, self.at)}

    def counted(self, name: str, **wanted: str) -> float:
        """The sum of the sidecar's series of this name that have these labels."""
        return sum(value for (found, its), value in self.series.items() if found == name and wanted.items() <= set(its))

    def increases(self, name: str, by: Sequence[str], **wanted: str) -> dict[Labels, float]:
        """What `sum by (...) (increase(...))` over the scenario must give.

        It is a little more than was counted, because Prometheus counts on from the last sample to the end of the window:
        by one factor for every series, as all began with 0 and were scraped together.
        """
        success = {"name": "apex_saga_executions_total", "status": "success"}
        (grown,) = self.query(f'increase(apex_saga_executions_total{{status="success"}}[{WINDOW_SECONDS}s])').values()
        factor = grown / self.counted(**success)
        assert 1 <= factor < 1.5
        sums: dict[Labels, float] = {}
        for (found, its), value in self.series.items():
            if found == name and wanted.items() <= set(its):
                kept = frozenset(label for label in its if label[0] in by)
                sums[kept] = sums.get(kept, 0) + value * factor
        return sums

    def rates(self, name: str, by: Sequence[str], **wanted: str) -> dict[Labels, float]:
        return {its: value / WINDOW_SECONDS for its, value in self.increases(name, by, **wanted).items()}

    def quantile(self, q: float, name: str, **wanted: str) -> float:
        """Linear within the bucket, as histogram_quantile is documented."""
        buckets = sorted(
            (float(dict(its)["le"]), value)
            for (found, its), value in self.series.items()
            if found == f"{name}_bucket" and wanted.items() <= set(its)
        )
        rank = q * buckets[-1][1]
        lower, below = 0.0, 0.0
        for upper, count in buckets:
            if count >= rank and count > below:
                return lower if math.isinf(upper) else lower + (upper - lower) * (rank - below) / (count - below)
            lower, below = upper, count
        return math.nan


class Scenario:
    """The stages are called in the order in which they stand here."""

    def __init__(self, world: World, directory: pathlib.Path, rules: pathlib.Path) -> None:
        self.world = world
        library.create(world)
        variables = world.stack.sidecar_variables(world.database)
        address = urlsplit(variables["APEX_QDRANT_URI"])
        self.gate = Gate(address.hostname, address.port)
        variables["APEX_QDRANT_URI"] = f"http://127.0.0.1:{self.gate.port}"
        self.sidecar: Sidecar = world.another_sidecar(variables)
        self.prometheus = Prometheus(directory, target="", rules=[rules])

    def start(self) -> None:
        self.sidecar.start()
        self.prometheus.target = f"127.0.0.1:{self.sidecar.port}"
        self.prometheus.start()
        # rate() needs a sample from before the first saga.
        self._wait_scraped()

    def settle(self) -> Moment:
        """Most sagas succeed, some are refused and put back, one cannot be put back; then all is quiet."""
        world = self.world
        for number in range(SUCCEEDING):
            world.pg.execute("INSERT INTO documents (title, embedding) VALUES (%s, '{1,2,3,4}')", [f"about {number}"])
        world.wait_synced()
        for number in range(POISONED):
            world.pg.execute("UPDATE documents SET embedding = '{1}' WHERE title = %s", [f"about {number}"])
        self._wait_failed(POISONED)
        self._fail_a_compensation()
        self._wait_failed(POISONED + 1)
        return self._wait_scraped()

    def lose_qdrant(self) -> Moment:
        """Qdrant is gone, changes wait, and the sidecar has tried again."""
        self.gate.close()
        self.world.pg.execute(
            "INSERT INTO documents (title, embedding) SELECT 'waiting ' || n, '{1,2,3,4}' FROM generate_series(1, %s) n", [WAITING]
        )
        return self._wait_for(
            lambda now: now.counted("apex_store_up", store="qdrant") == 0
            and now.counted("apex_backlog_rows") == WAITING
            and now.counted("apex_lag_seconds") > 0
            and now.counted("apex_retries_total", store="qdrant") > 0
            and now.counted("apex_breaker_open", store="qdrant") == 1
        )

    def lose_the_sidecar(self) -> Moment:
        """A moment without series."""
        self.sidecar.kill()
        ((_, at),) = wait_until(lambda: self.prometheus.query("timestamp(up == 0)"))
        return Moment(self.prometheus, at, {})

    def metrics_text(self) -> str:
        status, text = self.sidecar.get("/metrics")
        assert status == 200, text
        return text

    def close(self) -> None:
        self.world.cypher("DROP CONSTRAINT in_the_way IF EXISTS")
        self.prometheus.stop()
        self.gate.close()

    def _fail_a_compensation(self) -> None:
        """Somebody takes a title in Neo4j, where it must be unique, between the saga's write and its undoing."""
        world = self.world
        world.cypher("CREATE CONSTRAINT in_the_way FOR (d:Document) REQUIRE d.title IS UNIQUE")
        self.gate.hold()
        world.pg.execute("UPDATE documents SET title = 'away', embedding = '{1}' WHERE title = 'about 5'")
        wait_until(lambda: world.nodes("Document", title="away"), message="Neo4j was not written")
        world.cypher("CREATE (:Document {id: 'in the way', title: 'about 5'})")
        self.gate.open()

    def _wait_failed(self, count: int) -> None:
        failed = ("apex_saga_executions_total", labels(status="failed"))
        wait_until(lambda: exposed(self.metrics_text())[failed] == count, message=lambda: f"parked: {self.world.parked()}")

    def _wait_scraped(self) -> Moment:
        """Waits until Prometheus has what the sidecar says, which must have come to rest for that."""
        return self._wait_for(lambda now: now.series == exposed(self.metrics_text()))

    def _wait_for(self, condition: Callable[[Moment], bool]) -> Moment:
        last = None

        def met() -> Moment | None:
            nonlocal last
            last = Moment.now(self.prometheus)
            return last if last and condition(last) else None

        return wait_until(met, message=lambda: f"{last and last.series}")
