"""`hegemon monitoring export`: files that Prometheus takes as they are, and nobody's own are overwritten."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Run
from tests.monitoring.programs import ended_well, program


def test_what_is_exported_is_complete_and_names_the_nodes_and_the_runbooks(bare_run: Run, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "monitoring"
    ended = bare_run(
        *("monitoring", "export", str(place), "--cluster", "prod", "--runbooks", "https://example.com/books"),
        *("--target", "a:9090", "--target", "[::1]:9090"),
    )
    assert ended.code == 0, ended.err
    assert sorted(ended.out.split()) == sorted(str(path) for path in place.rglob("*") if path.is_file())
    scrape = yaml.safe_load((place / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": ["a:9090", "[::1]:9090"], "labels": {"cluster": "prod"}}]
    assert "https://example.com/books/HegemonNodeDown.md" in (place / "prometheus" / "alerts.yml").read_text()
    pages = [json.loads(path.read_text()) for path in (place / "grafana" / "dashboards").glob("*.json")]
    assert {page["uid"].removeprefix("hegemon-") for page in pages} == {"cluster", "election", "jobs", "node", "slos"}
    assert len(list((place / "grafana" / "provisioning").rglob("*.yml"))) == 2
    ended_well(program("promtool"), "check", "config", place / "prometheus" / "prometheus.yml")


def test_a_file_that_is_there_stays_unless_forced(bare_run: Run, tmp_path: Path) -> None:
    rules = tmp_path / "prometheus" / "rules.yml"
    rules.parent.mkdir()
    rules.write_text("mine")
    ended = bare_run("monitoring", "export", str(tmp_path))
    assert ended.code == 4
    assert "rules.yml is there already; --force overwrites" in ended.err
    assert rules.read_text() == "mine"
    assert not (tmp_path / "grafana").exists()
    assert bare_run("monitoring", "export", str(tmp_path), "--force").code == 0
    assert rules.read_text() != "mine"


@pytest.mark.parametrize("target", ["node-1", "http://node-1:9090", ":9090", "node-1:http"])
def test_a_target_that_is_none_is_refused(bare_run: Run, tmp_path: Path, target: str) -> None:
    ended = bare_run("monitoring", "export", str(tmp_path / "new"), "--target", target)
    assert ended.code == 2
    assert "HOST:PORT" in ended.err
    assert not (tmp_path / "new").exists()
