"""`python -m bench.vault`: how fast a process opens what is sealed, once it knows the organizations' data keys.

The last line is JSON.
"""

import json
import os
import platform
from statistics import median
from time import perf_counter
from typing import Annotated
from uuid import UUID

import typer
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.identifiers import new_id
from chassis.vault.keyring import DataKey, Keyring

_STATED = 50_000
# As long as a token of OAuth may be.
_PLAIN_BYTES = 512

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def opens(
    number: Annotated[int, typer.Option(min=10_000, help="Values of a round.")] = 100_000,
    organizations: Annotated[int, typer.Option(min=1, help="Whose they are, in turns.")] = 1_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in turns with the bare cipher.")] = 5,
) -> None:
    """Values opened a second by keyrings of many organizations, against AES-256-GCM alone."""
    keyrings = [_keyring() for _ in range(organizations)]
    cipher, nonce = AESGCM(os.urandom(32)), os.urandom(12)
    bare = cipher.encrypt(nonce, os.urandom(_PLAIN_BYTES), b"")
    rows = [(keyring, new_id()) for keyring in (keyrings * (number // organizations + 1))[:number]]
    values = [
        (keyring, row, keyring.seal(b"x" * _PLAIN_BYTES, table="connections", row=row, column="tokens"))
        for keyring, row in rows
    ]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(number / _opened(values))
        theirs.append(number / _decrypted(cipher, nonce, bare, number))
    rate = median(ours)
    print(
        json.dumps(
            {
                "opens_per_second": round(rate),
                "against_the_bare_cipher": round(rate / median(theirs), 2),
                "meets": rate >= _STATED,
                "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            }
        )
    )
    raise typer.Exit(0 if rate >= _STATED else 1)


def _keyring() -> Keyring:
    key = DataKey(new_id(), 1, AESGCM(os.urandom(32)))
    return Keyring("integrations", new_id(), [key], key)


def _opened(values: list[tuple[Keyring, UUID, bytes]]) -> float:
    begun = perf_counter()
    for keyring, row, sealed in values:
        keyring.open(sealed, table="connections", row=row, column="tokens").reveal()
    return perf_counter() - begun


def _decrypted(cipher: AESGCM, nonce: bytes, sealed: bytes, number: int) -> float:
    begun = perf_counter()
    for _ in range(number):
        cipher.decrypt(nonce, sealed, b"")
    return perf_counter() - begun


app()
