"""The settings of `tidegate replay --set KEY=VALUE`, checked like those of the configuration file."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, Final

from pydantic import ValidationError

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.settings import CallerSettings, Settings
from tidegate.settings.entries import PoolLimits
from tidegate.settings.fields.field_docs import SettingsModel, field_docs
from tidegate.settings.fields.suggestions import did_you_mean
from tidegate.stores.recording.changed_settings import AUTO_BURST_SECONDS, ChangedLimits, ChangedSettings

__all__ = ["changed_settings"]

_RATES: Final = {f"{dimension}_per_minute": dimension for dimension in Dimension}
_BURST: Final = "burst_seconds"
_OF_POOL: Final = (*_RATES, _BURST)
_OF_CALLER: Final = ("weight", "priority", "max_concurrent", *_RATES)
_MESSAGES: Final = "pool_"
_CAPS: Final = {
    "queue_requests": "requests",
    "queue_requests_per_caller": "requests_per_caller",
    "queue_tokens": "tokens",
    "queue_tokens_per_caller": "tokens_per_caller",
}
_KEYS: Final = (
    *(f"pools.NAME.{field}" for field in _OF_POOL),
    *(f"callers.NAME.{field}" for field in _OF_CALLER),
    *(f"{_MESSAGES}{field}" for field in _OF_POOL),
    *_CAPS,
)
_ANY_HASH: Final = "0" * 64


def changed_settings(given: Iterable[str], pools: Collection[str], callers: Collection[str]) -> ChangedSettings:
    """Parses the options of a replay. An empty value removes the limit of a caller.

    Args:
        given: options of the form KEY=VALUE.
        pools: the names of the pools of the recording.
        callers: the names of its callers.

    Raises:
        ConfigurationError: a key or a value is not allowed.
    """
    of_pools: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    of_callers: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    of_messages: dict[str, Any] = {}
    caps: dict[str, Any] = {}
    for option in given:
        key, separator, value = option.partition("=")
        if not separator:
            raise ConfigurationError("--set", option, "KEY=VALUE")
        table, name, field = _parts(key)
        if table == "pools" and field in _OF_POOL:
            _check_name(key, name, pools, "pool")
            of_pools[name][field] = _checked(key, value, PoolLimits, field, name=name)
        elif table == "callers" and field in _OF_CALLER:
            _check_name(key, name, callers, "caller")
            of_callers[name][field] = _caller_value(key, value, field)
        elif key in _CAPS:
            caps[_CAPS[key]] = _checked(key, value, Settings, key)
        elif key.removeprefix(_MESSAGES) in _OF_POOL and key.startswith(_MESSAGES):
            of_messages[key.removeprefix(_MESSAGES)] = _checked(key, value, Settings, key)
        else:
            likely = did_you_mean(f"{table}.NAME.{field}" if name else key, _KEYS)
            raise ConfigurationError("--set", key, f"only the keys {', '.join(_KEYS)}{likely}")
    return ChangedSettings(
        {name: _limits(values) for name, values in of_pools.items()}, _limits(of_messages), caps, dict(of_callers)
    )


def _parts(key: str) -> tuple[str, str, str]:
    """Table, name and field of a key. Names may contain dots. A key without a table is only a field."""
    table, _, rest = key.partition(".")
    name, _, field = rest.rpartition(".")
    return (table, name, field) if name else ("", "", key)


def _check_name(key: str, name: str, known: Collection[str], what: str) -> None:
    if name not in known:
        allowed = f"a {what} of the recording: {', '.join(sorted(known)) or 'it has none'}{did_you_mean(name, known)}"
        raise ConfigurationError(f"--set {key}", name, allowed)


def _checked(key: str, value: str, model: type[SettingsModel], field: str, **required: str) -> Any:
    try:
        return getattr(model.model_validate({**required, field: value}), field)
    except ValidationError:
        raise ConfigurationError(f"--set {key}", value, field_docs(model)[field].allowed) from None


def _caller_value(key: str, value: str, field: str) -> Any:
    if not value and field not in {"weight", "priority"}:
        return None
    return _checked(key, value, CallerSettings, field, name="any", key_sha256=_ANY_HASH)


def _limits(values: dict[str, Any]) -> ChangedLimits:
    per_minute = {_RATES[name]: value for name, value in values.items() if name in _RATES}
    if _BURST not in values:
        return ChangedLimits(per_minute)
    return ChangedLimits(per_minute, values[_BURST] or AUTO_BURST_SECONDS)
