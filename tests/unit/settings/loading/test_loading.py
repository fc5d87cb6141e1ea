"""Environment over file over defaults; every fault is one sentence that names its place."""

import json
from ipaddress import ip_network
from pathlib import Path

import pytest

from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors
from tidegate.settings import LoadedSettings, Settings, load_settings

HASH = "a" * 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tidegate.toml"


def loaded(file: Path, text: str, **environ: str) -> LoadedSettings:
    file.write_text(text, encoding="utf-8")
    return load_settings(environ, file)


def test_defaults_are_the_documented_ones() -> None:
    settings = Settings()
    assert (settings.requests_per_minute, settings.burst_limit) == (20, 5)
    assert (settings.rate_limit_base_delay_seconds, settings.rate_limit_max_delay_seconds) == (2.0, 30.0)
    assert (settings.host, settings.port, settings.default_timeout_seconds) == ("127.0.0.1", 8080, 600)
    assert (settings.model, settings.fallback_model) == ("claude-sonnet-5-5", "claude-haiku-5-5")
    assert settings.pool_requests_per_minute is None
    assert settings.upstream_url == "https://api.anthropic.com"


def test_environment_goes_over_the_file_over_defaults(file: Path) -> None:
    result = loaded(file, "port = 1111\nburst_limit = 7", TIDEGATE_PORT="2222")
    assert (result.settings.port, result.settings.burst_limit) == (2222, 7)
    assert result.origins["port"] == "TIDEGATE_PORT"
    assert result.origins["burst_limit"] == str(file)
    assert result.origins["host"] == "default"


def test_tidegate_config_names_another_file(file: Path) -> None:
    file.write_text("port = 4242", encoding="utf-8")
    assert load_settings({"TIDEGATE_CONFIG": str(file)}).settings.port == 4242


def test_an_absent_default_file_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({}).settings == Settings()


def test_an_empty_variable_counts_as_not_set(file: Path) -> None:
    assert loaded(file, "", ANTHROPIC_API_KEY="", TIDEGATE_PORT="").settings.anthropic_api_key is None


def test_anthropic_base_url_is_never_read(file: Path) -> None:
    environ = {"ANTHROPIC_BASE_URL": "http://localhost:8080"}
    assert loaded(file, "", **environ).settings.upstream_url == "https://api.anthropic.com"


KUBERNETES = {
    "TIDEGATE_SERVICE_HOST": "10.0.0.1",
    "TIDEGATE_SERVICE_PORT": "80",
    "TIDEGATE_SERVICE_PORT_HTTP": "80",
    "TIDEGATE_PORT": "tcp://10.0.0.1:80",
    "TIDEGATE_PORT_80_TCP": "tcp://10.0.0.1:80",
    "TIDEGATE_PORT_80_TCP_PROTO": "tcp",
    "TIDEGATE_PORT_80_TCP_PORT": "80",
    "TIDEGATE_PORT_80_TCP_ADDR": "10.0.0.1",
}


def test_variables_that_kubernetes_sets_for_services_named_tidegate_are_ignored_with_a_warning(file: Path) -> None:
    metrics = {name.replace("TIDEGATE", "TIDEGATE_METRICS", 1): value for name, value in KUBERNETES.items()}
    result = loaded(file, "port = 1111", **KUBERNETES, **metrics)
    assert (result.settings.port, result.settings.metrics_port) == (1111, None)
    for name, warning in zip(("TIDEGATE_METRICS_PORT", "TIDEGATE_PORT"), result.warnings, strict=True):
        assert warning.startswith(f"{name}=tcp://10.0.0.1:80 is ignored: Kubernetes sets it")
        assert "enableServiceLinks: false" in warning


def test_all_faults_are_told_at_once(file: Path) -> None:
    text = "prot = 1\nburst_limit = 0\n[[callers]]\nname = 'a b'\nkey_sha256 = 'x'"
    with pytest.raises(ConfigurationErrors) as caught:
        loaded(file, text, TIDEGATE_PORT="http", TIDEGATE_PROT="1")
    places = [line.split(": got")[0] for line in str(caught.value).splitlines()]
    named = {
        "environment",
        "TIDEGATE_PORT",
        *(f"{file}: {key}" for key in ("callers[0].name", "callers[0].key_sha256")),
    }
    assert set(places) == {*named, f"{file}: burst_limit", str(file)}
    assert len(places) == len(caught.value.faults) == 6
    assert (caught.value.field, caught.value.given) == ("environment", "TIDEGATE_PROT")


def test_a_wrong_variable_and_a_file_that_is_no_toml_are_both_told(file: Path) -> None:
    with pytest.raises(ConfigurationErrors, match="invalid TOML"):
        loaded(file, "port =", TIDEGATE_PORT="http")


