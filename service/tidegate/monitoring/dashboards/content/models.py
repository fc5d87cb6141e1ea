"""Dashboard "Models and upstream": responses, latency, tokens and cost by model."""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW
from tidegate.monitoring.dashboards.panel_types import heatmap, stat, timeseries
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import (
    Query,
    histogram,
    increase,
    nonzero_per_minute,
    or_zero,
    quantile,
    rate,
    ratio,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["MODELS_BOARD"]

_ATTEMPTS: Final = rate(catalogue.UPSTREAM_ATTEMPTS)
_BY_MODEL: Final = f"({increase(catalogue.UPSTREAM_ATTEMPTS, by='model')} > 0)"
"""Excludes unused models, whose counters are 0."""
_RETRY_WAIT_P95: Final = or_zero(
    f"{quantile(0.95, catalogue.RETRY_WAIT, by='reason')} >= 0",
    rate(catalogue.RETRY_WAIT, by="reason", suffix="_count"),
)
"""0 without retries, because the quantile of an empty histogram is NaN, which is not drawn."""
_KIND_COLOURS: Final = {
    "input": units.NEUTRAL,
    "output": units.WARNING,
    "cache_read": units.GOOD,
    "cache_creation": units.LIMITED,
}
_OTHER_5XX: Final = "=~50."
"""The upstream's 5xx except 529, which has its own panel."""


def _share(status: str) -> str:
    return ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status=status), _ATTEMPTS)


def _failure(title: str, description: str, status: str, warning: float, critical: float) -> Panel:
    return stat(
        title,
        description,
        units.SHARE,
        Query(_share(status)),
        LIMITER if status == "429" else OVERVIEW,
        steps=levels.rising(warning, critical),
        no_value="No attempts",
        decimals=1,
    )


_ANSWERS: Final = Row(
    "Responses of Claude",
    (
        stat(
            "Attempts",
            "Requests to Claude per second, including retries. As many as calls is good. Far more means that retries"
            " multiply the load.",
            units.PER_SECOND,
            Query(_ATTEMPTS),
            OVERVIEW,
        ),
        _failure(
            "429",
            "Share of attempts above the rate limits. Near zero is good, because Tidegate waits instead; otherwise see"
            " 429s by dimension.",
            "429",
            thresholds.RATE_LIMITED_SHARE_WARNING,
            thresholds.RATE_LIMITED_SHARE_CRITICAL,
        ),
        _failure(
            "529",
            "Share of attempts that failed because Claude was overloaded for all users. Zero is good; otherwise wait,"
            " or use another model.",
            "529",
            thresholds.OVERLOADED_SHARE_WARNING,
            thresholds.OVERLOADED_SHARE_CRITICAL,
        ),
        _failure(
            "Other 5xx",
            "Share of attempts with a server error other than 529. Zero is good; otherwise see status.claude.com.",
            _OTHER_5XX,
            thresholds.UPSTREAM_ERROR_SHARE_WARNING,
            thresholds.UPSTREAM_ERROR_SHARE_CRITICAL,
        ),
        _failure(
            "No response",
            "Share of attempts without a status: connection refused, broken or timed out. Zero is good; otherwise check"
            " the network.",
            "error",
            thresholds.UPSTREAM_ERROR_SHARE_WARNING,
            thresholds.UPSTREAM_ERROR_SHARE_CRITICAL,
        ),
        stat(
            "Spend caps hit",
            "Responses in the time range that report a reached spend cap. Zero is good; otherwise raise the cap.",
            units.COUNT,
            Query(increase(catalogue.SPEND_CAPPED), instant=True),
            CALLERS,
            decimals=0,
        ),
        timeseries(
            "Attempts by status",
            "Includes retries. Mostly 200 is good. Other statuses are shown separately above, and by dimension or"
            " reason below. deadline: the call's timeout expired. abandoned: its client disconnected.",
            units.PER_SECOND,
            [Query(f"{rate(catalogue.UPSTREAM_ATTEMPTS, by='status')} > 0", "{{status}}")],
            OVERVIEW,
            stacked=True,
            colours={
                "/^2/": units.GOOD,
                "429": units.LIMITED,
                "529": units.OVERLOADED,
                "/^50/": units.FAILED,
                "error": units.WARNING,
                "/deadline|abandoned/": units.NEUTRAL,
            },
            no_value="No attempts",
        ),
        timeseries(
            "429s by dimension",
            "429s by exhausted limit. None is good. If only one dimension has any, its limit is lower than known, or"
            " shared with other clients. acceleration: the load grew too fast. unknown: Claude gave no details.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.RATE_LIMITED, by="pool, dimension"), "{{pool}} {{dimension}}")],
            LIMITER.by("pool"),
            stacked=True,
            shades={"/.*/": units.LIMITED},
            no_value="No 429s",
        ),
        timeseries(
            "Retries by reason",
            "None is good. A few hide failures of Claude from callers, which is their purpose.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.RETRIES, by="reason"), "{{reason}}")],
            OVERVIEW,
            stacked=True,
            colours=units.RETRIES,
            no_value="No retries",
        ),
        timeseries(
            "Wait before retries, p95",
            "0 without retries. Seconds are good. Minutes mean that Claude asks for long waits with `retry-after`.",
            units.SECONDS,
            [Query(_RETRY_WAIT_P95, "{{reason}}")],
            OVERVIEW,
            colours=units.RETRIES,
            no_value="No retries",
        ),
    ),
)

