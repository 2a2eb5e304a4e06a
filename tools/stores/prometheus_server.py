"""A private Prometheus that scrapes one sidecar and evaluates rules."""

import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from stores.process import Server, ServerError

# Labels, the metric's name among them as __name__ where the expression keeps it, and the value.
Sample = tuple[dict[str, str], float]


class Prometheus(Server):
    """`target` is the host:port of the sidecar's /metrics; `rules` are alerting rules. Keeps its data under `directory`."""

    name = "prometheus"
    job = "apex"

    def __init__(
        self, directory: pathlib.Path, *, target: str, rules: Sequence[pathlib.Path] = (), scrape_interval: str = "1s"
    ) -> None:
        super().__init__(directory)
        self.target = target
        self.rules = list(rules)
        self.scrape_interval = scrape_interval

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            "prometheus",
            f"--config.file={self.directory / 'prometheus.json'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def prepare(self) -> None:
        configuration = {
            "global": {
                "scrape_interval": self.scrape_interval,
                "scrape_timeout": self.scrape_interval,
                "evaluation_interval": self.scrape_interval,
            },
            "rule_files": [str(path) for path in self.rules],
            "scrape_configs": [{"job_name": self.job, "static_configs": [{"targets": [self.target]}]}],
        }
        # JSON is YAML.
        (self.directory / "prometheus.json").write_text(json.dumps(configuration, indent=2))

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The instant vector of an expression, now or at a time in seconds since 1970."""
        found = self._api("query", query=expression, **({} if at is None else {"time": f"{at:.3f}"}))
        assert found["resultType"] == "vector", expression
        return [(sample["metric"], float(sample["value"][1])) for sample in found["result"]]

    def rule_states(self) -> dict[str, dict[str, Any]]:
        """What Prometheus says of each alerting rule, by its name: state, health, lastError, alerts."""
        groups = self._api("rules", type="alert")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def _api(self, path: str, **parameters: str) -> dict[str, Any]:
        address = f"{self.uri}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise ServerError(f"Prometheus refused {parameters}: {refused.read().decode()}") from None
