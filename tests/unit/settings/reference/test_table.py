"""The table that documents all settings."""

from tidegate.settings import Settings, settings_table


def test_the_table_has_every_setting_with_default_and_range() -> None:
    table = settings_table()
    assert "| `TIDEGATE_PORT` | `port` | `8080` | a whole number, 0 to 65535" in table
    assert "| `TIDEGATE_POOL_BURST_SECONDS` | `pool_burst_seconds` | `auto` |" in table
    assert "| `ANTHROPIC_API_KEY` or `ANTHROPIC_API_KEY_FILE` | `anthropic_api_key` | not set |" in table
    assert "| `[[callers]]` | `key_sha256` | required |" in table
    assert all(f"`{name}`" in table for name in Settings.model_fields if name not in {"pools", "callers", "budgets"})
