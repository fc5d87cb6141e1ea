"""Calls about objects of the API, as the Python SDK makes them: which routes there are, and what creates an object."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2

CALL = re.compile(r'self\._(get|post|put|patch|delete|get_api_list)\(\s*(?:path_template\(\s*)?"(/v1/[^"?]+)')
MODELS = {"/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/{model_id}"}
BATCH = {"requests": [{"custom_id": "a", "params": {"model": "claude-haiku-5-5", "max_tokens": 5, "messages": []}}]}
BATCH["requests"][0]["params"]["messages"] = [{"role": "user", "content": "Hi"}]  # type: ignore[index]
CREATED = (
    *("messages/batches", "files", "skills", "agents", "sessions", "environments", "vaults", "memory_stores"),
    *("deployments", "dreams", "user_profiles", "tunnels"),
)
"""The collections that a call creates objects in."""
HEADERS = {"anthropic-version": "2026-10-21", "x-simulator-batch-seconds": "0"}


def object_routes() -> Iterator[tuple[str, str]]:
    """Method and path of each call of the SDK that is about objects. Ids are in braces."""
    resources = Path(anthropic.__file__).parent / "resources"
    found = {
        ("GET" if method == "get_api_list" else method.upper(), path)
        for file in resources.rglob("*.py")
        for method, path in CALL.findall(file.read_text(encoding="utf-8"))
    }
    found.add(("GET", "/v1/messages/batches/{message_batch_id}/results"))  # by the URL in the batch
    yield from sorted((method, path) for method, path in found if path not in MODELS and "/organizations" not in path)


def create(client: httpx2.Client, collection: str) -> dict[str, Any]:
    """Create an object; returns its description."""
    upload: dict[str, Any] = {"files": [("files" if collection == "skills" else "file", ("a.txt", b"text"))]}
    is_form = collection in {"files", "skills"}
    given = upload if is_form else {"json": BATCH if collection == "messages/batches" else {"name": "x"}}
    answer = client.post(f"/v1/{collection}", **given)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def all_ids(client: httpx2.Client, collection: str, limit: int | None = None) -> list[str]:
    """The ids on all pages of a list."""
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        limited = {} if limit is None else {"limit": limit}
        answer = client.get(f"/v1/{collection}", params={**limited, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert limit is None or len(page["data"]) <= limit
        found += [item["id"] for item in page["data"]]
        if page.get("next_page"):
            cursor = {"page": page["next_page"]}
        elif page.get("has_more"):
            cursor = {"after_id": page["last_id"]}
        else:
            return found
