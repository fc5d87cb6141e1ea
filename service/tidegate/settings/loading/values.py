"""Shows values of settings, without secrets."""

from pydantic import BaseModel, SecretStr

from tidegate.settings.fields.database_url import DatabaseUrl
from tidegate.settings.fields.field_docs import FieldDoc
from tidegate.settings.fields.field_types import AUTO
from tidegate.settings.fields.store_url import StoreUrl

__all__ = ["as_json", "as_text"]


def as_text(value: object, doc: FieldDoc) -> str:
    """A value for people. Secrets are masked."""
    match value:
        case None:
            return AUTO if AUTO in doc.allowed else "not set"
        case StoreUrl() | DatabaseUrl():
            return repr(str(value))
        case SecretStr():
            return "(set)"
        case ():
            return "none"
        case tuple():
            return ", ".join(str(getattr(entry, "name", entry)) for entry in value)
        case _:
            return repr(str(value)) if isinstance(value, str) else str(value)


def as_json(value: object) -> object:
    """The JSON form of a value; None if it is not set or `auto`. Secrets and hashes are masked."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case StoreUrl() | DatabaseUrl():
            return str(value)
        case SecretStr():
            return "(set)"
        case tuple():
            return [as_json(entry) for entry in value]
        case BaseModel():
            return {
                name: "(set)" if name == "key_sha256" else as_json(getattr(value, name))
                for name in type(value).model_fields
            }
        case _:
            return str(value)
