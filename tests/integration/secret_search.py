"""Looks for secrets in whatever was written, in every form in which a program may have written them."""

import json
import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from urllib.parse import quote, quote_plus

# What is shorter is found in any text by chance.
_SHORTEST = 8
_WINDOW = 8
# A pattern of this length has a whole window at a multiple of its length, wherever it stands.
_LEAST_WINDOWED = 2 * _WINDOW - 1
# The longest run of characters that no form changes; it is as secret as the whole where it is as long as a key.
_UNCHANGED = re.compile(rb"[A-Za-z0-9]{20,}")
_IN_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")


class Search:
    """Finds which of many secrets, by name, stand in a piece of data. The data is read once, however many they are."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._short: list[tuple[bytes, str]] = []
        self._by_window: dict[int, list[tuple[bytes, str]]] = defaultdict(list)
        for name, value in secrets.items():
            for pattern in patterns(value):
                self._add(pattern, name)

    def _add(self, pattern: bytes, name: str) -> None:
        if len(pattern) < _LEAST_WINDOWED:
            self._short.append((pattern, name))
            return
        for start in range(_WINDOW):
            window = memoryview(pattern[start : start + _WINDOW]).cast("Q")[0]
            self._by_window[window].append((pattern, name))

    def found(self, data: bytes) -> set[str]:
        """The names of those that stand in it."""
        words = memoryview(data)[: len(data) // _WINDOW * _WINDOW].cast("Q")
        likely = set().union(*(self._by_window[window] for window in self._by_window.keys() & set(words)))
        return {name for pattern, name in (*likely, *self._short) if pattern in data}


def patterns(secret: bytes) -> set[bytes]:
    """The bytes by which a secret is known: itself and what it stands for, as text, in URLs, JSON, HTML, SQL, hex and base64."""
    wholes = {secret, *_UNCHANGED.findall(secret), *_decoded(secret)}
    return {form for whole in wholes for form in _forms(whole) if len(form) >= _SHORTEST}


def _forms(value: bytes) -> Iterator[bytes]:
    yield value
    yield value.hex().encode()
    yield value.hex().upper().encode()
    yield quote(value, safe="").encode()
    yield quote(value).encode()
    yield quote_plus(value).encode()
    yield value.replace(b"\\", b"\\\\")
    for encoded in _in_base64(value):
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return
    yield escape(text).encode()
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


def _in_base64(value: bytes) -> Iterator[bytes]:
    """What is the same in the base64 of anything that holds the value: it may begin at each of the three bytes of a group."""
    for before in range(3):
        encoded = b64encode(bytes(before) + value)
        first = (0, 2, 3)[before]
        last = (before + len(value)) * 8 // 6
        yield encoded[first:last]


def _decoded(secret: bytes) -> Iterable[bytes]:
    """The key that a secret's base64 stands for."""
    try:
        text = secret.decode()
        if _IN_BASE64.fullmatch(text):
            yield b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except (UnicodeDecodeError, NotBase64):
        return
