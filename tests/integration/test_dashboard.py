"""Every query of the dashboard and of the alerts, evaluated by a real Prometheus that scrapes a real sidecar.

What Prometheus answers is compared with the sidecar's own counters; observed.py says what happens to the sidecar.
"""

import contextlib
import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from observed import POISONED, SUCCEEDING, WAITING, Labels, Moment, Scenario, labels
from stores import ROOT, Prometheus
from stores.stack import Stack
from world import World, wait_until

DASHBOARD: dict[str, Any] = json.loads((ROOT / "dashboards" / "saga-execution.json").read_text())
RULES = ROOT / "dashboards" / "alerts.yml"
RUNBOOK = ROOT / "docs" / "operating" / "alerts.md"
ALERTS = {rule["alert"]: rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
EXECUTIONS, COMPENSATIONS, FAILURES = "apex_saga_executions_total", "apex_saga_compensation_total", "apex_saga_failure_reason_total"
STEPS = ("write_postgres", "write_neo4j", "write_qdrant", "write_redis")
STORES = ("postgres", "neo4j", "qdrant", "redis")


@dataclasses.dataclass
class Story:
    """What was seen at each stage of one scenario, and the Prometheus that still knows it."""

    prometheus: Prometheus
    settled: Moment
    exposition: str
    rules: dict[str, dict[str, Any]]
    runbook: list[list[dict[str, Any]]]
    without_qdrant: Moment
    without_sidecar: Moment


@pytest.fixture(scope="module")
def story(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = None
    with contextlib.ExitStack() as ending:
        world = World(stack, tmp_path_factory.mktemp("world"))
        ending.callback(lambda: world.close(show_log=told is None))
        scenario = Scenario(world, tmp_path_factory.mktemp("prometheus"), RULES)
        ending.callback(scenario.close)
        scenario.start()
        told = Story(
            scenario.prometheus,
            settled=scenario.settle(),
            exposition=scenario.metrics_text(),
            rules=wait_until(lambda: evaluated(scenario.prometheus)),
            runbook=[world.rows(query) for query in re.findall(r"```sql\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)],
            without_qdrant=scenario.lose_qdrant(),
            without_sidecar=scenario.lose_the_sidecar(),
        )
        yield told


def evaluated(prometheus: Prometheus) -> dict[str, dict[str, Any]]:
    """The rules once the one without a delay fires; empty before."""
    states = prometheus.rule_states()
    return states if states["ApexCompensationFailed"]["state"] == "firing" else {}


@pytest.fixture
def settled(story: Story) -> Moment:
    return story.settled


def panel(moment: Moment, title: str, reference: str = "A") -> dict[Labels, float]:
    """What a panel shows at that moment."""
    (found,) = (each for each in DASHBOARD["panels"] if each["title"] == title)
    (target,) = (each for each in found["targets"] if each["refId"] == reference)
    return moment.query(target["expr"])


def alone(vector: dict[Labels, float]) -> float:
    """The value of a vector of one sample without labels."""
    assert list(vector) == [labels()]
    return vector[labels()]


def test_the_scenario_has_successes_failures_and_both_kinds_of_compensation(settled: Moment) -> None:
    assert settled.counted(EXECUTIONS, status="success") == SUCCEEDING
    assert settled.counted(EXECUTIONS, status="failed") == POISONED + 1
    assert settled.counted(FAILURES, failed_step="write_qdrant", error_type="refused") == POISONED + 1
    assert settled.counted(COMPENSATIONS, step_name="write_neo4j", status="compensated") == POISONED
    assert settled.counted(COMPENSATIONS, step_name="write_neo4j", status="compensation_failed") == 1


def test_the_success_rate_is_what_the_counters_say(settled: Moment) -> None:
    rate = alone(panel(settled, "Success rate"))
    assert 0 < rate < 100
    assert rate == pytest.approx(100 * SUCCEEDING / (SUCCEEDING + POISONED + 1))


def test_a_division_without_the_sums_would_always_show_100(settled: Moment) -> None:
    naive = settled.query(f'rate({EXECUTIONS}{{status="success"}}[5m]) / rate({EXECUTIONS}[5m]) * 100')
    assert naive == {labels(status="success"): 100}


def test_the_step_latency_is_the_p90_of_each_step(settled: Moment) -> None:
    wanted = {
        labels(step_name=step): settled.quantile(0.9, "apex_saga_step_duration_seconds", step_name=step) for step in STEPS
    }
    assert panel(settled, "P90 step latency") == pytest.approx(wanted, nan_ok=True)
    assert panel(settled, "P90 step latency")[labels(step_name="write_neo4j")] > 0


def test_the_compensation_rate_counts_each_step_and_status(settled: Moment) -> None:
    shown = panel(settled, "Compensation rate")
    assert shown == pytest.approx(settled.rates(COMPENSATIONS, ("step_name", "status")))
    assert shown[labels(step_name="write_neo4j", status="compensation_failed")] > 0
    assert len(shown) == 2 * len(STEPS)


def test_failures_show_only_what_failed(settled: Moment) -> None:
    wanted = settled.rates(FAILURES, ("failed_step", "error_type"), failed_step="write_qdrant", error_type="refused")
    assert panel(settled, "Failures") == pytest.approx(wanted)


def test_total_executions_are_the_sum_of_success_and_failed(settled: Moment) -> None:
    total, success, failed = (alone(panel(settled, "Total executions", reference)) for reference in "ABC")
    assert total == pytest.approx(success + failed)
    assert success == pytest.approx(alone(settled.increases(EXECUTIONS, (), status="success")))
    assert failed == pytest.approx(alone(settled.increases(EXECUTIONS, (), status="failed")))


def test_compensation_success_falls_when_a_step_could_not_be_undone(settled: Moment) -> None:
    undone = settled.counted(COMPENSATIONS, status="compensated")
    shown = alone(panel(settled, "Compensation success"))
    assert shown == pytest.approx(100 * undone / (undone + 1))
    assert shown < 100


def test_success_per_store_blames_the_store_that_refused(settled: Moment) -> None:
    wanted = {labels(failed_step=step): 100.0 for step in STEPS}
    wanted[labels(failed_step="write_qdrant")] = 100 * SUCCEEDING / (SUCCEEDING + POISONED + 1)
    assert panel(settled, "Success per store") == pytest.approx(wanted)


def test_the_heatmap_has_every_bucket_of_the_time_to_settlement(settled: Moment) -> None:
    shown = panel(settled, "Saga duration")
    assert shown == pytest.approx(settled.increases("apex_end_to_end_seconds_bucket", ("le",)))
    assert shown[labels(le="+Inf")] >= SUCCEEDING


def test_end_to_end_latency_has_three_quantiles(settled: Moment) -> None:
    for reference, q in (("A", 0.5), ("B", 0.9), ("C", 0.99)):
        assert alone(panel(settled, "End-to-end latency", reference)) == pytest.approx(settled.quantile(q, "apex_end_to_end_seconds"))


def test_nothing_is_active_or_waits_when_everything_is_settled(settled: Moment) -> None:
    assert alone(panel(settled, "Active sagas")) == 0
    assert alone(panel(settled, "Lag and backlog", "A")) == 0
    assert alone(panel(settled, "Lag and backlog", "B")) == 0
    assert panel(settled, "Retries and breakers", "B") == {labels(store=store): 0 for store in STORES}


def test_a_lost_store_shows_in_lag_backlog_retries_and_its_breaker(story: Story) -> None:
    lost = story.without_qdrant
    assert alone(panel(lost, "Active sagas")) == lost.counted("apex_saga_active_count") > 0
    assert alone(panel(lost, "Lag and backlog", "A")) == lost.counted("apex_lag_seconds") > 0
    assert alone(panel(lost, "Lag and backlog", "B")) == WAITING
    breakers = panel(lost, "Retries and breakers", "B")
    assert breakers == {labels(store=store): float(store == "qdrant") for store in STORES}
    retries = panel(lost, "Retries and breakers", "A")
    assert retries[labels(store="qdrant")] > 0
    assert {retries[labels(store=store)] for store in STORES if store != "qdrant"} == {0}


def test_no_query_of_any_panel_is_empty(story: Story) -> None:
    for each in DASHBOARD["panels"]:
        for target in each.get("targets", []):
            assert story.settled.query(target["expr"]) and story.without_qdrant.query(target["expr"]), each["title"]


def test_refused_sagas_raise_the_alerts_on_success_and_on_compensation_and_no_other(settled: Moment) -> None:
    raised = {name: found for name, expression in ALERTS.items() if (found := settled.query(expression))}
    rate = 100 * SUCCEEDING / (SUCCEEDING + POISONED + 1)
    (failed,) = settled.increases(COMPENSATIONS, ("step_name",), status="compensation_failed", step_name="write_neo4j").values()
    assert raised == {
        "ApexSuccessRateCritical": {labels(): pytest.approx(rate)},
        "ApexSuccessRateLow": {labels(): pytest.approx(rate)},
        "ApexCompensationFailed": {labels(step_name="write_neo4j"): pytest.approx(failed)},
    }


def test_the_alerts_that_stay_silent_compare_values_that_are_there(settled: Moment) -> None:
    """An expression over a misspelt metric would be silent too."""
    compared = {
        "ApexStepLatencyHigh": [ALERTS["ApexStepLatencyHigh"].removesuffix(" > 10")],
        "ApexLagHigh": ["max(apex_lag_seconds)"],
        "ApexStoreDown": ["apex_store_up"],
        "ApexBacklogGrowing": ["sum(deriv(apex_backlog_rows[10m]))", "sum(apex_backlog_rows)"],
        "ApexSidecarAbsent": ["apex_leader == 1"],
    }
    for name, parts in compared.items():
        for part in parts:
            assert part in ALERTS[name] and settled.query(part), f"{name}: {part}"


def test_a_lost_store_raises_its_alert_and_names_the_store(story: Story) -> None:
    assert story.without_qdrant.query(ALERTS["ApexStoreDown"]) == {labels(store="qdrant"): 0}
    assert story.without_qdrant.query(ALERTS["ApexLagHigh"]) == {}


def test_a_lost_sidecar_raises_its_alert_and_takes_back_the_stores(story: Story) -> None:
    assert story.without_sidecar.query(ALERTS["ApexSidecarAbsent"]) == {labels(): 1}
    assert story.without_sidecar.query(ALERTS["ApexStoreDown"]) == {}


def test_prometheus_loads_the_rules_and_evaluates_them_without_an_error(story: Story) -> None:
    assert story.rules.keys() == ALERTS.keys()
    for name, state in story.rules.items():
        assert state["health"] == "ok", f"{name}: {state.get('lastError')}"
    (alert,) = story.rules["ApexCompensationFailed"]["alerts"]
    assert alert["annotations"]["summary"] == "write_neo4j could not be undone"
    # Its `for` of five minutes is not over.
    assert story.rules["ApexSuccessRateCritical"]["state"] == "pending"


def test_the_runbooks_queries_find_the_sagas_and_the_stores_own_words(story: Story) -> None:
    by_reason, not_undone = story.runbook
    assert [(row["failed_step"], row["error_type"], row["count"]) for row in by_reason] == [("write_qdrant", "refused", POISONED + 1)]
    assert "dimension" in by_reason[0]["min"].lower()
    assert [row["failed_step"] for row in not_undone] == ["write_qdrant"]


def test_promtool_finds_nothing_in_the_metrics_but_the_name_that_is_fixed(story: Story) -> None:
    """apex_saga_active_count is a name others rely on; promtool would keep the suffix for histograms and summaries."""
    said = subprocess.run(["promtool", "check", "metrics"], input=story.exposition, capture_output=True, text=True, check=False)
    complaints = [line for line in (said.stdout + said.stderr).splitlines() if line]
    assert [line for line in complaints if not line.startswith("apex_saga_active_count ")] == []
    assert len(complaints) <= 1, complaints
