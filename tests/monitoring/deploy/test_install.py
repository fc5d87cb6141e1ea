"""One command writes all that watches over an installation, with links and numbers of its own."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from support.service_process import run_to_end
from tidegate.core.domain.errors import ConfigurationError
from tidegate.monitoring import ALERTMANAGER_FILE, RUNBOOKS_FOLDER
from tidegate.monitoring.dashboards.boards import BOARDS
from tidegate.monitoring.export import set_thresholds


def install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return run_to_end(folder.parent, "monitoring", "export", "--into", str(folder), *arguments)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("etc") / "tidegate"
    done = install(
        folder,
        *(
            "--job",
            "gate",
            "--grafana-url",
            "https://grafana.example",
            "--runbooks-url",
            "https://git.example/runbooks",
        ),
        *("--threshold", "QUEUE_WAIT_P95_WARNING_SECONDS=20", "--threshold", "REFUSED_LEAST=7"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_links_and_the_job_are_those_that_were_given(installed: Path) -> None:
    alerts = (installed / "rules/tidegate-alerts.yml").read_text()
    assert 'up{job="gate"}' in alerts
    assert "runbook_url: https://git.example/runbooks/TidegateDown.md" in alerts
    assert "dashboard_url: https://grafana.example/d/tidegate-" in alerts
    assert "localhost" not in alerts
    overview = json.loads((installed / "dashboards/tidegate-overview.json").read_text())
    (runbooks,) = (each for each in overview["templating"]["list"] if each["name"] == "runbooks")
    assert runbooks["query"] == "https://git.example/runbooks"


def test_alerts_and_panels_have_the_numbers_that_were_given(installed: Path) -> None:
    rules = yaml.safe_load((installed / "rules/tidegate-alerts.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert any('p95_5m{class!="batch"} > 20\n' in expr and 'le="20.0"' in expr for expr in expressions)
    assert any("refused_total[10m])) >= 7\n" in expr for expr in expressions)
    limiter = json.loads((installed / "dashboards/tidegate-limiter.json").read_text())
    (panel,) = (each for each in limiter["panels"] if each["title"] == "Queue wait by class, p95")
    assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, 20.0, 60.0]


def test_the_written_files_are_complete_and_valid(installed: Path) -> None:
    rules = sorted((installed / "rules").iterdir())
    assert [path.name for path in rules] == ["tidegate-alerts.yml", "tidegate-recording.yml"]
    subprocess.run(["promtool", "check", "rules", *rules], check=True, timeout=60)
    subprocess.run(["amtool", "check-config", installed / "alertmanager.yml"], check=True, timeout=60)
    assert {path.stem for path in (installed / "dashboards").iterdir()} == {board.link.uid for board in BOARDS}
    assert (installed / "alertmanager.yml").read_text() == ALERTMANAGER_FILE.read_text()
    for runbook in RUNBOOKS_FOLDER.iterdir():
        assert (installed / "runbooks" / runbook.name).read_text() == runbook.read_text()


def test_without_a_place_for_runbooks_links_lead_to_those_that_were_written(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    alerts = (tmp_path / "rules/tidegate-alerts.yml").read_text()
    assert f"runbook_url: {tmp_path}/runbooks/TidegateDown.md" in alerts
    assert install(tmp_path).returncode == 0, "it may be run again"


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("QUEUE_WAIT_P95_WARNING_SECONDS=soon", "allowed is numbers above 0 and below inf"),
        ("REFUSED_LEAST=1.5", "allowed is whole numbers above 0"),
        ("REFUSED_LEAST=0", "allowed is whole numbers above 0"),
        ("AVAILABILITY_TARGET=1", "allowed is numbers above 0 and below 1"),
        ("BURN_WINDOWS=3", "allowed is NAME=VALUE with a name of "),
        ("INVENTED=3", "allowed is NAME=VALUE with a name of "),
    ],
)
def test_the_error_of_an_invalid_threshold_names_what_is_allowed(setting: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError, match=allowed):
        set_thresholds([setting])


def test_a_threshold_between_bucket_bounds_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    done = install(tmp_path / "new", "--threshold", "QUEUE_WAIT_P95_WARNING_SECONDS=15")
    assert done.returncode == 2
    assert "allowed are its bucket bounds (0.01, 0.5," in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = run_to_end(tmp_path, "monitoring", "export", "--into", "taken")
    assert done.returncode == 2
    assert done.stderr.startswith("tidegate: --into: got 'taken', allowed is a writable folder")
