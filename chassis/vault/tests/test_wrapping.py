"""Every keeper of key-encryption keys keeps the same promises, spoken to as its own API has it."""

import socket
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Unavailable
from chassis.secret import Secret
from chassis.settings import load
from chassis.tests.probe import Probe
from chassis.vault.aws_kms import AwsKms
from chassis.vault.data_keys import stored_keys
from chassis.vault.envelopes import Envelopes, beginning
from chassis.vault.file_wrapping import FileWrapping
from chassis.vault.settings import (
    KeeperSettings,
    SealedMailSettings,
    VaultSettings,
    mail_wrapping_of,
    wrapping_of,
)
from chassis.vault.tests.conftest import key_encryption_key
from chassis.vault.tests.servers.http import serving
from chassis.vault.tests.servers.kms import Kms
from chassis.vault.tests.servers.transit import TOKEN, Transit
from chassis.vault.vault import Vault
from chassis.vault.vault_transit import VaultTransit
from chassis.vault.wrapping import DoesNotOpen, Wrapped, Wrapping

PLAIN = b"\x00\xff" * 16
CONTEXT = {"schema": "probe", "organization": "ours", "version": "1"}
REGION, KEY, SECRET = "eu-central-1", "AKIDEXAMPLE", "wJalrXUtnFEMI"


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kms]:
    kms = Kms()
    with serving(kms, "application/x-amz-json-1.1") as url:
        given_to_boto(monkeypatch, url)
        yield kms


