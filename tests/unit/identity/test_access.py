"""Each access rule of the design, one by one."""

import pytest

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.transport import Fields
from tidegate.identity.access import AccessRequest, AccessRules, Denial, is_loopback
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings, Settings

OPEN = AccessRules(open_service=True)
CLOSED = AccessRules(open_service=False)
LOCAL = "127.0.0.1"


def arrival(path: str = "/api/x", **headers: str) -> tuple[str, Fields]:
    """The facts of a request that the rules for all calls look at."""
    arrived = request(path, **headers)
    return arrived.path, arrived.fields


def request(path: str = "/api/x", peer: str | None = LOCAL, **headers: str) -> AccessRequest:
    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return AccessRequest(path, {b"host": b"localhost:8080", **named}, peer)


def cause(denial: Denial | None) -> Cause | None:
    assert denial is not None
    return denial.cause


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_hosts(host: str) -> None:
    assert is_loopback(host)
    OPEN.check_bind(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "tidegate", "localhost.example.com", ""])  # noqa: S104 - refused
def test_an_open_service_binds_to_loopback_only(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TIDEGATE_HOST: got .*\[\[callers\]\]"):
        OPEN.check_bind(host)
    CLOSED.check_bind(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "[::1]", "[::1]:8080"])
def test_a_loopback_host_header_is_let_in(host: str) -> None:
    assert OPEN.check(*arrival(host=host)) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example:8080", "10.0.0.1:8080", "[::1", "a@b:1:2"]
)
def test_another_host_header_is_forbidden(host: str) -> None:
    denial = OPEN.check(*arrival(host=host))
    assert cause(denial) is Cause.FORBIDDEN
    assert CLOSED.check(*arrival(host=host)) is None


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:8080", "http://[localhost:8080"],
)
def test_a_foreign_origin_is_forbidden(origin: str) -> None:
    denial = OPEN.check(*arrival(origin=origin))
    assert denial is not None
    assert denial.status == 403
    assert origin in denial.message


def test_the_services_own_origin_is_let_in() -> None:
    assert OPEN.check(*arrival(origin="http://localhost:8080")) is None


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_not_json_is_unsupported(content_type: str) -> None:
    denial = OPEN.check(*arrival(content_length="12", content_type=content_type))
    assert denial == Denial(415, f"content-type: got {content_type!r}, allowed is application/json")
    assert OPEN.check(*arrival(transfer_encoding="chunked", content_type=content_type)) is not None
    assert CLOSED.check(*arrival(content_length="12", content_type=content_type)) is None


def test_json_and_absent_bodies_are_let_in() -> None:
    assert OPEN.check(*arrival(content_length="12", content_type="application/json; charset=utf-8")) is None
    assert OPEN.check(*arrival(content_length="0", content_type="text/plain")) is None
    assert OPEN.check(*arrival()) is None


@pytest.mark.parametrize("path", ["/v1/files", "/v1/skills", "/v1/skills/skill_1/versions", "/v1/novel"])
def test_an_upload_is_let_in_with_the_header_that_a_foreign_page_cannot_send(path: str) -> None:
    upload = {"content_length": "12", "content_type": "multipart/form-data; boundary=x"}
    assert OPEN.check(*arrival(path, **upload)) is not None
    assert OPEN.check(*arrival(path, **upload, anthropic_version="2023-06-01")) is None
    assert OPEN.check(*arrival("/api/x", **upload, anthropic_version="2023-06-01")) is not None
    assert OPEN.check(*arrival("/v1/messages", **upload, anthropic_version="2023-06-01")) is not None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_gets_nothing_that_the_services_key_pays_for(site: str) -> None:
    """A browser sends no `Origin` with an image or a link, but says where they come from."""
    denial = OPEN.check(*arrival("/v1/models", sec_fetch_site=site))
    assert cause(denial) is Cause.FORBIDDEN
    assert OPEN.check(*arrival("/docs", sec_fetch_site=site)) is None
    assert OPEN.check(*arrival("/v1/models", sec_fetch_site="none")) is None
    assert OPEN.check(*arrival("/v1/models", sec_fetch_site="same-origin")) is None
    assert CLOSED.check(*arrival("/v1/models", sec_fetch_site=site)) is None


CALLERS = (CallerSettings(name="web", key_sha256=key_hash("web-key")),)


def test_metrics_and_documentation_are_open_on_loopback() -> None:
    for rules in (AccessRules.of(Settings()), AccessRules.of(Settings(callers=CALLERS))):
        assert rules.check_page(request("/metrics")) is None
        assert cause(rules.check_page(request("/metrics", peer=None))) is Cause.UNAUTHENTICATED  # a proxy's request


@pytest.mark.parametrize("peer", ["10.0.0.7", "127.0.0.1"])
def test_on_any_other_address_metrics_and_documentation_need_a_key(peer: str) -> None:
    rules = AccessRules.of(Settings(host="0.0.0.0", callers=CALLERS, admin_key="admin-key"))  # noqa: S104 - not bound
    missing = rules.check_page(request("/docs", peer=peer))
    assert cause(missing) is Cause.UNAUTHENTICATED
    assert "TIDEGATE_OPEN_METRICS_AND_DOCS" in (missing.message if missing else "")
    assert cause(rules.check_page(request("/docs", peer=peer, x_api_key="wrong"))) is Cause.FORBIDDEN
    assert rules.check_page(request("/docs", peer=peer, x_api_key="web-key")) is None
    assert rules.check_page(request("/docs", peer=peer, authorization="Bearer admin-key")) is None


