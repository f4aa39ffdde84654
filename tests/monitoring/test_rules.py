"""The rules for Prometheus: each alert fires when it should and not otherwise, by Prometheus' own program."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from hegemon.monitoring.export import HERE, alert_file, by_name, documents, recording_file
from hegemon.monitoring.prometheus.alerts import all_alerts
from hegemon.monitoring.prometheus.objectives import OBJECTIVES
from hegemon.monitoring.prometheus.rule import rescaled, shortened
from tests.monitoring.alert_cases import CASES, Case, objective_series
from tests.monitoring.programs import ended_well, program

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = HERE / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
# How many times faster than allowed, and the windows that fire then.
BURNS = {20.0: ["1h", "6h", "3d"], 8.0: ["6h", "3d"], 2.0: ["3d"], 0.5: []}


def scenario(series: Mapping[str, str], interval: str = "15s") -> dict[str, Any]:
    """One world of its own."""
    return {
        "interval": interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [],
    }


def firing(alert: str, more: str, at: str, expected: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """These series of ALERTS, and no others, are there."""
    samples = []
    for labels in expected:
        pairs = {"alertname": alert, "alertstate": "firing", **labels}
        written = ",".join(f'{name}="{value}"' for name, value in pairs.items())
        samples.append({"labels": f"ALERTS{{{written}}}", "value": 1})
    expr = f'ALERTS{{alertname="{alert}",alertstate="firing"{more}}}'
    return {"expr": expr, "eval_time": at, "exp_samples": samples}


def only(concerned: str) -> list[dict[str, Any]]:
    """The rules that users get, reduced to one alert's or one objective's: the others would only take time."""
    found = []
    for name in ("rules.yml", "alerts.yml"):
        for group in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]:
            rules = [
                rule
                for rule in group["rules"]
                if concerned in (rule.get("alert"), rule.get("labels", {}).get("slo"))
                or rule.get("record", "").startswith("cluster:")
            ]
            found.append({"name": group["name"], "rules": rules})
    return found


def judged(directory: Path, concerned: str, scenarios: Sequence[Mapping[str, Any]], evaluation: str = "15s") -> str:
    """What `promtool test rules` says."""
    rules = directory / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": only(concerned)}), encoding="utf-8")
    page = {
        "rule_files": [str(rules)],
        "evaluation_interval": evaluation,
        "tests": list(scenarios),
    }
    tests = directory / "tests.yml"
    tests.write_text(yaml.safe_dump(page, sort_keys=False), encoding="utf-8")
    return ended_well(program("promtool"), "test", "rules", tests)


def stormy(case: Case) -> dict[str, Any]:
    """It fires, and not before its time."""
    severity = f',severity="{case.severity}"'
    checks = [
        firing(case.alert, severity, case.at, [{"severity": case.severity, **case.labels}]),
        firing(case.alert, severity, case.before, []),
    ]
    return scenario(case.stormy) | {"promql_expr_test": checks}


def calm(case: Case) -> dict[str, Any]:
    """It never fires, at no moment."""
    ever = f'max_over_time(ALERTS{{alertname="{case.alert}",alertstate="firing",severity="{case.severity}"}}[2h])'
    return scenario(case.calm) | {"promql_expr_test": [{"expr": ever, "eval_time": "49m", "exp_samples": []}]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_alert_fires_for_what_it_is_for_and_not_before_its_time_nor_in_the_calm(case: Case, tmp_path: Path) -> None:
    assert "SUCCESS" in judged(tmp_path, case.alert, [stormy(case), calm(case)])


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    known = {(case.alert, case.severity) for case in CASES}
    known |= {("HegemonSloBurnsFast", "critical"), ("HegemonSloBurnsSlowly", "warning")}
    assert {(alert.name, alert.severity) for alert in all_alerts()} == known


@pytest.mark.parametrize("slo", [one.name for one in OBJECTIVES])
def test_a_budget_that_burns_fires_the_alerts_of_its_speed_and_no_others(slo: str, tmp_path: Path) -> None:
    objective = next(one for one in OBJECTIVES if one.name == slo)
    scenarios = []
    for speed, windows in BURNS.items():
        found = scenario(objective_series(slo, min(speed * objective.budget, 1.0)), "1m")
        for alert, severity, some in (
            ("HegemonSloBurnsFast", "critical", {"1h", "6h"}),
            ("HegemonSloBurnsSlowly", "warning", {"3d"}),
        ):
            labels = [
                {"severity": severity, "slo": slo, "window": window, "cluster": "c"}
                for window in windows
                if window in some
            ]
            found["promql_expr_test"] += [
                firing(alert, f',slo="{slo}"', "9h", labels),
                firing(alert, f',slo="{slo}"', "0m", []),
            ]
        scenarios.append(found)
    assert "SUCCESS" in judged(tmp_path, slo, scenarios, "5m")


def test_without_any_work_there_is_no_error_and_not_no_data(tmp_path: Path) -> None:
    series = {
        'hegemon_job_wait_duration_seconds_bucket{cluster="c",queue="q",le="10.0"}': "5x60",
        'hegemon_job_wait_duration_seconds_count{cluster="c",queue="q"}': "5x60",
    }
    expr = 'hegemon:slo_errors:ratio_rate5m{slo="start"}'
    sample = {"labels": 'hegemon:slo_errors:ratio_rate5m{cluster="c",slo="start"}', "value": 0}
    check = {"expr": expr, "eval_time": "30m", "exp_samples": [sample]}
    assert "SUCCESS" in judged(tmp_path, "start", [scenario(series, "1m") | {"promql_expr_test": [check]}], "1m")


def test_an_api_that_has_answered_nothing_but_failures_has_no_share_of_good_ones(tmp_path: Path) -> None:
    name = 'hegemon_http_requests_total{cluster="%s",node="n1",operation="submit",status="%s"}'
    # Of the first cluster there is no series but that of failures; the other's answers are not taken for its own.
    series = {name % ("c", "5xx"): "0+10x60", name % ("d", "2xx"): "0+10x60", name % ("d", "5xx"): "0+10x60"}
    samples = [
        {"labels": f'hegemon:slo_errors:ratio_rate5m{{cluster="{cluster}",slo="api"}}', "value": errors}
        for cluster, errors in (("c", 1), ("d", 0.5))
    ]
    check = {"expr": 'hegemon:slo_errors:ratio_rate5m{slo="api"}', "eval_time": "30m", "exp_samples": samples}
    assert "SUCCESS" in judged(tmp_path, "api", [scenario(series, "1m") | {"promql_expr_test": [check]}], "1m")


def test_prometheus_accepts_the_files_and_the_examples() -> None:
    ended_well(program("promtool"), "check", "rules", PROMETHEUS / "rules.yml", PROMETHEUS / "alerts.yml")
    ended_well(program("promtool"), "check", "config", PROMETHEUS / "prometheus.yml")
    ended_well(program("amtool"), "check-config", PROMETHEUS / "alertmanager.yml")


def test_the_example_for_alertmanager_wakes_people_for_what_is_critical_alone() -> None:
    config = f"--config.file={PROMETHEUS / 'alertmanager.yml'}"
    for severity, receiver in (("critical", "on-call"), ("warning", "team")):
        told = ended_well(program("amtool"), "config", "routes", "test", config, f"severity={severity}", "cluster=c")
        assert told.strip() == receiver


def test_what_an_alert_says_uses_labels_that_it_has() -> None:
    # Where a label is missing, people would read "no value".
    known = {case.alert: {*case.labels, "severity"} for case in CASES}
    budget = {"cluster", "slo", "severity", "window"}
    known |= {"HegemonSloBurnsFast": budget, "HegemonSloBurnsSlowly": budget}
    for alert in all_alerts():
        used = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
        assert used <= known[alert.name], alert.name


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    names = {name for name, _ in by_name()}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == names
    for name in names:
        text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {name}\n")
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["What it means", "What to look at", "What to do", "When it is wrong"], name


def test_the_pages_hold_what_the_tables_say() -> None:
    for page, text in documents(ROOT / "docs"):
        assert page.read_text(encoding="utf-8") == text, f"python -m hegemon.monitoring.export writes {page}"


def test_a_time_scale_shortens_every_time_and_nothing_else() -> None:
    assert shortened("1m", 1) == "1m"
    assert shortened("1m", 1 / 60) == "1000ms"
    assert shortened("15s", 1e-9) == "1ms"
    assert rescaled("sum(rate(a:rate5m[10m])) > 5", 1 / 600) == "sum(rate(a:rate5m[1000ms])) > 5"
    with pytest.raises(ValueError, match="no duration"):
        shortened("soon", 2)


@pytest.mark.parametrize("text", [alert_file(scale=0.01), recording_file(scale=0.01)], ids=["alerts", "recordings"])
def test_rules_in_another_time_are_rules_too(text: str, tmp_path: Path) -> None:
    assert not re.search(r"\[\d+[smhd]\]|for: \d+[smhd]\b", text)
    (tmp_path / "scaled.yml").write_text(text, encoding="utf-8")
    ended_well(program("promtool"), "check", "rules", tmp_path / "scaled.yml")
