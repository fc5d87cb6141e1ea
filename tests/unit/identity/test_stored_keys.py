"""Keys of the ledger beside those of the configuration: who may do what."""

import pytest

from support.key_stores import FakeKeyStore
from tidegate.core.domain.caller import Role
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import ConfigurationError, Refusal
from tidegate.identity.access import AccessRequest, AccessRules
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings, Settings

LOCAL, ELSEWHERE = "127.0.0.1", "10.0.0.7"


@pytest.fixture
def store() -> FakeKeyStore:
    found = FakeKeyStore()
    found.add("web-key", "web")
    found.add("board-key", "board", Role.VIEWER)
    found.add("boss-key", "boss", Role.ADMIN)
    return found


def fields(key: str | None) -> dict[bytes, bytes]:
    return {b"host": b"localhost", **({} if key is None else {b"x-api-key": key.encode()})}


def refused(identifier: Identifier, key: str | None) -> Cause:
    with pytest.raises(Refusal) as raised:
        identifier.identify(fields(key))
    return raised.value.cause


def test_stored_keys_identify_callers_and_admins_beside_configured_ones(store: FakeKeyStore) -> None:
    configured = CallerSettings(name="old", key_sha256=key_hash("old-key"))
    identifier = Identifier((configured,), store)
    assert [identifier.identify(fields(key)).name for key in ("old-key", "web-key", "boss-key")] == [
        *("old", "web", "boss"),
    ]


def test_with_stored_keys_calls_without_a_key_are_denied(store: FakeKeyStore) -> None:
    identifier = Identifier((), store)
    assert refused(identifier, None) is Cause.UNAUTHENTICATED
    assert refused(identifier, "another-key") is Cause.UNAUTHENTICATED
    assert Identifier((), FakeKeyStore()).identify(fields(None)).name == "default"


def test_a_viewer_makes_no_calls(store: FakeKeyStore) -> None:
    assert refused(Identifier((), store), "board-key") is Cause.FORBIDDEN


def test_while_the_keys_are_unknown_only_configured_ones_work() -> None:
    configured = CallerSettings(name="old", key_sha256=key_hash("old-key"))
    unknown = FakeKeyStore(None)
    assert Identifier((configured,), unknown).identify(fields("old-key")).name == "old"
    assert refused(Identifier((configured,), unknown), "web-key") is Cause.LEDGER_UNAVAILABLE
    assert refused(Identifier((), unknown), None) is Cause.UNAUTHENTICATED
    assert AccessRules(open_service=True, key_store=unknown).check_admin(request("boss-key", LOCAL)) is not None


def request(key: str | None, peer: str = ELSEWHERE) -> AccessRequest:
    return AccessRequest("/metrics", fields(key), peer)


def test_only_an_admin_key_administers(store: FakeKeyStore) -> None:
    rules = AccessRules.of(Settings(), key_store=store)
    denied = {key: rules.check_admin(request(key, LOCAL)) for key in (None, "web-key", "board-key", "boss-key", "x")}
    assert [key for key, denial in denied.items() if denial is None] == ["boss-key"]
    assert rules.admin_name(fields("boss-key")) == "boss"


def test_an_open_service_is_administered_locally_until_there_are_keys(store: FakeKeyStore) -> None:
    rules = AccessRules.of(Settings(), key_store=FakeKeyStore())
    assert rules.check_admin(request(None, LOCAL)) is None
    assert rules.admin_name(fields("any")) == "a local client"
    assert AccessRules.of(Settings(), key_store=store).check_admin(request(None, LOCAL)) is not None


def test_the_admin_key_of_the_settings_still_works(store: FakeKeyStore) -> None:
    rules = AccessRules(open_service=True, admin_key="root-key", key_store=store)
    assert rules.check_admin(request("root-key")) is None
    assert rules.admin_name(fields("root-key")) == "the admin key"


def test_viewers_are_told_apart(store: FakeKeyStore) -> None:
    rules = AccessRules.of(Settings(), key_store=store)
    assert [key for key in (None, "web-key", "board-key", "boss-key") if rules.is_viewer(fields(key))] == ["board-key"]
    assert not AccessRules.of(Settings()).is_viewer(fields("board-key"))


def test_every_stored_key_reads_metrics_from_other_machines(store: FakeKeyStore) -> None:
    rules = AccessRules.of(Settings(), "0.0.0.0", key_store=store)  # noqa: S104 - nothing is bound
    assert [rules.check_page(request(key)) is None for key in ("web-key", "board-key", "x")] == [True, True, False]


def test_a_web_page_is_checked_only_while_the_service_is_open(store: FakeKeyStore) -> None:
    foreign = {b"host": b"evil.example"}
    assert AccessRules.of(Settings(), key_store=FakeKeyStore()).check("/v1/messages", foreign) is not None
    assert AccessRules.of(Settings(), key_store=store).check("/v1/messages", foreign) is None


@pytest.mark.parametrize(("is_used", "allowed"), [(True, True), (False, False), (None, False)])
def test_with_keys_that_are_known_the_service_may_listen_everywhere(is_used: bool | None, allowed: bool) -> None:  # noqa: FBT001
    settings = Settings(host="0.0.0.0")  # noqa: S104 - nothing is bound
    store = FakeKeyStore(is_used)
    if allowed:
        AccessRules.of(settings, key_store=store).check_bind(settings.host)
        AccessRules.for_metrics(settings, key_store=store)
        return
    with pytest.raises(ConfigurationError, match="or the ledger has keys"):
        AccessRules.of(settings, key_store=store).check_bind(settings.host)
    with pytest.raises(ConfigurationError):
        AccessRules.for_metrics(settings, key_store=store)