_LATENCY: Final = Row(
    "Latency by part",
    (
        timeseries(
            "Parts of a call, p95",
            "Queue wait and overhead are Tidegate's, time to first token and attempt are Claude's, and the whole call"
            " is what programs see. An overhead of milliseconds is good. Percentiles do not add up.",
            units.SECONDS,
            [
                Query(quantile(0.95, catalogue.QUEUE_WAIT), "queue wait"),
                Query(quantile(0.95, catalogue.OVERHEAD), "overhead"),
                Query(quantile(0.95, catalogue.TIME_TO_FIRST_TOKEN), "time to first token"),
                Query(quantile(0.95, catalogue.UPSTREAM_DURATION), "one attempt"),
                Query(quantile(0.95, catalogue.REQUEST_DURATION), "whole call", exemplars=True),
            ],
            LIMITER,
            logarithmic=True,
        ),
        timeseries(
            "Time to first token, p95",
            "Streams only. A few seconds are good. Above the line, Claude is slow; other models may be faster.",
            units.SECONDS,
            [Query(quantile(0.95, catalogue.TIME_TO_FIRST_TOKEN, by="model"), "{{model}}", exemplars=True)],
            MODELS.by("model"),
            limits=((thresholds.FIRST_TOKEN_P95_SECONDS, units.WARNING),),
            no_value="No streams",
        ),
        heatmap(
            "Duration of attempts",
            "Distribution of durations. A steady band is good. A second band far above it is a timeout.",
            units.SECONDS,
            histogram(catalogue.UPSTREAM_DURATION),
            OVERVIEW,
            no_value="No attempts",
        ),
        timeseries(
            "Duration of attempts, quantiles",
            "Quantiles of the heatmap. Long responses take long: compare with output tokens.",
            units.SECONDS,
            [
                Query(quantile(0.99, catalogue.UPSTREAM_DURATION), "p99", exemplars=True),
                Query(quantile(0.95, catalogue.UPSTREAM_DURATION), "p95"),
                Query(quantile(0.5, catalogue.UPSTREAM_DURATION), "p50"),
            ],
            OVERVIEW,
        ),
    ),
)

