import pytest
import typer

from chassis.secret import Secret
from operations.servers.service_commands import run


def test_a_service_that_is_not_installed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    # A package without commands, as the operator's image has them.
    with pytest.raises(typer.Exit) as ended:
        run("sending.migrations", Secret("postgresql://nowhere"), "rewrap-keys")
    assert ended.value.exit_code == 3
    assert "services.sending.migrations is not here" in capsys.readouterr().err
