"""How long it takes to have a domain's RSA key ready to sign, as delivery does and with its numbers looked at again.

`python -m bench.sending.signing_keys`. Delivery reads a domain's keys once a minute, on the loop on which it writes mails.
"""

import time
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import load_der_private_key

from services.sending.dkim_keys import Algorithm, KeyPair, load

_TIMES = 50


def _milliseconds(call: Callable[[], object]) -> float:
    """How long a call takes; the best of many."""

    def once() -> float:
        began = time.perf_counter()
        call()
        return (time.perf_counter() - began) * 1_000

    return min(once() for _ in range(_TIMES))


def main() -> None:
    """Print both, and how many times as fast the first is."""
    key = KeyPair.generate(Algorithm.RSA).private_der
    ours, checked = _milliseconds(lambda: load(key)), _milliseconds(lambda: load_der_private_key(key, None))
    print(
        f"a key ready to sign: {ours:.3f} ms, looked at again {checked:.1f} ms: {checked / ours:,.0f} times"
    )


if __name__ == "__main__":
    main()
