"""A process whose contract has a hole does not start."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The service as it is started, but for one option of one RPC.
WITHOUT_ACCESS = """
import runpy, sys
from flownurture.contacts.v1 import contacts_pb2
from flownurture.options.v1 import access_pb2
rpc = contacts_pb2.DESCRIPTOR.services_by_name["ContactService"].methods_by_name["GetContact"]
options = rpc.GetOptions()
options.ClearExtension(access_pb2.access)
assert not rpc.GetOptions().HasExtension(access_pb2.access)
sys.argv = [sys.argv[1], "serve"]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("process", ["contacts", "gateway"])
def test_a_process_with_an_rpc_without_access_option_exits_and_names_it(
    service_environment: Callable[[str], dict[str, str]], process: str
) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | service_environment(process)
    environment["PYTHONPATH"] = f"{root}:{root / 'proto' / 'gen'}"
    module = "gateway" if process == "gateway" else f"services.{process}"
    ended = subprocess.run(
        (sys.executable, "-c", WITHOUT_ACCESS, module),
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert (
        "flownurture.contacts.v1.ContactService.GetContact has no access option"
        in ended.stderr + ended.stdout
    )
