from collections.abc import Callable
from pathlib import Path

import tidegate.observe
from tidegate.observe.metrics.catalogue import CATALOGUE

START, END = "<!-- metrics: start -->\n", "<!-- metrics: end -->\n"


def test_the_table_of_metrics_is_the_catalogue(golden: Callable[[Path, str], None]) -> None:
    readme = Path(tidegate.observe.__file__).with_name("README.md")
    before, _, rest = readme.read_text().partition(START)
    _, _, after = rest.partition(END)
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(metric.labels) or '–'} | {metric.help} |\n"
        for metric in CATALOGUE
    ]

    golden(
        readme,
        "".join([before, START, "| name | type | labels | meaning |\n| --- | --- | --- | --- |\n", *rows, END, after]),
    )