def given_to_boto(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def transit() -> Iterator[tuple[Transit, str]]:
    transit = Transit()
    transit.rotate("flownurture")
    with serving(transit, "application/json") as url:
        yield transit, url


def over_transit(url: str, token: str = TOKEN) -> VaultTransit:
    return VaultTransit(url, "flownurture", mount="transit", token=Secret(token))


@pytest.fixture(params=["file", "aws-kms", "vault-transit"])
def wrapping(request: pytest.FixtureRequest) -> Wrapping:
    if request.param == "file":
        return FileWrapping({"one": key_encryption_key()})
    if request.param == "aws-kms":
        return AwsKms(request.getfixturevalue("kms").create_key())
    return over_transit(request.getfixturevalue("transit")[1])


async def test_what_is_wrapped_is_unwrapped_and_is_not_to_be_seen(wrapping: Wrapping) -> None:
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    assert PLAIN not in wrapped.ciphertext
    assert wrapped.key == await wrapping.current_key()
    assert await wrapping.unwrap(wrapped, dict(reversed(CONTEXT.items()))) == PLAIN


@pytest.mark.parametrize("context", [CONTEXT | {"organization": "theirs"}, CONTEXT | {"version": "2"}, {}])
async def test_with_another_context_it_does_not_open(wrapping: Wrapping, context: Mapping[str, str]) -> None:
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    with pytest.raises(DoesNotOpen):
        await wrapping.unwrap(wrapped, context)


async def test_what_is_changed_or_cut_off_does_not_open(wrapping: Wrapping) -> None:
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    changed = bytes((*wrapped.ciphertext[:-6], wrapped.ciphertext[-6] ^ 1, *wrapped.ciphertext[-5:]))
    no_text = b"\xff" * 8 + wrapped.ciphertext[8:]
    for ciphertext in (changed, no_text, wrapped.ciphertext[:-4], wrapped.ciphertext[:16]):
        with pytest.raises(DoesNotOpen):
            await wrapping.unwrap(Wrapped(wrapped.key, ciphertext), CONTEXT)


async def test_a_data_key_of_each_keeper_seals_in_one_process_and_opens_in_another(
    wrapping: Wrapping, database: Database, probe: Probe, context: RequestContext
) -> None:
    row = context.organization
    async with database.tenant_transaction(context) as session:
        keyring = await Vault(probe.schema, wrapping).keyring(session)
        sealed = keyring.seal(b"plain", table="things", row=row, column="secret")
    async with database.tenant_transaction(context) as session:
        keyring = await Vault(probe.schema, wrapping).keyring(session)
        assert keyring.open(sealed, table="things", row=row, column="secret").reveal() == "plain"
        assert [key.wrapped.key for key in await stored_keys(session)] == [await wrapping.current_key()]


async def test_an_envelope_of_each_keeper_is_sealed_in_one_process_and_opened_in_another(
    wrapping: Wrapping,
) -> None:
    row = uuid4()
    column: Any = {"schema": "probe", "table": "things", "column": "secret"}
    sealed = await Envelopes(wrapping, **column).seal(PLAIN, row=row)
    assert sealed.startswith(beginning(await wrapping.current_key()))
    assert (await Envelopes(wrapping, **column).open(sealed, row=row)).reveal() == PLAIN
    with pytest.raises(DoesNotOpen):
        await Envelopes(wrapping, **column | {"column": "other"}).open(sealed, row=row)


async def test_a_key_of_kms_is_known_by_its_arn_however_it_is_named(kms: Kms) -> None:
    arn = kms.create_key()
    kms.aliases["alias/flownurture"] = arn
    wrapping = AwsKms("alias/flownurture")
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    assert wrapped.key == await wrapping.current_key() == arn
    kms.aliases["alias/flownurture"] = another = kms.create_key()
    assert await wrapping.current_key() == another
    assert await wrapping.unwrap(wrapped, CONTEXT) == PLAIN


async def test_a_key_of_kms_that_is_gone_opens_nothing_and_one_that_is_disabled_may_come_back(
    kms: Kms,
) -> None:
    arn = kms.create_key()
    wrapping = AwsKms(arn)
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    kms.disabled.add(arn)
    with pytest.raises(Unavailable):
        await wrapping.unwrap(wrapped, CONTEXT)
    kms.disabled.clear()
    assert await wrapping.unwrap(wrapped, CONTEXT) == PLAIN
    kms.delete_key(arn)
    with pytest.raises(DoesNotOpen):
        await wrapping.unwrap(wrapped, CONTEXT)
    with pytest.raises(Unavailable):
        await wrapping.wrap(PLAIN, CONTEXT)


@pytest.mark.parametrize(
    "spoiled",
    [
        (400, {"__type": "AccessDeniedException", "Message": "not authorized"}),
        (400, {"__type": "ThrottlingException", "message": "Rate exceeded"}),
        (500, {"__type": "KMSInternalException", "message": "try again"}),
        (503, {}),
    ],
    ids=lambda spoiled: str(spoiled[1].get("__type", spoiled[0])),
)
async def test_kms_that_refuses_or_fails_is_unavailable(
    kms: Kms, spoiled: tuple[int, dict[str, str]]
) -> None:
    wrapping = AwsKms(kms.create_key())
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    kms.spoiled = spoiled
    for asking in (wrapping.wrap(PLAIN, CONTEXT), wrapping.unwrap(wrapped, CONTEXT), wrapping.current_key()):
        with pytest.raises(Unavailable):
            await asking


async def test_a_rotated_key_of_transit_wraps_by_its_newest_version_and_unwraps_by_all_that_are_let(
    transit: tuple[Transit, str],
) -> None:
    server, url = transit
    wrapping = over_transit(url)
    old = await wrapping.wrap(PLAIN, CONTEXT)
    server.rotate("flownurture")
    new = await wrapping.wrap(PLAIN, CONTEXT)
    assert (old.key, new.key) == ("flownurture:v1", "flownurture:v2")
    assert await wrapping.current_key() == new.key
    assert [await wrapping.unwrap(one, CONTEXT) for one in (old, new)] == [PLAIN, PLAIN]
    server.minimum_version = 2
    with pytest.raises(DoesNotOpen):
        await wrapping.unwrap(old, CONTEXT)


async def test_transit_under_another_key_unwraps_by_the_one_that_wrapped(
    transit: tuple[Transit, str],
) -> None:
    server, url = transit
    wrapped = await over_transit(url).wrap(PLAIN, CONTEXT)
    server.rotate("another")
    another = VaultTransit(url, "another", mount="transit", token=Secret(TOKEN))
    assert await another.unwrap(wrapped, CONTEXT) == PLAIN
    assert await another.current_key() == "another:v1"


@pytest.mark.parametrize(
    "spoiled",
    [
        (403, {"errors": ["permission denied"]}),
        (429, {"errors": ['request path "transit/decrypt": rate limit quota exceeded']}),
        (500, {"errors": ["internal error"]}),
        (503, {"errors": ["Vault is sealed"]}),
    ],
    ids=lambda spoiled: str(spoiled[0]),
)
async def test_transit_that_refuses_or_fails_is_unavailable(
    transit: tuple[Transit, str], spoiled: tuple[int, dict[str, list[str]]]
) -> None:
    server, url = transit
    wrapping = over_transit(url)
    wrapped = await wrapping.wrap(PLAIN, CONTEXT)
    server.spoiled = spoiled
    for asking in (wrapping.wrap(PLAIN, CONTEXT), wrapping.unwrap(wrapped, CONTEXT), wrapping.current_key()):
        with pytest.raises(Unavailable):
            await asking


async def test_transit_with_a_wrong_token_or_without_the_key_is_unavailable(
    transit: tuple[Transit, str],
) -> None:
    url = transit[1]
    lost = VaultTransit(url, "nowhere", mount="transit", token=Secret(TOKEN))
    for asking in (
        over_transit(url, "hvs.another").wrap(PLAIN, CONTEXT),
        lost.wrap(PLAIN, CONTEXT),
        lost.current_key(),
    ):
        with pytest.raises(Unavailable):
            await asking


async def test_a_keeper_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    given_to_boto(monkeypatch, url)
    for wrapping in (AwsKms("key"), over_transit(url)):
        with pytest.raises(Unavailable):
            await wrapping.wrap(PLAIN, CONTEXT)


async def test_what_a_file_wrapped_opens_under_a_key_service_that_wraps_from_now_on(
    kms: Kms, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, arn = key_encryption_key(), kms.create_key()
    old = await FileWrapping({"one": own}).wrap(PLAIN, CONTEXT)
    monkeypatch.setenv("KEY_ENCRYPTION", "aws-kms")
    monkeypatch.setenv("KMS_KEY_ID", arn)
    monkeypatch.setenv("KEY_ENCRYPTION_KEYS", f'{{"one": "{own.reveal()}"}}')
    wrapping = wrapping_of(load(VaultSettings))
    new = await wrapping.wrap(PLAIN, CONTEXT)
    assert new.key == await wrapping.current_key() == arn
    assert [await wrapping.unwrap(one, CONTEXT) for one in (old, new)] == [PLAIN, PLAIN]


async def test_the_environment_names_the_keeper(
    transit: tuple[Transit, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "KEY_ENCRYPTION": "vault-transit",
        "TRANSIT_URL": transit[1],
        "TRANSIT_KEY": "flownurture",
        "TRANSIT_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, value)
    settings = load(VaultSettings)
    assert TOKEN not in repr(settings)
    assert (await wrapping_of(settings).wrap(PLAIN, CONTEXT)).key == "flownurture:v1"
    # What seals mails has a key of its own there, and need not have the other.
    monkeypatch.delenv("TRANSIT_KEY")
    monkeypatch.setenv("MAIL_TRANSIT_KEY", "mail")
    transit[0].rotate("mail")
    assert (await mail_wrapping_of(load(SealedMailSettings)).wrap(PLAIN, CONTEXT)).key == "mail:v1"


@pytest.mark.parametrize(
    ("settings", "keeper", "missing"),
    [
        (VaultSettings, "file", ["KEY_ENCRYPTION_KEYS"]),
        (VaultSettings, "aws-kms", ["KMS_KEY_ID"]),
        (VaultSettings, "vault-transit", ["TRANSIT_URL", "TRANSIT_KEY"]),
        (SealedMailSettings, "file", ["MAIL_KEY_ENCRYPTION_KEYS"]),
        (SealedMailSettings, "aws-kms", ["MAIL_KMS_KEY_ID"]),
        (SealedMailSettings, "vault-transit", ["TRANSIT_URL", "MAIL_TRANSIT_KEY"]),
    ],
)
def test_what_a_keeper_cannot_do_without_is_named_where_it_is_missing(
    settings: type[KeeperSettings],
    keeper: str,
    missing: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("KEY_ENCRYPTION_KEYS", "KMS_KEY_ID", "TRANSIT_URL", "TRANSIT_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"MAIL_{name}", raising=False)
    monkeypatch.setenv("KEY_ENCRYPTION", keeper)
    with pytest.raises(SystemExit):
        load(settings)
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in told] == missing
