"""Shapes of queries that several dashboards use."""

from __future__ import annotations

from typing import Final

from hegemon.monitoring.grafana.dashboard import RATE
from hegemon.monitoring.grafana.panel import BLUE, ORANGE, RED, Query

_QUANTILES: Final = ((0.5, "half"), (0.95, "95%"), (0.99, "99%"))
QUANTILE_COLOURS: Final = (("half", BLUE), ("95%", ORANGE), ("99%", RED))


def rate(counter: str, matchers: str, *by: str) -> str:
    """What came a second, by labels."""
    return f"sum{_by(by)} (rate({counter}{{{matchers}}}[{RATE}]))"


def quantile(share: float, histogram: str, matchers: str, *by: str) -> str:
    """The value that this share of the observations did not exceed. `histogram` is the family's name."""
    inner = f"sum by ({', '.join(('le', *by))}) (rate({histogram}_bucket{{{matchers}}}[{RATE}]))"
    return f"histogram_quantile({share:g}, {inner})"


def quantiles(histogram: str, matchers: str) -> tuple[Query, ...]:
    """The median and what is beyond it, of all together."""
    return tuple(Query(quantile(share, histogram, matchers), name) for share, name in _QUANTILES)


def mean(histogram: str, matchers: str, *by: str) -> str:
    """The mean of what was observed."""
    return f"{rate(f'{histogram}_sum', matchers, *by)} / {rate(f'{histogram}_count', matchers, *by)}"


def nothing(label: str) -> str:
    """A zero whose label says "none": that nothing happened is seen, and is not the same as that nobody knows."""
    return f'label_replace(vector(0), "{label}", "none", "", "")'


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""
