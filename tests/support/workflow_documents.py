"""The workflow documents under `tests/data/workflows`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml import CSafeLoader  # several times faster than `SafeLoader`

_DATA = Path(__file__).parents[1] / "data" / "workflows"

HEADER = {"dsl": "1.0.0", "namespace": "tests", "name": "sample", "version": "0.1.0"}


@dataclass(frozen=True, slots=True)
class FaultyDocument:
    """A document of a data file with its expected findings, each as "path: message"."""

    name: str
    document: dict[str, Any]
    findings: tuple[str, ...]


def valid_documents() -> dict[str, dict[str, Any]]:
    """Return every valid sample by its name."""
    documents = [
        document
        for file in sorted((_DATA / "valid").glob("*.yaml"))
        for document in yaml.load_all(file.read_text(encoding="utf-8"), CSafeLoader)  # a safe loader
    ]
    named = {document["document"]["name"]: document for document in documents}
    assert len(named) == len(documents), "two valid samples have the same name"
    return named


def faulty_documents(file_name: str, version: str = "1.0.0") -> list[FaultyDocument]:
    """Return the samples of a file, with a header for a version of the DSL where they have none."""
    entries = yaml.load((_DATA / file_name).read_text(encoding="utf-8"), CSafeLoader)  # a safe loader
    return [
        FaultyDocument(
            entry["name"],
            entry["workflow"]
            if entry["name"] == "no-document"
            else {"document": {**HEADER, "dsl": version}, **entry["workflow"]},
            tuple(entry["findings"]),
        )
        for entry in entries
    ]


def published_examples(version: str) -> dict[str, dict[str, Any]]:
    """Return the examples that the specification publishes for a version of the DSL, by file name."""
    return {
        file.stem: yaml.load(file.read_text(encoding="utf-8"), _Yaml12Loader)  # noqa: S506  # a safe loader
        for file in sorted((_DATA / "specification" / version).glob("*.yaml"))
    }


class _Yaml12Loader(CSafeLoader):
    """Reads only `true` and `false` as booleans, as YAML 1.2 does, and not the key `on`."""


_Yaml12Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if letter in "tTfF" or tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in CSafeLoader.yaml_implicit_resolvers.items()
}
