"""Rules as values, and the YAML that Prometheus reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tidegate.monitoring.dashboards.links import Link
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["Alert", "Group", "Most", "Places", "Recording", "as_yaml", "beyond", "bucket", "duration", "share"]

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Places:
    """Where the links of alerts lead, and which scrape job they watch.

    Attributes:
        job: name of the scrape job, as in `prometheus.yml`.
        grafana_url: base URL of the Grafana that has the dashboards.
        runbooks_url: base URL of `service/tidegate/monitoring/runbooks`; as it is, a path in the repository.
    """

    job: str = "tidegate"
    grafana_url: str = "http://localhost:3000"
    runbooks_url: str = "service/tidegate/monitoring/runbooks"


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording rule; `name` is `level:metric:operations`, where `tidegate` stands for the level (by job)."""

    name: str
    expr: str

    def rule(self, _places: Places) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Most:
    """Whose part in a fault is the greatest, for alerts that are about all of a job: they say it, and link to it.

    Attributes:
        label: what is told apart: `caller`, `pool` or `dimension`.
        expr: a series for each, with `%q` for every label in `by`.
        by: labels of the alert that the series are of.
    """

    label: str
    expr: str
    by: tuple[str, ...]

    def template(self, text: str) -> str:
        """The text, with `.Labels` and `.Value` those of the one; nothing where there is none."""
        labels = " ".join(f"$labels.{label}" for label in self.by)
        query = f"topk(1, sum by ({self.label}) ({self.expr}))".replace('"', '\\"')
        return f'{{{{ with printf "{query}" {labels} | query }}}}{{{{ with first . }}}}{text}{{{{ end }}}}{{{{ end }}}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert rule.

    Attributes:
        name: in CamelCase; levels of one fault share it, and so its runbook, and inhibit each other.
        severity: `critical` wakes somebody, `warning` makes a ticket, `info` is only shown, `none` is no fault.
        expr: series that are there while the fault is.
        for_seconds: how long the fault lasts before the alert fires.
        summary: what is wrong, in one sentence without values.
        description: with values and units, in the template language of Prometheus.
        dashboard: where to look first.
        by: labels of the alert that filter the dashboard.
        keep_firing_seconds: how long it goes on after the fault, so that a flickering one is one alert.
        labels: further labels.
        most: whom the dashboard is filtered by, beside `by`.
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
    most: Most | None = None

    def rule(self, places: Places) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        filters = "&".join(f"var-{label}={{{{ $labels.{label} }}}}" for label in ("job", *self.by))
        if self.most:
            filters += self.most.template(f"&var-{self.most.label}={{{{ .Labels.{self.most.label} }}}}")
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr, "for": duration(self.for_seconds)}
        if self.keep_firing_seconds:
            rule["keep_firing_for"] = duration(self.keep_firing_seconds)
        rule["labels"] = {"severity": self.severity, **self.labels}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{places.runbooks_url}/{self.name}.md",
            "dashboard_url": f"{places.grafana_url}/d/{self.dashboard.uid}?{filters}",
        }
        return rule


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together, in order."""

    name: str
    rules: tuple[Recording | Alert, ...]


def duration(seconds: int) -> str:
    """A duration as PromQL writes it, in the largest unit that is whole: `10m`."""
    size, unit = next((size, unit) for size, unit in _UNITS if size == 1 or (seconds % size == 0 and seconds >= size))
    return f"{seconds // size}{unit}"


def share(part: str, whole: str, window_seconds: int, by: str) -> str:
    """Which share of one counter's growth is another's; nothing where the whole has not grown."""
    window = duration(window_seconds)
    return f"sum by ({by}) (increase({part}[{window}]))\n  / sum by ({by}) (increase({whole}[{window}]))"


def beyond(metric: Metric, bound: float, least: int, window_seconds: int, by: str, conditions: str = "") -> str:
    """Whether at least so many values of a histogram came above a bound of its buckets within a window.

    A percentile of few values says nothing: one slow call at night is the 99th of all.
    """

    def up_to(le: str) -> str:
        matchers = ",".join(filter(None, (conditions, f'le="{le}"')))
        return f"sum by ({by}) (increase({metric.name}_bucket{{{matchers}}}[{duration(window_seconds)}]))"

    return f"{up_to('+Inf')}\n  - {up_to(bucket(metric, bound))} >= {least}"


def bucket(metric: Metric, bound: float) -> str:
    """The value of `le` for a bound of a histogram's buckets.

    Raises:
        ValueError: it has no such bound, and cannot tell how many values are beyond it.
    """
    if bound not in metric.buckets:
        raise ValueError(
            f"{metric.name}: got the threshold {bound:g}, allowed are its buckets' bounds {metric.buckets}"
        )
    return str(float(bound))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class's
        """Never: a repeated value is written again."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(document: Mapping[str, Any]) -> str:
    """The same text each time, keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000)
