"""The one check of a workflow document: schema first, then meaning."""

from pydantic import ValidationError

from tidegate.generation.dsl.findings import Finding, finding_of
from tidegate.generation.dsl.json_values import find_non_json
from tidegate.generation.dsl.semantics.expressions import check_expressions
from tidegate.generation.dsl.semantics.flow import check_flow
from tidegate.generation.dsl.semantics.references import check_references
from tidegate.generation.dsl.semantics.times import check_times
from tidegate.generation.dsl.workflow import Workflow


def check_document(document: object) -> tuple[Workflow | None, tuple[Finding, ...]]:
    """Check a parsed workflow document, an object of JSON values.

    Returns:
        The workflow, or `None` if the document breaks the DSL's schema; and what was found, each check from top to
        bottom. The document is valid if and only if nothing was found: a workflow that comes with findings fits the
        schema but means something impossible, such as a jump to a task that does not exist.
    """
    if not isinstance(document, dict):
        return None, (Finding("", f"must be an object, not {type(document).__name__}"),)
    not_json = find_non_json(document)
    if not_json is not None:
        return None, (not_json,)
    try:
        workflow = Workflow.model_validate(document)
    except ValidationError as error:
        return None, tuple(dict.fromkeys(finding_of(line) for line in error.errors(include_url=False)))
    checks = (check_flow, check_references, check_expressions, check_times)
    return workflow, tuple(finding for check in checks for finding in check(workflow))