_TOKENS: Final = Row(
    "Where the tokens go",
    (
        timeseries(
            "Tokens by kind",
            "Much green is good: cache reads cost at most a tenth of input and use no quota. A batch counts when its"
            " results are downloaded.",
            units.TOKENS_PER_MINUTE,
            [Query(f"60 * {rate(catalogue.TOKENS, by='kind')}", "{{kind}}")],
            CALLERS,
            stacked=True,
            colours=_KIND_COLOURS,
        ),
        timeseries(
            "Cache leverage",
            "Share of input tokens read from the prompt cache, by model. High is good if prompts repeat. A drop means"
            " that the start of prompts changes from call to call.",
            units.SHARE,
            [
                Query(
                    ratio(
                        rate(catalogue.TOKENS, by="model", kind="cache_read"),
                        rate(catalogue.TOKENS, by="model", kind="!=output"),
                    ),
                    "{{model}}",
                )
            ],
            MODELS.by("model"),
            max_value=1,
            no_value="No tokens",
        ),
        timeseries(
            "Spend per hour, by model",
            "US dollars at list prices. Compare with previous days. A step without more tokens means a more expensive"
            " model, or a prompt cache that is no longer read.",
            units.DOLLARS,
            [Query(f"60 * {nonzero_per_minute(catalogue.COST_USD, by='model')}", "{{model}}")],
            MODELS.by("model"),
            stacked=True,
        ),
        timeseries(
            "Tokens without a price",
            "None is good. Otherwise a model is missing in prices.toml, and all costs are too low.",
            units.TOKENS_PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.UNPRICED_TOKENS, by="model"), "{{model}}")],
            MODELS.by("model"),
            no_value="Every model has a price",
        ),
        table(
            "Models in the time range",
            "Failures of one model only are that model's; failures of all are Claude's. Click a model to filter by it."
            " none: calls without a model.",
            {"model": "Model"},
            [
                Column("Attempts", _BY_MODEL, units.EXACT_COUNT, decimals=0),
                *(
                    Column(
                        title,
                        f"({or_zero(increase(catalogue.UPSTREAM_ATTEMPTS, by='model', status=status), _BY_MODEL)})"
                        f" and {_BY_MODEL}",
                        units.EXACT_COUNT,
                        decimals=0,
                    )
                    for title, status in (
                        ("429", "429"),
                        ("529", "529"),
                        ("Other 5xx", _OTHER_5XX),
                        ("No response", "error"),
                    )
                ),
                Column("Input", increase(catalogue.TOKENS, by="model", kind="input"), units.COUNT, decimals=1),
                Column(
                    "Cache reads", increase(catalogue.TOKENS, by="model", kind="cache_read"), units.COUNT, decimals=1
                ),
                Column("Output", increase(catalogue.TOKENS, by="model", kind="output"), units.COUNT, decimals=1),
                Column(
                    "Cost", f"{increase(catalogue.COST_USD, by='model')} and {_BY_MODEL}", units.DOLLARS, decimals=2
                ),
            ],
            {"model": MODELS.by("model")},
            CALLERS,
            sort_by="Attempts",
            height=7,
        ),
    ),
)

_WORKFLOWS: Final = Row(
    "Workflow generation",
    (
        timeseries(
            "Workflows by outcome",
            "ok and repaired are good. invalid, refused, truncated and failed: the caller got no document.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.WORKFLOWS, by="outcome"), "{{outcome}}")],
            OVERVIEW,
            stacked=True,
            colours={"ok": units.GOOD, "repaired": "yellow", "failed": units.FAILED, "invalid": units.WARNING},
            no_value="No workflows",
        ),
        timeseries(
            "Fallbacks by reason",
            "None is good. Otherwise the first model fails: see its row in the table above.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.FALLBACKS, by="reason"), "{{reason}}")],
            OVERVIEW,
            stacked=True,
            no_value="No fallbacks",
        ),
    ),
)

MODELS_BOARD: Final = Board(
    MODELS,
    "How does Claude respond, how fast, and where do the tokens go?",
    (_ANSWERS, _LATENCY, _TOKENS, _WORKFLOWS),
)
