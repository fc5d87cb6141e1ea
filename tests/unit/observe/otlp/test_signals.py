import pytest

from tidegate import __version__
from tidegate.observe.otlp.signals import resource_attributes


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"service.name": "tidegate", "service.version": __version__}),
        ({"OTEL_SERVICE_NAME": "gate-7"}, {"service.version": __version__}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=search, service.name=gate-7"}, {"service.version": __version__}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2-ours"}, {"service.name": "tidegate"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "our.service.name=gate-7"},
            {"service.name": "tidegate", "service.version": __version__},
        ),
    ],
)
def test_attributes_that_the_environment_sets_are_not_replaced(
    variables: dict[str, str], expected: dict[str, str]
) -> None:
    assert resource_attributes(variables) == expected
