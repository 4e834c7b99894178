"""A secret is shown to whoever asks for it by name, and to nobody else."""

import copy
import json
import traceback

import pytest
from pydantic import BaseModel, ValidationError

from chassis.secret import Secret


class Account(BaseModel):
    password: Secret


def test_a_secret_reveals_itself_when_asked() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_a_secret_prints_as_stars_however_it_is_printed() -> None:
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>20}",
        "".join(map(str, [secret])),
        str([secret]),
        str({1: secret}),
    ]
    assert not any("hunter2" in text for text in shown)
    assert all("***" in text for text in shown)


def test_a_secret_has_no_attributes_for_a_dumper_to_find() -> None:
    with pytest.raises(TypeError):
        vars(Secret("hunter2"))


def test_a_field_of_a_model_is_read_from_text_and_written_as_stars() -> None:
    account = Account.model_validate({"password": "hunter2"})
    assert account.password == Secret("hunter2")
    assert json.loads(account.model_dump_json()) == {"password": "***"}
    assert "hunter2" not in repr(account) + str(account.model_dump())
    assert Account(password=account.password).password == account.password


def test_a_wrong_kind_of_value_is_refused() -> None:
    with pytest.raises(ValidationError):
        Account.model_validate({"password": 7})


def test_secrets_are_equal_when_their_values_are() -> None:
    assert Secret("a") == Secret("a") == copy.deepcopy(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("ä") != Secret("a")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_traceback_with_a_secret_in_its_locals_does_not_show_it() -> None:
    def fail(password: Secret) -> None:
        raise RuntimeError(f"cannot log in with {password}")

    try:
        fail(Secret("hunter2"))
    except RuntimeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "hunter2" not in shown.replace('fail(Secret("hunter2"))', "")
