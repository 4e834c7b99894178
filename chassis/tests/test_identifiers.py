"""Identifiers sort by the time they were made."""

from itertools import pairwise
from uuid import RFC_4122

from chassis.identifiers import new_id, parse_id


def test_ids_are_uuid_version_7() -> None:
    assert (new_id().version, new_id().variant) == (7, RFC_4122)


def test_each_id_is_greater_than_all_before() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert all(one < next_one for one, next_one in pairwise(ids))


def test_an_id_is_read_back_from_its_text() -> None:
    identifier = new_id()
    assert parse_id(str(identifier)) == identifier
