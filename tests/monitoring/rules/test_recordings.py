"""Recording rules compute shares and sums over replicas correctly, by hand-made series."""

from pathlib import Path

from support.project import ROOT
from support.promtool import check_values

RULES = ROOT / "deploy/prometheus/rules/tidegate-recording.yml"
SERIES = {
    # The lead changes between two replicas, and the leader counts the limit. Each charges half of what was used.
    'tidegate_quota_granted_total{job="t",instance="a",pool="p",dimension="requests"}': "0+100x40",
    'tidegate_quota_granted_total{job="t",instance="b",pool="p",dimension="requests"}': "_x40 0+100x20",
    'tidegate_quota_charged_total{job="t",instance="a",pool="p",dimension="requests"}': "0+30x60",
    'tidegate_quota_charged_total{job="t",instance="b",pool="p",dimension="requests"}': "0+30x60",
    # Two replicas without a shared store: each knows the limit of 600 per minute, and both together use half of it.
    'tidegate_quota_granted_total{job="t",instance="a",pool="q",dimension="requests"}': "0+600x60",
    'tidegate_quota_granted_total{job="t",instance="b",pool="q",dimension="requests"}': "0+600x60",
    'tidegate_quota_charged_total{job="t",instance="a",pool="q",dimension="requests"}': "0+100x60",
    'tidegate_quota_charged_total{job="t",instance="b",pool="q",dimension="requests"}': "0+200x60",
    'tidegate_limit_per_minute{job="t",instance="a",pool="q",dimension="requests",source="upstream"}': "600x60",
    'tidegate_limit_per_minute{job="t",instance="b",pool="q",dimension="requests",source="upstream"}': "600x60",
    'tidegate_queue_depth{job="t",instance="a",pool="p",class="batch"}': "2x60",
    'tidegate_queue_depth{job="t",instance="b",pool="p",class="batch"}': "3x60",
    'tidegate_cost_usd_total{job="t",instance="a",model="m",caller="x"}': "0+0.5x60",
    'tidegate_cost_usd_total{job="t",instance="a",model="m",caller="y"}': "0+1x60",
    'tidegate_requests_total{job="t",route="/v1/messages",outcome="ok"}': "0+998x60",
    'tidegate_failed_calls_total{job="t",pool="p"}': "0+2x60",
    'tidegate_requests_total{job="t",route="/v1/messages",outcome="rate_limited"}': "0+500x60",
    'tidegate_requests_total{job="t",route="/api/system/ai-client/status",outcome="ok"}': "0+500x60",
    'tidegate_requests_total{job="t",route="/v1/messages",outcome="client_error"}': "0+500x60",
    'tidegate_refused_total{job="t",cause="deadline"}': "0+500x60",
    'tidegate_queue_wait_seconds_bucket{job="t",pool="p",class="standard",le="10.0"}': "0+98x60",
    'tidegate_queue_wait_seconds_bucket{job="t",pool="p",class="standard",le="+Inf"}': "0+100x60",
    'tidegate_queue_wait_seconds_count{job="t",pool="p",class="standard"}': "0+100x60",
}
EXPECTED = {
    'round(tidegate:quota_used:ratio_rate5m{pool="p"}, 0.0001)': ('{job="t",pool="p",dimension="requests"}', 0.6),
    'round(tidegate:quota_used:ratio_rate5m{pool="q"}, 0.0001)': ('{job="t",pool="q",dimension="requests"}', 0.5),
    "tidegate:queue_depth:sum": ('tidegate:queue_depth:sum{job="t",pool="p",class="batch"}', 5),
    "round(tidegate:cost_usd:increase1h, 0.0001)": ('{job="t"}', 90),
    "round(tidegate:availability_bad:ratio_rate1h, 0.0001)": ('{job="t"}', 0.002),
    "round(tidegate:availability_budget:remaining30d, 0.0001)": ('{job="t"}', 0.6),
    "round(tidegate:latency_bad:ratio_rate5m, 0.0001)": ('{job="t"}', 0.02),
    "round(tidegate:latency_budget:remaining30d, 0.0001)": ('{job="t"}', 0.6),
}


def test_recordings(tmp_path: Path) -> None:
    check_values(tmp_path, SERIES, {expr: [sample] for expr, sample in EXPECTED.items()}, [RULES])
