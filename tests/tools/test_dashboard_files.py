"""dashboards/: what can be said of the files without a server. tests/integration/test_dashboard.py runs their queries."""

import copy
import json
import pathlib
import re
import subprocess
from typing import Any

import pytest
import yaml
from checks import grafana
from stores.paths import ROOT

DASHBOARDS = ROOT / "dashboards"
PANELS = [
    "Success rate",
    "P90 step latency",
    "Compensation rate",
    "Active sagas",
    "Failures",
    "Total executions",
    "Compensation success",
    "Success per store",
    "Saga duration",
    "Lag and backlog",
    "End-to-end latency",
    "Retries and breakers",
]


@pytest.fixture
def dashboard() -> dict[str, Any]:
    return json.loads((DASHBOARDS / "saga-execution.json").read_text())


def panel(dashboard: dict[str, Any], title: str) -> dict[str, Any]:
    return next(each for each in dashboard["panels"] if each["title"] == title)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DASHBOARDS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    said = subprocess.run(["promtool", *arguments], cwd=DASHBOARDS, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_dashboard_refreshes_shows_the_last_hour_and_shares_its_tooltip(dashboard: dict[str, Any]) -> None:
    assert dashboard["uid"] == "saga-execution"
    assert dashboard["refresh"] == "10s"
    assert dashboard["time"] == {"from": "now-1h", "to": "now"}
    assert dashboard["graphTooltip"] == 2
    assert dashboard["schemaVersion"] == grafana.schema_version()
    assert [each["title"] for each in dashboard["panels"] if each["type"] != "row"] == PANELS


def test_panels_neither_overlap_nor_share_an_id(dashboard: dict[str, Any]) -> None:
    taken = [
        (x, y)
        for at in (each["gridPos"] for each in dashboard["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(taken) == len(set(taken)) and max(x for x, _ in taken) < 24
    assert len({each["id"] for each in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_legend_is_a_table_with_the_same_columns(dashboard: dict[str, Any]) -> None:
    legends = [each["options"]["legend"] for each in dashboard["panels"] if each["type"] == "timeseries"]
    assert {legend["displayMode"] for legend in legends} == {"table"}
    assert len({tuple(legend["calcs"]) for legend in legends}) == 1


def test_every_query_asks_the_chosen_data_source_and_no_host_is_named(dashboard: dict[str, Any]) -> None:
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    for each in dashboard["panels"]:
        if each["type"] != "row":
            assert each["datasource"] == chosen and all(target["datasource"] == chosen for target in each["targets"])
    texts = [path.read_text() for path in DASHBOARDS.rglob("*") if path.is_file()]
    assert [text for text in texts if re.search(r"://|localhost|\d+\.\d+\.\d+\.\d+|:\d{4,5}\b", text)] == []


def test_the_success_rate_is_red_below_99_and_green_from_99_9(dashboard: dict[str, Any]) -> None:
    steps = panel(dashboard, "Success rate")["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [(step["color"], step["value"]) for step in steps] == [("red", None), ("yellow", 99), ("green", 99.9)]


def test_failures_are_stacked(dashboard: dict[str, Any]) -> None:
    assert panel(dashboard, "Failures")["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"


def test_the_dashboard_fits_grafanas_own_types(dashboard: dict[str, Any]) -> None:
    assert grafana.complaints(dashboard) == []


def test_what_does_not_fit_grafanas_types_is_named(dashboard: dict[str, Any]) -> None:
    wrong = copy.deepcopy(dashboard)
    del wrong["schemaVersion"]
    panel(wrong, "Success rate")["options"]["graphMod"] = "area"
    panel(wrong, "P90 step latency")["options"]["legend"]["calc"] = ["max"]
    panel(wrong, "Active sagas")["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines"
    panel(wrong, "Failures")["fieldConfig"]["defaults"]["units"] = "ops"
    panel(wrong, "Lag and backlog")["fieldConfig"]["overrides"][0]["properties"][0]["id"] = "custom.axisPlace"
    panel(wrong, "Saga duration")["options"]["yAxis"]["axisPlacement"] = "west"
    panel(wrong, "End-to-end latency")["type"] = "graph"
    del panel(wrong, "Retries and breakers")["options"]["tooltip"]
    said = grafana.complaints(wrong)
    for place, word in {
        "dashboard": "schemaVersion",
        "Success rate": "graphMod",
        "P90 step latency": "calc",
        "Active sagas": "lines",
        "Failures": "units",
        "Lag and backlog, override 0": "axisPlace",
        "Saga duration": "west",
        "End-to-end latency": "graph",
        "Retries and breakers": "tooltip",
    }.items():
        assert [one for one in said if one.startswith(f"{place}: ") and word in one], f"{place} in {said}"


def test_every_metric_that_is_queried_is_one_of_the_sidecars(dashboard: dict[str, Any]) -> None:
    golden = (ROOT / "tests" / "unit" / "metrics" / "golden_names.txt").read_text()
    known = set(re.findall(r"^\w+", golden, re.MULTILINE))
    queries = [target["expr"] for each in dashboard["panels"] for target in each.get("targets", [])]
    asked = set(re.findall(r"\bapex_\w+", " ".join(queries + [rule["expr"] for rule in alerts()])))
    assert asked and asked <= known


def test_the_rules_are_well_formed_and_fire_when_they_should_and_only_then() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


def test_every_alert_has_a_history_that_makes_it_fire_and_one_that_does_not() -> None:
    cases = [
        case for test in yaml.safe_load((DASHBOARDS / "alerts_test.yml").read_text())["tests"] for case in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in alerts()}
    assert names == {case["alertname"] for case in cases if case.get("exp_alerts")}
    assert names == {case["alertname"] for case in cases if not case.get("exp_alerts")}


def test_every_alert_has_a_severity_a_summary_and_a_runbook_section() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        page, _, section = rule["annotations"]["runbook_url"].partition("#")
        headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert section in [heading.lower() for heading in headings], rule["alert"]


def test_the_provisioned_data_source_and_folder_take_their_places_from_the_environment() -> None:
    (source,) = yaml.safe_load((DASHBOARDS / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "$PROMETHEUS_URL")
    (provider,) = yaml.safe_load((DASHBOARDS / "provisioning/dashboards/apex.yml").read_text())["providers"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "$APEX_DASHBOARDS")
