"""How often all cores together can sign with RSA-2048, and do nothing else: `python -m bench.sending.signing`."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

_SECONDS = 5.0
# About what a DKIM signature covers of the fields.
_SIGNED = b"x" * 600


def main() -> None:
    """Sign on a thread for each core, which the interpreter lets go on side by side."""
    key = generate_private_key(65_537, 2048)

    def sign() -> int:
        signed = 0
        while time.perf_counter() < ends_at:
            key.sign(_SIGNED, PKCS1v15(), SHA256())
            signed += 1
        return signed

    cores = os.cpu_count() or 1
    began, used = time.perf_counter(), time.process_time()
    ends_at = began + _SECONDS
    with ThreadPoolExecutor(cores) as threads:
        signed = sum(threads.map(lambda _: sign(), range(cores)))
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    print(json.dumps({"messages": signed, "seconds": seconds, "processor_seconds": {"signing": processor}}))


if __name__ == "__main__":
    main()