@pytest.mark.parametrize("text", ['"127.0.0.1, 10.0.0.0/8"', '["127.0.0.1", "10.0.0.0/8"]'])
def test_trusted_proxies_are_addresses_and_networks(file: Path, text: str) -> None:
    expected = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))
    assert loaded(file, f"trusted_proxies = {text}").settings.trusted_proxies == expected
    assert loaded(file, "", TIDEGATE_TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8").settings.trusted_proxies == expected
    assert loaded(file, "").settings.trusted_proxies == ()


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "*"])
def test_a_trusted_proxy_that_is_no_address_is_refused(file: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TIDEGATE_TRUSTED_PROXIES: got .* IP addresses and networks"):
        loaded(file, "", TIDEGATE_TRUSTED_PROXIES=text)
    with pytest.raises(ConfigurationError, match=r"trusted_proxies: got 7, allowed is IP addresses"):
        loaded(file, "trusted_proxies = 7")


def test_pools_come_from_the_file(file: Path) -> None:
    text = """
    [[pools]]
    name = "sonnet-5-5"
    requests_per_minute = 60
    input_tokens_per_minute = "auto"
    """
    (pool,) = loaded(file, text).settings.pools
    assert (pool.requests_per_minute, pool.input_tokens_per_minute) == (60, None)


def test_callers_come_from_the_file_with_their_own_limits_and_models(file: Path) -> None:
    text = f"""
    [[callers]]
    name = "web"
    key_sha256 = "{HASH}"
    weight = 3
    priority = "interactive"
    models = ["claude-haiku-5-5", "claude-sonnet-5-5"]
    max_concurrent = 4
    requests_per_minute = 60
    input_tokens_per_minute = 100_000
    output_tokens_per_minute = 20_000.5
    [[callers]]
    name = "batch"
    key_sha256 = "{"b" * 64}"
    max_concurrent = 2
    [[callers]]
    name = "free"
    key_sha256 = "{"c" * 64}"
    """
    web, batch, free = [entry.caller() for entry in loaded(file, text).settings.callers]
    models = ("claude-haiku-5-5", "claude-sonnet-5-5")
    limits = CallerLimits(60, 100_000, 20_000.5, 4)
    assert web == Caller("web", "web", 3, Priority.INTERACTIVE, limits, models)
    assert batch == Caller("batch", "batch", limits=CallerLimits(max_concurrent=2))
    assert free == Caller("free", "free")


BAD_VARIABLES = [
    ("TIDEGATE_PORT", "65536", "0 to 65535"),
    ("TIDEGATE_PORT", "-1", "0 to 65535"),
    ("TIDEGATE_PORT", "http", "whole number"),
    ("TIDEGATE_REQUESTS_PER_MINUTE", "0", "0.001 to 1,000,000,000"),
    ("TIDEGATE_REQUESTS_PER_MINUTE", "1e-300", "0.001 to 1,000,000,000"),
    ("TIDEGATE_REQUESTS_PER_MINUTE", "nan", "0.001 to 1,000,000,000"),
    ("TIDEGATE_REQUESTS_PER_MINUTE", "inf", "0.001 to 1,000,000,000"),
    ("TIDEGATE_POOL_INPUT_TOKENS_PER_MINUTE", "1e-300", "0.001 to 1,000,000,000"),
    ("TIDEGATE_BURST_LIMIT", "0", "1 to 1,000,000,000"),
    ("TIDEGATE_REQUESTS_PER_MINUTE", "1e10", "0.001 to 1,000,000,000"),
    ("TIDEGATE_POOL_BURST_SECONDS", "3601", "0.001 to 3,600"),
    ("TIDEGATE_BURST_LIMIT", "1.5", "whole number"),
    ("CLAUDE_RATE_LIMIT_DELAY", "-1", "seconds, 0 to 3,456,000"),
    ("CLAUDE_RATE_LIMIT_DELAY", "31", "at most MAX_RATE_LIMIT_DELAY"),
    ("MAX_RATE_LIMIT_DELAY", "NaN", "seconds, 0 to 3,456,000"),
    ("TIDEGATE_POOL_REQUESTS_PER_MINUTE", "-5", "or auto"),
    ("TIDEGATE_POOL_BURST_SECONDS", "automatic", "or auto"),
    ("TIDEGATE_UPSTREAM_URL", "api.anthropic.com", "http or https URL"),
    ("TIDEGATE_UPSTREAM_URL", "http://host:99999", "http or https URL"),
    ("TIDEGATE_UPSTREAM_URL", "http://api..anthropic.com", "http or https URL"),
    ("TIDEGATE_STORE_URL", "postgres://localhost", "memory://"),
    ("TIDEGATE_STORE_URL", "valkey+sentinel://localhost", "the name of the service is missing"),
    ("TIDEGATE_STORE_START", "degraded", "together with TIDEGATE_STORE_REPLICAS"),
    ("TIDEGATE_DEFAULT_TIMEOUT_SECONDS", "0", "above 0"),
    ("TIDEGATE_METRICS_HOST", "127.0.0.1", "together with TIDEGATE_METRICS_PORT"),
    ("TIDEGATE_MAX_BODY_BYTES", "0", "1 to 1,000,000,000"),
    ("TIDEGATE_CONFIG", "/nowhere/tidegate.toml", "existing TOML file"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD_VARIABLES)
def test_a_wrong_variable_is_named_with_what_was_given_and_what_is_allowed(
    name: str, value: str, allowed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load_settings({name: value})
    sentence = str(caught.value)
    assert sentence.startswith(f"{name}: got ")
    assert value in sentence
    assert allowed in sentence
    assert "\n" not in sentence


def test_a_maximum_under_the_default_base_delay_names_both_variables(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^CLAUDE_RATE_LIMIT_DELAY: got 2.0, .*MAX_RATE_LIMIT_DELAY.* 1.0"):
        loaded(file, "", MAX_RATE_LIMIT_DELAY="1")


def test_a_misspelt_variable_is_refused_with_the_likely_name_and_without_its_value(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'TIDEGATE_ADMIN_KYE'.*did you mean TIDEGATE_ADMIN_KEY") as caught:
        loaded(file, "", TIDEGATE_ADMIN_KYE="hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["TIDEGATE_UPSTREAM_URL", "TIDEGATE_STORE_URL"])
def test_credentials_in_a_refused_url_are_not_shown(name: str, file: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(file, "", **{name: "valkey://user:hunter2@host/path"})
    assert "hunter2" not in str(caught.value)


def test_a_secret_of_the_wrong_type_is_not_shown(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"admin_key: got '\(hidden\)', allowed is any text"):
        loaded(file, 'admin_key = ["hunter2"]')


CALLER = f"[[callers]]\nname = 'a'\nkey_sha256 = '{HASH}'"
BAD_FILES = [
    ("prot = 1", "got 'prot', allowed is only the documented keys; did you mean port?"),
    ("TIDEGATE_PORT = 1", "did you mean port?"),
    ("zzz = 1", "got 'zzz', allowed is only the documented keys; `tidegate check` lists them all"),
    (f"[[callers]]\nname = 'a'\nkey_sha256 = '{HASH}'\nwieght = 2", "did you mean weight?"),
    ("port = true", "port: got True"),
    ("port = [1]", "port: got [1]"),
    ("requests_per_minute = nan", "requests_per_minute: got nan"),
    ("port =", "TOML"),
    ('callers = "none"', "callers: got 'none'"),
    ("[[callers]]\nname = 'a'", "callers[0].key_sha256 is not set; it must be 64"),
    (f"[[callers]]\nname = 'a b'\nkey_sha256 = '{HASH}'", "callers[0].name: got 'a b'"),
    ("[[callers]]\nname = 'a'\nkey_sha256 = 'A'", "64 lower-case hex digits"),
    (f"[[callers]]\nname = 'a'\nkey_sha256 = '{HASH}'\nweight = 0", "callers[0].weight: got 0"),
    (f"[[callers]]\nname = 'a'\nkey_sha256 = '{HASH}'\nweight = inf", "callers[0].weight: got inf"),
    (f"[[callers]]\nname = 'a'\nkey_sha256 = '{HASH}'\npriority = 'top'", "interactive, standard, batch"),
    (f"{CALLER}\nmodels = []", "callers[0].models: got [], allowed is a list of at least one model id"),
    (f"{CALLER}\nmodels = ['m', 'm']", "callers[0].models: got ['m', 'm'], allowed is"),
    (f"{CALLER}\nmodels = 'm'", "callers[0].models: got 'm', allowed is a list"),
    (f"{CALLER}\nmodels = ['m', 5]", "callers[0].models[1]: got 5, allowed is a list"),
    (f"{CALLER}\nmax_concurrent = 0", "callers[0].max_concurrent: got 0, allowed is a whole number, 1 to"),
    (f"{CALLER}\nmax_concurrent = 1.5", "callers[0].max_concurrent: got 1.5"),
    (f"{CALLER}\nrequests_per_minute = 0", "callers[0].requests_per_minute: got 0, allowed is a number, 0.001"),
    (f"{CALLER}\ninput_tokens_per_minute = 'auto'", "callers[0].input_tokens_per_minute: got 'auto'"),
    (f"{CALLER}\noutput_tokens_per_minute = inf", "callers[0].output_tokens_per_minute: got inf"),
    (f"[[callers]]\nname = 'a'\nkey_sha256 = '{HASH}'\nkey = 'x'", "callers[0]: got 'key'"),
    (f"[[callers]]\nname='a'\nkey_sha256='{HASH}'\n[[callers]]\nname='a'\nkey_sha256='{'b' * 64}'", "each name once"),
    (f"[[callers]]\nname='a'\nkey_sha256='{HASH}'\n[[callers]]\nname='b'\nkey_sha256='{HASH}'", "each key_sha256 once"),
    ("[[pools]]\nname = 'default'", "requests_per_minute and burst_limit set it"),
    ("[[pools]]\nname = 'opus-4'\nburst_seconds = -1", "pools[0].burst_seconds: got -1"),
    ("[[pools]]\nname = 'opus-4'\n[[pools]]\nname = 'opus-4'", "each name once"),
    ("[[pools]]\nname = 'opus-4'\n[[pools]]\nmodel = 'claude-opus-4-8'", "each name once"),
    (
        "[[pools]]\nname = 'claude-haiku-4-5'",
        "pools[0].name: got 'claude-haiku-4-5', allowed is one of fable-5, mythos-5",
    ),
    ("[[pools]]\nname = 'claude-haiku-4-5'", "did you mean haiku-4-5?"),
    ("[[pools]]\nname = 'opus-4'\n[[pools]]\nname = 'sonet-5'", "pools[1].name: got 'sonet-5'"),
    ("[[pools]]\nname = 'opus-4'\nmodel = 'claude-opus-5'", "pools[0].model: got 'claude-opus-5'"),
    ("[[pools]]\nmodel = 'Not A Model'", "pools[0].model: got 'Not A Model', allowed is the id of a model"),
    ("[[pools]]\nmodel = 5", "pools[0].model: got 5, allowed is a model's id"),
    ("[[pools]]\nrequests_per_minute = 5", "pools[0].name is not set; it must be a known pool's name"),
    ("[[pools]]\nname = 'X Y'", "pools[0].name: got 'X Y'"),
]


@pytest.mark.parametrize(("text", "part"), BAD_FILES)
def test_a_fault_in_the_file_names_file_and_key(text: str, part: str, file: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(file, text)
    assert str(caught.value).startswith(str(file))
    assert part in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^FILE: got .*a readable file"):
        load_settings({}, tmp_path)


def test_the_effective_configuration_shows_origins_and_no_secret(file: Path) -> None:
    result = loaded(file, "pool_burst_seconds = 5", ANTHROPIC_API_KEY="sk-hunter2")
    lines = result.lines()
    assert "anthropic_api_key = (set)  (ANTHROPIC_API_KEY)" in lines
    assert f"pool_burst_seconds = 5.0  ({file})" in lines
    assert "pool_requests_per_minute = auto  (default)" in lines
    assert "admin_key = not set  (default)" in lines
    assert "host = '127.0.0.1'  (default)" in lines
    assert "callers = none  (default)" in lines
    assert "hunter2" not in repr(result) + "".join(lines)


def test_callers_and_proxies_are_shown_by_name(file: Path) -> None:
    text = f"[[callers]]\nname = 'web'\nkey_sha256 = '{HASH}'\n[[callers]]\nname = 'ci'\nkey_sha256 = '{'b' * 64}'"
    lines = loaded(file, text, TIDEGATE_TRUSTED_PROXIES="10.0.0.0/8").lines()
    assert f"callers = web, ci  ({file})" in lines
    assert "trusted_proxies = 10.0.0.0/8  (TIDEGATE_TRUSTED_PROXIES)" in lines


def test_the_effective_configuration_as_json_has_every_setting_and_no_secret(file: Path) -> None:
    text = f"[[callers]]\nname = 'web'\nkey_sha256 = '{HASH}'\npriority = 'batch'"
    result = loaded(file, text, ANTHROPIC_API_KEY="sk-hunter2", TIDEGATE_TRUSTED_PROXIES="10.0.0.0/8")
    found = result.as_json()
    assert set(found) == set(Settings.model_fields)
    assert found["anthropic_api_key"] == {"value": "(set)", "origin": "ANTHROPIC_API_KEY"}
    assert found["port"] == {"value": 8080, "origin": "default"}
    (caller,) = found["callers"]["value"]
    assert (caller["name"], caller["key_sha256"], caller["priority"]) == ("web", "(set)", "batch")
    assert found["trusted_proxies"]["value"] == ["10.0.0.0/8"]
    assert "hunter2" not in json.dumps(found)
    assert HASH not in json.dumps(found)
