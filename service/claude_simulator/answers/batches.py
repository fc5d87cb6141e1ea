"""Message Batches. Pure: time is an argument.

Source: the Anthropic Python SDK 2.12.0 (`types/messages/message_batch.py` and its neighbours), Claude Platform Docs
"Batch processing". A batch ends a fixed time after its creation, all requests at once; a cancelled one when it is next
read. Only the size of batches is limited, and they use no prompt cache.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from claude_simulator.answers.answers import compose_answer
from claude_simulator.answers.cache import InputUse
from claude_simulator.answers.message_format import MessageMetadata, message_json
from claude_simulator.errors import ApiError, invalid_request
from claude_simulator.limits.headers import rfc3339
from claude_simulator.requests.prompt import check_context, prompt_blocks
from claude_simulator.requests.validation import check_messages

MAX_REQUESTS: Final = 100_000
MAX_STORED_BATCHES: Final = 100
_LIFE_SECONDS: Final = 24 * 3_600
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(slots=True)
class Batch:
    """One batch; times in Unix seconds."""

    id: str
    requests: list[dict[str, Any]]
    version: str
    beta: bool
    created_seconds: float
    ends_seconds: float
    cancelled_seconds: float | None = None
    ended_seconds: float | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def refresh(self, now_seconds: float) -> None:
        """Ends the batch if it is due."""
        if self.ended_seconds is not None:
            return
        if self.cancelled_seconds is not None or now_seconds >= self.ends_seconds:
            self.ended_seconds = now_seconds
            self.counts = {"succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
            for result in self.results():
                self.counts[result["result"]["type"]] += 1

    def cancel(self, now_seconds: float) -> None:
        """Cancels the batch.

        Raises:
            ApiError: 400, it has already ended.
        """
        if self.ended_seconds is not None:
            raise invalid_request(f"Batch {self.id} has ended and cannot be canceled")
        if self.cancelled_seconds is None:
            self.cancelled_seconds = now_seconds

    def results(self) -> Iterator[dict[str, Any]]:
        """Computes the result of each request, in order; always the same."""
        for number, request in enumerate(self.requests):
            yield {"custom_id": request["custom_id"], "result": self._result(number, request["params"])}

    def info(self, url: str) -> dict[str, Any]:
        """The batch as JSON; `url` is the base of `results_url`."""
        ended = self.ended_seconds is not None
        status = "ended" if ended else "in_progress" if self.cancelled_seconds is None else "canceling"
        zero = {"succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": 0 if ended else len(self.requests), **zero, **self.counts},
            "ended_at": _rfc3339_or_none(self.ended_seconds),
            "created_at": rfc3339(self.created_seconds),
            "expires_at": rfc3339(self.created_seconds + _LIFE_SECONDS),
            "archived_at": None,
            "cancel_initiated_at": _rfc3339_or_none(self.cancelled_seconds),
            "results_url": f"{url}/v1/messages/batches/{self.id}/results" if ended else None,
        }

    def _result(self, number: int, params: dict[str, Any]) -> dict[str, Any]:
        if self.cancelled_seconds is not None:
            return {"type": "canceled"}
        request_id = f"req_{self.id.removeprefix('msgbatch_')}_{number}"
        try:
            request = check_messages(params, version=self.version, beta=self.beta)
            blocks = prompt_blocks(params, request.model)
            check_context(blocks, request.model)
            answer = compose_answer(request, fault=None, output_tokens=None)
        except ApiError as error:
            return {"type": "errored", "error": json.loads(error.body(request_id))}
        tokens = sum(block.tokens for block in blocks)
        shell = MessageMetadata(request_id.replace("req_", "msg_"), request.model.id, InputUse(uncached=tokens))
        message = message_json(shell, answer)
        message["usage"]["service_tier"] = "batch"
        return {"type": "succeeded", "message": message}


def check_batch(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the requests of a body that creates a batch. Their `params` are validated when it is processed.

    Raises:
        ApiError: 400; the message names the path, the value and what is allowed.
    """
    requests = body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= MAX_REQUESTS:
        raise invalid_request(f"requests: a list of 1 to {MAX_REQUESTS} requests is required")
    custom_ids: set[str] = set()
    for number, request in enumerate(requests):
        path = f"requests.{number}"
        custom_id = request.get("custom_id") if isinstance(request, dict) else None
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise invalid_request(f"{path}.custom_id: {custom_id!r} was given; 1 to 64 of a-z, A-Z, 0-9, _ and - are")
        if custom_id in custom_ids:
            raise invalid_request(f"{path}.custom_id: {custom_id!r} was given twice")
        if not isinstance(request.get("params"), dict):
            raise invalid_request(f"{path}.params: Field required")
        if request["params"].get("stream"):
            raise invalid_request(f"{path}.params.stream: true was given; a batch does not stream")
        if request["params"].get("max_tokens") == 0:
            raise invalid_request(f"{path}.params.max_tokens: 0 was given; a whole number from 1 is allowed in a batch")
        if request["params"].get("speed") is not None:
            raise invalid_request(f"{path}.params.speed: Extra inputs are not permitted in a batch")
        custom_ids.add(custom_id)
    return requests


class BatchStore:
    """The batches of one simulated API. Above `MAX_STORED_BATCHES` the oldest is dropped."""

    def __init__(self) -> None:
        self._batches: dict[str, Batch] = {}

    def add(self, batch: Batch) -> None:
        """Stores a batch."""
        if len(self._batches) >= MAX_STORED_BATCHES:
            del self._batches[next(iter(self._batches))]
        self._batches[batch.id] = batch

    def find(self, batch_id: str, now_seconds: float) -> Batch:
        """Looks up a batch by its id, and refreshes it.

        Raises:
            ApiError: 404, it does not exist.
        """
        batch = self._batches.get(batch_id)
        if batch is None:
            raise ApiError(404, "not_found_error", f"Batch not found: {batch_id[:80]}")
        batch.refresh(now_seconds)
        return batch

    def remove(self, batch: Batch) -> None:
        """Deletes a batch.

        Raises:
            ApiError: 400, it has not ended.
        """
        if batch.ended_seconds is None:
            raise invalid_request(f"Batch {batch.id} has not ended; cancel it before you delete it")
        del self._batches[batch.id]

    def all(self, now_seconds: float) -> list[Batch]:
        """All batches, refreshed, newest first."""
        for batch in self._batches.values():
            batch.refresh(now_seconds)
        return list(reversed(self._batches.values()))


def _rfc3339_or_none(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else rfc3339(unix_seconds)
