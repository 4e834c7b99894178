"""Generate the Python of the contract: `python proto/generate.py <folder>`.

Messages get typed stubs, services get client stubs; the comments, which Python code does not keep, stand in
`flownurture/contract.binpb` for the API's documentation. `make lint` generates into a fresh folder and compares.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import google.api.http_pb2
import grpc_tools
from grpc_tools import protoc

SOURCE = Path(__file__).parent
# googleapis-common-protos ships google/api/*.proto beside its modules.
GOOGLE_APIS = Path(google.api.http_pb2.__file__).parents[2]
WELL_KNOWN_TYPES = Path(grpc_tools.__file__).parent / "_proto"


def sources() -> list[str]:
    """Every proto file of the contract, relative to `proto/`, in a stable order."""
    return sorted(str(path.relative_to(SOURCE)) for path in SOURCE.glob("flownurture/**/*.proto"))


def has_services(proto: str) -> bool:
    """Whether a proto file declares a service, and so needs a client stub."""
    return any(line.startswith("service ") for line in (SOURCE / proto).read_text().splitlines())


def compile_protos(protos: list[str], *outputs: str) -> None:
    """Run protoc in this process; exits non-zero on an error that protoc has printed."""
    arguments = ["protoc", f"-I{SOURCE}", f"-I{GOOGLE_APIS}", f"-I{WELL_KNOWN_TYPES}", *outputs, *protos]
    if protoc.main(arguments) != 0:
        sys.exit(1)


def generate(target: Path) -> None:
    """Replace `target` with the code generated from every proto file, whole: readers see the old or the new."""
    # The plugins of protoc are beside this interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    unfinished.chmod(0o755)
    protos = sources()
    compile_protos(protos, f"--python_out={unfinished}", f"--mypy_out=quiet:{unfinished}")
    comments = f"--descriptor_set_out={unfinished}/flownurture/contract.binpb"
    compile_protos(protos, comments, "--include_source_info")
    with_services = [proto for proto in protos if has_services(proto)]
    compile_protos(with_services, f"--grpc_python_out={unfinished}", f"--mypy_grpc_out=quiet:{unfinished}")
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
