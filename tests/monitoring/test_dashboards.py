"""The dashboards: files as the code has them, in Grafana's schema, of metrics that exist, in a grid without holes."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as schema

from hegemon.monitoring.export import HERE, generated
from hegemon.monitoring.grafana.dashboard import Dashboard, dashboard_json
from hegemon.monitoring.grafana.pages import DASHBOARDS
from hegemon.monitoring.grafana.panel import WIDTH
from hegemon.monitoring.metric_table import COMMON, FAMILIES, Kind
from hegemon.monitoring.prometheus.alerts import groups
from hegemon.monitoring.prometheus.objectives import recordings
from hegemon.monitoring.prometheus.rule import Recording

# Of the plugin for Prometheus, whose own schema Grafana's does not hold.
FOREIGN = {"definition", "titleFormat", "textFormat", "step"}
OURS = {rule.name for rule in recordings().rules if isinstance(rule, Recording)}
KNOWN = {"le", "slo", "alertname", *COMMON}
SELECTOR = re.compile(r"\b(hegemon_\w+)(?:\{([^}]*)\})?")


def every(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Its panels, headings left out."""
    return (panel for panel in dashboard_json(dashboard)["panels"] if panel["type"] != "row")


def expressions() -> Iterator[tuple[str, str]]:
    """All that is asked of Prometheus, with where it stands."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels():
            yield from ((f"{dashboard.title}: {panel.title}", query.expr) for query in panel.queries)
    for group in (recordings(), *groups()):
        yield from ((rule.name, rule.expr) for rule in group.rules)


def family_of(name: str) -> Any:
    """The family that a series belongs to; a histogram's has three."""
    if name in FAMILIES:
        return FAMILIES[name]
    base = FAMILIES.get(re.sub(r"_(bucket|count|sum)$", "", name))
    return base if base is not None and base.kind is Kind.HISTOGRAM else None


def lost(sent: Any, back: Any, place: str = "") -> Iterator[str]:
    """What did not come back as it was sent."""
    if isinstance(sent, Mapping) and isinstance(back, Mapping):
        for name, value in sent.items():
            if name in back:
                yield from lost(value, back[name], f"{place}/{name}")
            elif name not in FOREIGN:
                yield f"{place}/{name}"
    elif isinstance(sent, list) and isinstance(back, list) and len(sent) == len(back):
        for number, (one, other) in enumerate(zip(sent, back, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif sent != back:
        yield f"{place}: {sent} is {back}"


def test_the_files_are_what_the_code_writes() -> None:
    for name, text in generated().items():
        assert (HERE / name).read_text(encoding="utf-8") == text, f"python -m hegemon.monitoring.export writes {name}"
    written = {f"grafana/dashboards/{path.name}" for path in (HERE / "grafana" / "dashboards").iterdir()}
    assert written == {name for name in generated() if name.endswith(".json")}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_grafanas_own_schema_knows_every_field(dashboard: Dashboard) -> None:
    register_default_plugins()
    sent = dashboard_json(dashboard)
    back = json.loads(JSONEncoder().encode(schema.Dashboard.from_json(sent)))
    assert list(lost(sent, back)) == []


def test_a_field_that_the_schema_does_not_know_is_found() -> None:
    register_default_plugins()
    sent = dashboard_json(DASHBOARDS[0])
    sent["panels"][0]["options"]["colourMode"] = "value"
    back = json.loads(JSONEncoder().encode(schema.Dashboard.from_json(sent)))
    assert list(lost(sent, back)) == ["/panels/0/options/colourMode"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_panels_fill_their_rows_and_do_not_overlap(dashboard: Dashboard) -> None:
    covered: dict[tuple[int, int], int] = {}
    for panel in dashboard_json(dashboard)["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in covered, panel["title"]
                covered[x, y] = panel["id"]
    depth = max(y for _, y in covered) + 1
    holes = [(x, y) for y in range(depth) for x in range(WIDTH) if (x, y) not in covered]
    assert not holes


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_every_panel_says_what_it_shows_and_of_which_cluster(dashboard: Dashboard) -> None:
    titles = [panel["title"] for panel in every(dashboard)]
    for panel in every(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            for name, matchers in SELECTOR.findall(target["expr"]):
                assert 'cluster="$cluster"' in matchers or family_of(name) is None, f"{panel['title']}: {name}"
    assert titles


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_the_variables_are_those_that_the_panels_use(dashboard: Dashboard) -> None:
    text = " ".join(query.expr for panel in dashboard.panels() for query in panel.queries)
    used = set(re.findall(r"\$([a-z]+)", text)) - {"__"}
    variables = {variable["name"] for variable in dashboard_json(dashboard)["templating"]["list"]}
    assert variables == {"datasource", *used}


@pytest.mark.parametrize(("place", "expr"), [*expressions()], ids=lambda text: text.split("\n")[0][:60])
def test_every_series_is_one_of_the_table_and_has_the_labels_that_are_asked_for(place: str, expr: str) -> None:
    names = SELECTOR.findall(expr)
    labels: set[str] = set()
    for name, matchers in names:
        family = family_of(name)
        assert family is not None, f"{place}: {name}"
        labels |= set(family.labels)
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked <= KNOWN | set(family.labels), f"{place}: {name} has no {asked - KNOWN - set(family.labels)}"
    grouped = {label.strip() for found in re.findall(r"\bby \(([^)]*)\)", expr) for label in found.split(",")}
    assert grouped <= KNOWN | labels, f"{place}: {grouped - KNOWN - labels}"
    assert set(re.findall(r"\b\w*:\w+(?::\w+)*", expr)) <= OURS | {"stub"}, place


def test_every_family_is_on_a_dashboard_or_for_an_argued_reason_not() -> None:
    left_out = {
        "hegemon_index_jobs": "queue_depth says it by state",
        "hegemon_index_generation": "an event tells of each rebuild",
    }
    shown = {name for _, expr in expressions() for name, _ in SELECTOR.findall(expr)}
    families = {family_of(name).name for name in shown if family_of(name) is not None}
    assert set(FAMILIES) - families <= set(left_out)


def test_the_provisioning_finds_the_dashboards_and_the_data_source() -> None:
    provisioning = HERE / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "hegemon.yml").read_text(encoding="utf-8"))
    provider = yaml.safe_load((provisioning / "dashboards" / "hegemon.yml").read_text(encoding="utf-8"))
    assert [one["type"] for one in source["datasources"]] == ["prometheus"]
    assert [one["options"]["path"] for one in provider["providers"]] == ["/var/lib/grafana/dashboards/hegemon"]
