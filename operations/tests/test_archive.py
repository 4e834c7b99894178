import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from operations.backup.archive import PART_BYTES, identities, opened, recipient, write
from operations.backup.manifest import BackupUnusable, Manifest

MANIFEST = Manifest(datetime(2026, 11, 29, tzinfo=UTC), "18.4", {"identity": "0001"}, {"identity.users": 3})
# More than a chunk of age's (64 KiB), and than what a pipe holds.
DUMP = [os.urandom(300_000), b"", os.urandom(70_000)]
_CHUNK = 65_536 + 16


class Keys:
    def __init__(self, path: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.recipient = identity.to_public()
        path.write_text(f"# public key: {self.recipient}\n{identity}\n")
        self.identities = identities(path)
        self.path = path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "key.txt")


@pytest.fixture
def backup(keys: Keys, tmp_path: Path) -> Path:
    path = tmp_path / "backup.age"
    with path.open("wb") as file:
        written = write(MANIFEST, DUMP, file, [keys.recipient], lambda _: None)
    assert written.size == path.stat().st_size
    assert written.dump_size == sum(map(len, DUMP))
    return path


def read(path: Path, keys: Keys) -> tuple[Manifest, bytes]:
    with opened(path, keys.identities) as backup:
        return backup.manifest, b"".join(backup.dump(lambda _: None))


def test_what_was_written_is_read_again(backup: Path, keys: Keys) -> None:
    assert read(backup, keys) == (MANIFEST, b"".join(DUMP))


def test_each_of_several_recipients_opens_it(keys: Keys, tmp_path: Path) -> None:
    other, path = Keys(tmp_path / "other.txt"), tmp_path / "for-two.age"
    with path.open("wb") as file:
        write(MANIFEST, DUMP, file, [keys.recipient, other.recipient], lambda _: None)
    assert read(path, keys) == read(path, other)


def test_it_opens_for_nobody_else(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupUnusable, match="No matching keys found"):
        read(backup, Keys(tmp_path / "stranger.txt"))


def test_standard_programs_open_it(backup: Path, keys: Keys) -> None:
    plain = pyrage.decrypt(backup.read_bytes(), keys.identities)
    # As `tar --extract --to-stdout --wildcards 'dump/*'` does.
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        parts = [tar.extractfile(name) for name in tar.getnames() if name.startswith("dump/")]
        assert b"".join(part.read() for part in parts if part) == b"".join(DUMP)
    if tar_program := shutil.which("tar"):
        command = [tar_program, "--extract", "--to-stdout", "--wildcards", "dump/*"]
        assert subprocess.run(command, input=plain, capture_output=True, check=True).stdout == b"".join(DUMP)


@pytest.mark.parametrize("place", [3, 200, 1_000, _CHUNK + 300, -1])
def test_one_bit_that_is_wrong_anywhere_makes_it_unusable(backup: Path, keys: Keys, place: int) -> None:
    content = bytearray(backup.read_bytes())
    content[place] ^= 1
    backup.write_bytes(content)
    with pytest.raises(BackupUnusable):
        read(backup, keys)


@pytest.mark.parametrize("length", [0, 10, 1_000, 3 * _CHUNK, -1])
def test_one_that_is_cut_off_is_unusable_and_that_at_the_end_of_a_chunk_too(
    backup: Path, keys: Keys, length: int
) -> None:
    content = backup.read_bytes()
    # A header has some two hundred bytes; each of these lengths is cut once by itself and once behind it.
    for cut in (content[:length], content[: len(content) - len(content) % _CHUNK]):
        backup.write_bytes(cut)
        with pytest.raises(BackupUnusable):
            read(backup, keys)


def test_something_after_its_end_makes_it_unusable(backup: Path, keys: Keys) -> None:
    backup.write_bytes(backup.read_bytes() + b"more")
    with pytest.raises(BackupUnusable):
        read(backup, keys)


def test_a_dump_that_fails_half_way_leaves_what_nobody_takes_for_a_backup(keys: Keys, tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield DUMP[0]
        raise RuntimeError("the server is gone")

    path = tmp_path / "half.age"
    with path.open("wb") as file, pytest.raises(RuntimeError, match="the server is gone"):
        write(MANIFEST, failing(), file, [keys.recipient], lambda _: None)
    with pytest.raises(BackupUnusable, match="not finished"):
        read(path, keys)


def test_a_tar_of_something_else_is_no_backup(keys: Keys, tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as writing:
        writing.addfile(tarfile.TarInfo("holiday.jpg"))
    path = tmp_path / "holiday.age"
    path.write_bytes(pyrage.encrypt(tar.getvalue(), [keys.recipient]))
    with pytest.raises(BackupUnusable, match="no backup of FlowNurture"):
        read(path, keys)


def test_what_cannot_be_written_is_an_error_of_the_disk(keys: Keys) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        write(MANIFEST, [os.urandom(PART_BYTES)], full, [keys.recipient], lambda _: None)


def test_what_is_no_key_is_told() -> None:
    with pytest.raises(ValueError, match="is no public key"):
        recipient("age1nonsense")


def test_a_file_without_a_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(BackupUnusable, match="has no private key"):
        identities(tmp_path / "empty.txt")
    (tmp_path / "wrong.txt").write_text("hello\n")
    with pytest.raises(BackupUnusable, match="no file of private keys"):
        identities(tmp_path / "wrong.txt")