def test_a_setting_opens_metrics_and_documentation() -> None:
    settings = Settings(host="0.0.0.0", callers=CALLERS, open_metrics_and_docs=True)  # noqa: S104 - not bound
    assert AccessRules.of(settings).check_page(request("/metrics", peer="10.0.0.7")) is None


def test_an_own_address_for_metrics_beyond_loopback_needs_keys_or_the_setting() -> None:
    with pytest.raises(ConfigurationError, match=r"^TIDEGATE_METRICS_HOST: got '10.0.0.1'.*OPEN_METRICS_AND_DOCS"):
        AccessRules.for_metrics(Settings(metrics_host="10.0.0.1", metrics_port=0))
    for settings in (
        Settings(),
        Settings(metrics_host="10.0.0.1", metrics_port=0, admin_key="k"),
        Settings(metrics_host="10.0.0.1", metrics_port=0, callers=CALLERS),
        Settings(metrics_host="10.0.0.1", metrics_port=0, open_metrics_and_docs=True),
    ):
        AccessRules.for_metrics(settings)
    rules = AccessRules.for_metrics(Settings(metrics_host="10.0.0.1", metrics_port=0, callers=CALLERS))
    assert cause(rules.check_page(request("/metrics"))) is Cause.UNAUTHENTICATED


def test_without_an_admin_key_and_callers_only_clients_on_this_machine_administer() -> None:
    assert OPEN.check_admin(request(peer="127.0.0.1")) is None
    assert OPEN.check_admin(request(peer="::1")) is None
    assert cause(OPEN.check_admin(request(peer="10.0.0.7"))) is Cause.FORBIDDEN
    assert cause(OPEN.check_admin(request(peer=None))) is Cause.FORBIDDEN


def test_a_web_page_cannot_administer_an_open_service() -> None:
    assert cause(OPEN.check_admin(request(host="evil.example"))) is Cause.FORBIDDEN
    assert cause(OPEN.check_admin(request(origin="http://evil.example"))) is Cause.FORBIDDEN


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.0.0.7", None])
@pytest.mark.parametrize("key", [{}, {"x_api_key": "web-key"}])
def test_with_callers_and_no_admin_nobody_administers_wherever_the_request_comes_from(
    peer: str | None, key: dict[str, str]
) -> None:
    rules = AccessRules.of(Settings(callers=(CallerSettings(name="web", key_sha256=key_hash("web-key")),)))
    denial = rules.check_admin(request(peer=peer, **key))
    assert denial is not None
    assert (denial.cause, denial.status) == (Cause.FORBIDDEN, 403)
    assert "TIDEGATE_ADMIN_KEY" in denial.message
    assert "admin = true" in denial.message


def test_an_admin_caller_administers_and_other_callers_do_not() -> None:
    callers = (
        CallerSettings(name="web", key_sha256=key_hash("web-key")),
        CallerSettings(name="ops", key_sha256=key_hash("ops-key"), admin=True),
    )
    for rules in (AccessRules.of(Settings(callers=callers)), AccessRules.of(Settings(callers=callers, admin_key="k"))):
        assert rules.check_admin(request(peer="10.0.0.7", x_api_key="ops-key")) is None
        assert cause(rules.check_admin(request(x_api_key="web-key"))) is Cause.FORBIDDEN
        assert cause(rules.check_admin(request())) is Cause.UNAUTHENTICATED


def test_an_admin_has_a_name() -> None:
    ops = CallerSettings(name="ops", key_sha256=key_hash("ops-key"), admin=True)
    rules = AccessRules.of(Settings(callers=(ops,), admin_key="k"))
    assert rules.admin_name(request(x_api_key="ops-key").fields) == "ops"
    assert rules.admin_name(request(authorization="Bearer k").fields) == "the admin key"
    assert AccessRules.of(Settings()).admin_name(request(x_api_key="any").fields) == "a local client"
    assert AccessRules.of(Settings()).admin_name(request().fields) == "a local client"


def test_with_an_admin_key_it_decides_wherever_the_peer_is() -> None:
    rules = AccessRules(open_service=False, admin_key="hunter2")
    assert rules.check_admin(request(peer="10.0.0.7", x_api_key="hunter2")) is None
    assert rules.check_admin(request(peer="10.0.0.7", authorization="Bearer hunter2")) is None
    missing = rules.check_admin(request())
    assert (missing and missing.status, cause(missing)) == (401, Cause.UNAUTHENTICATED)
    wrong = rules.check_admin(request(x_api_key="hunter3é"))
    assert (wrong and wrong.status, cause(wrong)) == (403, Cause.FORBIDDEN)
    utf8 = AccessRules(open_service=False, admin_key="schlüssel")
    assert utf8.check_admin(AccessRequest("/api/x", {b"x-api-key": "schlüssel".encode()}, LOCAL)) is None
    assert "hunter" not in (wrong.message if wrong else "")
