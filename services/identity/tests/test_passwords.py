"""Passwords: what is refused, and how the accepted ones are kept."""

from collections.abc import AsyncIterator

import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from zxcvbn.matching import RANKED_DICTIONARIES

from chassis.errors import InvalidRequest
from chassis.secret import Secret
from services.identity.password_rule import refuse_weak
from services.identity.passwords import Passwords


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    async with Passwords() as passwords:
        yield passwords


async def test_passwords_are_hashed_with_argon2id_and_the_parameters_owasp_recommends(
    passwords: Passwords,
) -> None:
    parameters = extract_parameters(await passwords.hash(Secret("a quiet river bend")))
    assert parameters.type is Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)


async def test_only_the_password_itself_fits_its_hash(passwords: Passwords) -> None:
    password_hash = await passwords.hash(Secret("a quiet river bend"))
    assert await passwords.verify(password_hash, Secret("a quiet river bend"))
    assert not await passwords.verify(password_hash, Secret("a quiet river bent"))


async def test_a_password_fits_however_its_accents_are_composed(passwords: Passwords) -> None:
    password_hash = await passwords.hash(Secret("un caf\u00e9 tr\u00e8s noir"))
    assert await passwords.verify(password_hash, Secret("un cafe\u0301 tre\u0300s noir"))


async def test_nobody_has_a_password_not_even_the_one_that_is_hashed_for_nobody(passwords: Passwords) -> None:
    assert not await passwords.verify(None, Secret("the password of nobody"))


async def test_a_hash_of_older_parameters_is_known_as_outdated(passwords: Passwords) -> None:
    weaker = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("a quiet river bend")
    assert passwords.is_outdated(weaker)
    assert not passwords.is_outdated(await passwords.hash(Secret("a quiet river bend")))


@pytest.mark.parametrize(
    "password",
    [
        "eleven char",
        "Password1234",
        "  qwertyuiop123  ",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "Margarethe.Lindqvist@mail.test",
        "margarethe.lindqvist",
        "Margarethe Lindqvist",
        "lindqvist & partners",
    ],
)
async def test_a_password_that_is_easily_guessed_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await refuse_weak(
            Secret(password),
            email="margarethe.lindqvist@mail.test",
            names=("Margarethe Lindqvist", "Lindqvist & Partners"),
        )
    assert [violation.field for violation in refused.value.violations] == ["password"]
    assert password.strip().casefold() not in str(refused.value.violations).casefold()


@pytest.mark.parametrize(
    "password",
    [
        "a quiet river bend",
        "ein stiller fluss",
        "静かな川の曲がり角に立つ",
        "a quiet river bend, and another" * 8,
    ],
)
async def test_a_long_password_of_any_kind_is_accepted(password: str) -> None:
    await refuse_weak(Secret(password), email="a@mail.test", names=("A",))


async def test_the_commonest_passwords_that_are_long_enough_are_refused() -> None:
    """OWASP ASVS 6.2.4: the 3,000 commonest of those that the length would let pass, and all others that are known."""
    ranked = sorted(RANKED_DICTIONARIES["passwords"].items(), key=lambda entry: entry[1])
    long_enough = [password for password, _ in ranked if len(password) >= 12]
    assert len(RANKED_DICTIONARIES["passwords"]) >= 30_000
    assert len(long_enough) > 100
    for password in long_enough:
        with pytest.raises(InvalidRequest):
            await refuse_weak(Secret(password), email="a@mail.test")


@pytest.mark.parametrize("password", ["flownurture2026", "newsletter123", "lindqvist2026"])
async def test_words_of_this_place_and_of_the_person_are_refused(password: str) -> None:
    with pytest.raises(InvalidRequest):
        await refuse_weak(Secret(password), email="a@mail.test", names=("Margarethe Lindqvist",))
