"""Types of rules, PromQL helpers, and rendering as YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tidegate.monitoring import RUNBOOKS_URL
from tidegate.monitoring.dashboards.links import Link
from tidegate.observe.metrics.catalogue import Metric

__all__ = [
    "Alert",
    "Group",
    "Installation",
    "Recording",
    "TopContributor",
    "as_yaml",
    "bucket",
    "duration",
    "enough_above",
    "frequent",
    "quantile",
]

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Installation:
    """The parts of rules that differ between installations.

    Attributes:
        job: name of the scrape job in `prometheus.yml`.
        grafana_url: base URL of Grafana.
        runbooks_url: base URL of the runbooks; default: their path in the repository.
    """

    job: str = "tidegate"
    grafana_url: str = "http://localhost:3000"
    runbooks_url: str = RUNBOOKS_URL


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule. `name` is `level:metric:operations`; the level `tidegate` aggregates by job."""

    name: str
    expr: str

    def rule(self, _places: Installation) -> dict[str, Any]:
        """The rule as a YAML document."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class TopContributor:
    """The label value that contributes most to a fault. The alert's description names it, and its link filters by it.

    Attributes:
        label: `caller`, `pool` or `dimension`.
        expr: one series per value, with `%q` for each label in `by`.
        by: labels of the alert that select the series.
    """

    label: str
    expr: str
    by: tuple[str, ...]

    def template(self, text: str) -> str:
        """A template of the text, with `.Labels` and `.Value` of the top series; empty if there is none."""
        labels = " ".join(f"$labels.{label}" for label in self.by)
        query = f"topk(1, sum by ({self.label}) ({self.expr}))".replace('"', '\\"')
        return f'{{{{ with printf "{query}" {labels} | query }}}}{{{{ with first . }}}}{text}{{{{ end }}}}{{{{ end }}}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert rule.

    Attributes:
        name: in CamelCase. Severities of one fault share the name and the runbook, and the higher inhibits the lower.
        severity: `critical` pages, `warning` opens a ticket, `info` is only shown, `none` is no fault.
        expr: returns series while the fault is present.
        for_seconds: how long the fault must be present before the alert fires.
        summary: the fault in one sentence without values.
        description: the fault with values and units, in Prometheus' template language.
        dashboard: the dashboard to look at first.
        by: labels of the alert that filter the dashboard.
        keep_firing_seconds: how long the alert continues after the fault, so that a flapping fault is one alert.
        labels: further labels.
        top: a contributor that also filters the dashboard.
    """

    name: str
    severity: str
    expr: str
    for_seconds: int
    summary: str
    description: str
    dashboard: Link
    by: tuple[str, ...] = ()
    keep_firing_seconds: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    top: TopContributor | None = None

    def rule(self, installation: Installation) -> dict[str, Any]:
        """The rule as a YAML document."""
        filters = "&".join(f"var-{label}={{{{ $labels.{label} }}}}" for label in ("job", *self.by))
        if self.top:
            filters += self.top.template(f"&var-{self.top.label}={{{{ .Labels.{self.top.label} }}}}")
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr, "for": duration(self.for_seconds)}
        if self.keep_firing_seconds:
            rule["keep_firing_for"] = duration(self.keep_firing_seconds)
        rule["labels"] = {"severity": self.severity, **self.labels}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{installation.runbooks_url}/{self.name}.md",
            "dashboard_url": f"{installation.grafana_url}/d/{self.dashboard.uid}?{filters}",
        }
        return rule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates in sequence."""

    name: str
    rules: tuple[Recording | Alert, ...]


def duration(seconds: int) -> str:
    """A PromQL duration in the largest unit that divides it: `10m`."""
    size, unit = next((size, unit) for size, unit in _UNITS if size == 1 or (seconds % size == 0 and seconds >= size))
    return f"{seconds // size}{unit}"


def share(part: str, whole: str, window_seconds: int, by: str) -> str:
    """The increase of one counter as a share of another's; empty if the latter has not increased."""
    window = duration(window_seconds)
    return f"sum by ({by}) (increase({part}[{window}]))\n  / sum by ({by}) (increase({whole}[{window}]))"


def frequent(
    part: str, whole: str, threshold: float, *, least: int, window_seconds: int, recent_seconds: int, by: str
) -> str:
    """Condition: one counter exceeds a share of another in a window.

    It must also have counted at least `least` events in the window, and one within `recent_seconds`.
    """
    return (
        f"{share(part, whole, window_seconds, by)} > {threshold}\n"
        f"and sum by ({by}) (increase({part}[{duration(window_seconds)}])) >= {least}\n"
        f"and sum by ({by}) (increase({part}[{duration(recent_seconds)}])) > 0"
    )


def quantile(level: float, metric: Metric, by: str, window: str, conditions: str = "") -> str:
    """A quantile of a histogram. `conditions` are matchers of labels."""
    series = f"{metric.name}_bucket{{{conditions}}}" if conditions else f"{metric.name}_bucket"
    return f"histogram_quantile(\n  {level},\n  sum by ({by}, le) (rate({series}[{window}]))\n)"


def enough_above(metric: Metric, bound: float, least: int, window_seconds: int, by: str, conditions: str = "") -> str:
    """Condition: a histogram has at least `least` values above a bucket bound in a window.

    It guards percentile alerts, because a percentile of few values means nothing.
    """

    def up_to(le: str) -> str:
        matchers = ",".join(filter(None, (conditions, f'le="{le}"')))
        return f"sum by ({by}) (increase({metric.name}_bucket{{{matchers}}}[{duration(window_seconds)}]))"

    return f"{up_to('+Inf')}\n  - {up_to(bucket(metric, bound))} >= {least}"


def bucket(metric: Metric, bound: float) -> str:
    """The label value of `le` for a bucket bound.

    Raises:
        ValueError: the histogram has no such bound.
    """
    if bound not in metric.buckets:
        raise ValueError(f"{metric.name}: got the threshold {bound:g}, allowed are its bucket bounds {metric.buckets}")
    return str(float(bound))


class _Dumper(yaml.SafeDumper):
    """Writes multi-line texts as blocks, and repeated values without anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # overrides the base class
        """Disables anchors."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(document: Mapping[str, Any]) -> str:
    """Deterministic YAML, with keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000)
