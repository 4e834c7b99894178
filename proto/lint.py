"""Check the contract, run by `make lint`: `python -m proto.lint`.

Style is judged by buf (`proto/buf.yaml`), the rest by the house's own rules (`proto/house_rules.py`). Prints each
finding with its file, symbol and rule; exits 1 when there is any.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from proto.generate import SOURCE, compile_protos, sources
from proto.house_rules import findings


def compile_image(target: Path) -> None:
    """Write the descriptors of all protos, what they import and their comments among them, to one file."""
    compile_protos(sources(), f"--descriptor_set_out={target}", "--include_imports", "--include_source_info")


def house_files(image: FileDescriptorSet) -> list[FileDescriptor]:
    """The house's own files of an image, linked."""
    pool = DescriptorPool()
    for file in image.file:
        pool.Add(file)
    return [pool.FindFileByName(file.name) for file in image.file if file.name.startswith("flownurture/")]


def style_is_well(image: Path) -> bool:
    """Whether buf finds nothing; what it finds it prints."""
    buf = Path(sys.executable).with_name("buf")
    checked = subprocess.run(  # noqa: S603
        [buf, "lint", image, "--config", SOURCE / "buf.yaml"], check=False, stdin=subprocess.DEVNULL
    )
    return checked.returncode == 0


def main() -> int:
    """Judge the contract; 0 when it is well."""
    with TemporaryDirectory() as folder:
        image = Path(folder) / "contract.binpb"
        compile_image(image)
        stylish = style_is_well(image)
        found = findings(house_files(FileDescriptorSet.FromString(image.read_bytes())))
    for finding in found:
        print(f"proto/{finding}")
    return 0 if stylish and not found else 1


if __name__ == "__main__":
    sys.exit(main())
