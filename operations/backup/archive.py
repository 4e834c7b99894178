"""The form of a backup: a tar in age, which is written and read as it comes, and is nowhere in the clear.

    manifest.json   what it is of
    dump/000000 …   what pg_dump wrote, in parts, since a tar says the size of a file before the file
    digest.json     SHA-256 and size of the dump: without it the backup was not finished

So whoever has an identity opens it without this program:

    age --decrypt --identity KEY BACKUP | tar --extract --to-stdout --wildcards 'dump/*' | pg_restore …
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyrage

from operations.backup.manifest import BackupUnusable, Manifest

PART_BYTES = 4 * 1024 * 1024
_MANIFEST, _PARTS, _DIGEST = "manifest.json", "dump/", "digest.json"

Recipient = pyrage.x25519.Recipient
Identity = pyrage.x25519.Identity
# Is told how many bytes of the dump went by.
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """What a backup has become outside: to be compared with what is stored, by whoever may not open it."""

    size: int
    sha256: str
    dump_size: int


def recipient(text: str) -> Recipient:
    """A public key, `age1…`. Raises ValueError."""
    try:
        return Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise ValueError(f"{text!r} is no public key of age: {error}") from None


def identities(path: Path) -> list[Identity]:
    """The private keys of a file as `age-keygen` writes it. Raises BackupUnusable."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    try:
        found = [Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        raise BackupUnusable(f"{path} is no file of private keys of age.") from None
    if not found:
        raise BackupUnusable(f"{path} has no private key.")
    return found


def write(
    manifest: Manifest, dump: Iterable[bytes], target: IO[bytes], recipients: Sequence[Recipient], tell: Tell
) -> Written:
    """Write a backup that these recipients can open. Raises what reading the dump raises; what was written is none then."""
    counted = _Counted(target)
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as threads:
        packing = threads.submit(_pack, manifest, dump, writing, tell)
        try:
            with os.fdopen(reading, "rb") as plain:
                pyrage.encrypt_io(plain, counted, recipients)
        except pyrage.EncryptError as error:
            raise OSError(f"The backup cannot be written: {error}") from None
        return Written(counted.size, counted.digest.hexdigest(), packing.result())


class Opened:
    """A backup that is being read, from its beginning to its end and once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.manifest = Manifest.decoded(self._next(_MANIFEST).read())

    def dump(self, tell: Tell) -> Iterator[bytes]:
        """What pg_dump wrote. Raises BackupUnusable at its end when that is not all of it, or something else."""
        digest, size = hashlib.sha256(), 0
        while (name := self._member().name).startswith(_PARTS):
            part = self._read().read()
            digest.update(part)
            size += len(part)
            tell(size)
            yield part
        if name != _DIGEST or json.loads(self._read().read()) != _digest_of(digest.hexdigest(), size):
            raise BackupUnusable("Its digest is not that of what is in it.")

    def _next(self, name: str) -> IO[bytes]:
        if self._member().name != name:
            raise BackupUnusable("It is no backup of FlowNurture.")
        return self._read()

    def _member(self) -> tarfile.TarInfo:
        self._current = self._tar.next()
        if self._current is None:
            raise BackupUnusable("It ends before its end: it was not finished.")
        return self._current

    def _read(self) -> IO[bytes]:
        content = self._tar.extractfile(self._current) if self._current else None
        if content is None:
            raise BackupUnusable("It is no backup of FlowNurture.")
        return content


@contextmanager
def opened(path: Path, keys: Sequence[Identity]) -> Iterator[Opened]:
    """Read a backup. Raises BackupUnusable when it is none, is damaged or cut off, or is for other keys."""
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as threads:
        decrypting = threads.submit(_decrypt, path, keys, writing)
        try:
            with os.fdopen(reading, "rb") as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
                yield Opened(tar)
                # What comes after the last file has to be whole, too.
                while plain.read(PART_BYTES):
                    pass
        except (tarfile.TarError, BackupUnusable, ValueError) as error:
            # What is wrong with the stream says more than what is wrong with what was read of it.
            decrypting.result()
            raise BackupUnusable(str(error)) from None
        decrypting.result()


def _pack(manifest: Manifest, dump: Iterable[bytes], descriptor: int, tell: Tell) -> int:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as tar:
        _add(tar, _MANIFEST, manifest.encoded())
        for number, part in enumerate(dump):
            digest.update(part)
            size += len(part)
            _add(tar, f"{_PARTS}{number:06}", part)
            tell(size)
        _add(tar, _DIGEST, json.dumps(_digest_of(digest.hexdigest(), size)).encode())
    return size


def _digest_of(sha256: str, size: int) -> dict[str, object]:
    return {"sha256": sha256, "bytes": size}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _decrypt(path: Path, keys: Sequence[Identity], descriptor: int) -> None:
    try:
        with os.fdopen(descriptor, "wb") as pipe, path.open("rb") as sealed:
            pyrage.decrypt_io(sealed, pipe, keys)
    except pyrage.DecryptError as error:
        raise BackupUnusable(f"It does not open: {error}.") from None
    except OSError as error:
        raise BackupUnusable(f"It is damaged or cut off: {error}.") from None


class _Counted(io.BufferedIOBase):
    """Passes on what it is given, and knows its size and digest."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        written = bytes(data)
        self._target.write(written)
        self.size += len(written)
        self.digest.update(written)
        return len(written)
