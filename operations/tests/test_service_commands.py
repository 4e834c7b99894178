import pytest
import typer
from pydantic_settings import BaseSettings

from chassis.secret import Secret
from chassis.vault.command import KeySettings
from deploy.k8s.check.environment import container_of, variables
from deploy.k8s.check.tests.built import built
from operations.servers.keeping import SEALING
from operations.servers.service_commands import in_a_cluster, run
from services.identity.settings import AuditSettings


def test_a_service_that_is_not_installed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    # A package without commands, as the operator's image has them.
    with pytest.raises(typer.Exit) as ended:
        run("sending.migrations", Secret("postgresql://nowhere"), "rewrap-keys")
    assert ended.value.exit_code == 3
    assert "services.sending.migrations is not here" in capsys.readouterr().err


def test_it_is_told_how_that_is_done_in_a_cluster_with_no_file_that_is_not_there() -> None:
    assert in_a_cluster("identity", "audit", "verify", "--against", "anchors") == (
        "kubectl exec -n flownurture deployment/identity -- python -m services.identity audit verify"
    )


@pytest.mark.parametrize(
    ("schema", "settings"), [*((schema, KeySettings) for schema in SEALING), ("identity", AuditSettings)]
)
def test_a_pod_of_a_service_is_told_all_that_such_a_command_takes(
    schema: str, settings: type[BaseSettings]
) -> None:
    deployment, pod = built("overlays/production").processes[schema]
    assert deployment.kind == "Deployment"
    told = {each.name for each in variables(built("overlays/production"), container_of(schema, pod))}
    required = {name.upper() for name, field in settings.model_fields.items() if field.is_required()}
    assert required <= told
    # What none of them is required by itself, but one of them is: this one, until an overlay says another keeper.
    assert settings is AuditSettings or "KEY_ENCRYPTION_KEYS" in told
