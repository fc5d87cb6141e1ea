"""Dashboard "Models and upstream": responses, latency, tokens and cost by model."""

from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW
from tidegate.monitoring.dashboards.panel_types import heatmap, timeseries
from tidegate.monitoring.dashboards.queries import (
    Query,
    histogram,
    increase,
    nonzero_per_minute,
    or_zero,
    quantile,
    quantiles,
    rate,
    ratio,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["MODELS_BOARD"]

_BY_MODEL: Final = increase(catalogue.UPSTREAM_ATTEMPTS, by="model")
_USED: Final = f"({_BY_MODEL} > 0 or {increase(catalogue.TOKENS, by='model')} > 0)"
"""Excludes unused models, whose counters are 0. The tokens of a batch count without an attempt for its model."""
_KIND_COLOURS: Final = {
    "input": units.NEUTRAL,
    "output": units.WARNING,
    "cache_read": units.GOOD,
    "cache_creation": units.LIMITED,
}
_OTHER_5XX: Final = "=~50.|5xx"
"""5xx except 529, which has a column of its own."""


_ANSWERS: Final = Row(
    "Responses of Claude",
    (
        timeseries(
            "Attempts by status",
            "Includes retries. Mostly 200 is good. 401 and 403 are about our own key. 5xx: a status of a proxy. error:"
            " no connection, or broken off. deadline: the call's timeout expired. abandoned: its client disconnected.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.UPSTREAM_ATTEMPTS, by="status"), "{{status}}")],
            OVERVIEW,
            stacked=True,
            colours={
                "/^2/": units.GOOD,
                **units.FAILURES,
                "deadline": units.NEUTRAL,
                "abandoned": units.UNKNOWN,
            },
            shades={"/^40[13]$/": "yellow", "/^4(?!01|03|29)/": "light-blue"},
            no_value="No attempts",
            width=8,
        ),
        timeseries(
            "429s by dimension",
            "429s by exhausted limit. None is good. If only one dimension has any, its limit is lower than known, or"
            " shared with other clients. acceleration: the load grew too fast. unknown: Claude gave no details.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.RATE_LIMITED, by="pool, dimension"), "{{pool}} {{dimension}}")],
            LIMITER.by("pool"),
            stacked=True,
            shades=units.DIMENSIONS,
            no_value="No 429s",
            width=8,
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
            width=8,
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
            no_value="No calls",
            width=6,
        ),
        timeseries(
            "Time to first token, p95",
            "Streams only. A few seconds are good. Above the line, Claude is slow; other models may be faster.",
            units.SECONDS,
            [Query(quantile(0.95, catalogue.TIME_TO_FIRST_TOKEN, by="model"), "{{model}}", exemplars=True)],
            MODELS.by("model"),
            limits=((thresholds.FIRST_TOKEN_P95_SECONDS, units.WARNING),),
            no_value="No streams",
            width=6,
        ),
        heatmap(
            "Duration of attempts",
            "Distribution of durations. A steady band is good. A second band far above it is a timeout.",
            units.SECONDS,
            histogram(catalogue.UPSTREAM_DURATION),
            OVERVIEW,
            no_value="No attempts",
            width=6,
        ),
        timeseries(
            "Attempts: p50, p95, p99",
            "The distribution beside it in numbers. They depend on the length of responses. If p99 alone grows, a few"
            " calls hang; if p50 grows too, Claude is slow or responses are longer.",
            units.SECONDS,
            quantiles(catalogue.UPSTREAM_DURATION),
            OVERVIEW,
            no_value="No attempts",
            width=6,
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
            [Query(nonzero_per_minute(catalogue.TOKENS, by="kind"), "{{kind}}")],
            CALLERS,
            stacked=True,
            no_value="No tokens",
            colours=_KIND_COLOURS,
            width=8,
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
            width=8,
        ),
        timeseries(
            "Spend per hour, by model",
            "US dollars at list prices. Compare with previous days. A step without more tokens means a more expensive"
            " model, or a prompt cache that is no longer read.",
            units.DOLLARS,
            [Query(f"60 * {nonzero_per_minute(catalogue.COST_USD, by='model')}", "{{model}}")],
            MODELS.by("model"),
            stacked=True,
            no_value="No tokens",
            width=8,
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
                        or_zero(increase(catalogue.UPSTREAM_ATTEMPTS, by="model", status=status), _BY_MODEL),
                        units.EXACT_COUNT,
                        decimals=0,
                    )
                    for title, status in (
                        ("401, 403", "=~401|403"),
                        ("404", "404"),
                        ("429", "429"),
                        ("529", "529"),
                        ("Other 5xx", _OTHER_5XX),
                        ("No response", "error"),
                        ("Deadline", "deadline"),
                    )
                ),
                Column("Input", increase(catalogue.TOKENS, by="model", kind="input"), units.COUNT, decimals=1),
                Column(
                    "Cache reads", increase(catalogue.TOKENS, by="model", kind="cache_read"), units.COUNT, decimals=1
                ),
                Column("Output", increase(catalogue.TOKENS, by="model", kind="output"), units.COUNT, decimals=1),
                Column("Cost", increase(catalogue.COST_USD, by="model"), units.DOLLARS, decimals=2),
            ],
            {"model": MODELS.by("model")},
            CALLERS,
            sort_by="Attempts",
            widths={"model": 180},
            only=_USED,
            height=7,
            no_value="No attempts",
        ),
    ),
)

_WORKFLOWS: Final = Row(
    "Workflow generation",
    (
        timeseries(
            "Workflows by outcome",
            "ok and repaired are good. invalid, refused, truncated and failed: the caller got no document."
            " fallback: the first model failed, see its row in the table above.",
            units.PER_MINUTE,
            [
                Query(nonzero_per_minute(catalogue.WORKFLOWS, by="outcome"), "{{outcome}}"),
                Query(nonzero_per_minute(catalogue.FALLBACKS, by="reason"), "fallback: {{reason}}"),
            ],
            OVERVIEW,
            stacked=True,
            colours=units.WORKFLOW_OUTCOMES,
            shades={"/^fallback/": units.NEUTRAL},
            no_value="No workflows",
            width=24,
        ),
    ),
)

MODELS_BOARD: Final = Board(
    MODELS,
    "How does Claude respond, how fast, and where do the tokens go?",
    (_ANSWERS, _LATENCY, _TOKENS, _WORKFLOWS),
)
