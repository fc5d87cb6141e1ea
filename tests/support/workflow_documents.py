"""The workflow documents under `tests/data/workflows`, and the SDK's opinion on documents."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

_TESTS = Path(__file__).parents[1]
_DATA = _TESTS / "data" / "workflows"
_NODE = _TESTS / "node"

HEADER = {"dsl": "1.0.0", "namespace": "tests", "name": "sample", "version": "0.1.0"}


@dataclass(frozen=True, slots=True)
class FaultyDocument:
    """A document of a data file with what is to be found in it, each as «path: message»."""

    name: str
    document: dict[str, Any]
    findings: tuple[str, ...]


def valid_documents() -> dict[str, dict[str, Any]]:
    """Return every valid sample by its name."""
    documents = [
        document
        for file in sorted((_DATA / "valid").glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]
    named = {document["document"]["name"]: document for document in documents}
    assert len(named) == len(documents), "two valid samples have the same name"
    return named


def faulty_documents(file_name: str) -> list[FaultyDocument]:
    """Return the samples of `schema-breaks.yaml` or `semantic-faults.yaml`, with a header where it has none."""
    entries = yaml.safe_load((_DATA / file_name).read_text(encoding="utf-8"))
    return [
        FaultyDocument(
            entry["name"],
            entry["workflow"] if entry["name"] == "no-document" else {"document": HEADER, **entry["workflow"]},
            tuple(entry["findings"]),
        )
        for entry in entries
    ]


def sdk_complaints(documents: Sequence[object]) -> list[str | None]:
    """Return `None` for each document that the Serverless Workflow SDK accepts, else its message; by one process."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("node is missing; install Node.js 20 or newer (Debian: apt-get install nodejs npm)")
    if not (_NODE / "node_modules" / "@serverlessworkflow" / "sdk").is_dir():
        pytest.fail("tests/node/node_modules is missing; run: npm ci --prefix tests/node")
    finished = subprocess.run(
        [node, "check-workflows.mjs"],
        cwd=_NODE,
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    complaints: list[str | None] = json.loads(finished.stdout)
    return complaints
