"""The table of metrics: its page, and what every family has to be."""

import re
from pathlib import Path

import pytest

from hegemon import measures
from hegemon.monitoring.metric_page import metrics_page
from hegemon.monitoring.metric_table import COMMON, FAMILIES, LABELS, Family, Kind

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"seconds", "bytes"}


def test_the_page_of_metrics_is_written_from_the_table() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == metrics_page(), "python -m hegemon.monitoring.metric_page docs/metrics.md"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_family_has_the_prefix_the_unit_and_the_ending_of_its_kind(family: Family) -> None:
    assert re.fullmatch(r"hegemon_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)
    assert family.unit in {"", *UNITS}
    assert not family.unit or family.name.endswith(f"_{family.unit}")
    assert not any(family.name.endswith(f"_{unit}") for unit in UNITS - {family.unit})
    assert family.help.endswith(".")
    assert family.source
    assert bool(family.bounds) is (family.kind is Kind.HISTOGRAM)
    assert list(family.bounds) == sorted(set(family.bounds))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_label_is_explained_and_never_names_a_job(family: Family) -> None:
    assert set(family.labels) <= LABELS.keys()
    assert not {*family.labels} & {*COMMON, "job", "id", "job_id", "le"}
    if family.measure is not None:
        assert family.labels == family.measure.labels


def test_whatever_is_measured_has_a_family_of_its_own() -> None:
    shown = [family.measure for family in FAMILIES.values() if family.measure is not None]
    assert len(shown) == len(set(shown))
    assert set(shown) == set(measures.MEASURES.values())
