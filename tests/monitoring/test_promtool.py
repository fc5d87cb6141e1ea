import shutil
import subprocess

from prometheus_client import CollectorRegistry

from support.scrape import scrape


def test_promtool_finds_nothing_to_mend(registry: CollectorRegistry) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing; on Debian: apt-get install --no-install-recommends prometheus"
    # promtool 2.53 reads the plain text format only.
    text = scrape(registry, "text/plain")

    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
