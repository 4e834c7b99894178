"""The gateway as a process that was given a certificate, before processes that were."""

from base64 import b64decode, b64encode
from contextlib import AsyncExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.rpc.server import RpcServer
from chassis.stamp import StampVerifier
from chassis.tests.certificates import Authority
from deploy.local.servers.program import free_address
from gateway.tests.house import House
from gateway.tests.processes import environment, gateway_process, ready


async def test_a_gateway_with_a_certificate_calls_processes_by_it(house: House, tmp_path: Path) -> None:
    authority, listen = Authority("ours"), free_address()
    files = authority.issue(tmp_path / "gateway", "gateway")
    told = {
        "RPC_TLS_CERTIFICATE": str(files.certificate),
        "RPC_TLS_KEY": str(files.key),
        "RPC_TLS_AUTHORITIES": str(files.authorities),
    }
    private = Ed25519PrivateKey.from_private_bytes(b64decode(house.settings["stamp_private_key"].reveal()))
    trusted = {"gateway": b64encode(private.public_key().public_bytes_raw()).decode()}
    key, _ = house.identity.api_key("contacts:read")
    async with AsyncExitStack() as stack:
        for domain in ("identity", "contacts"):
            verifier = StampVerifier(domain, trusted)
            tls = authority.issue(tmp_path / domain, domain).tls()
            server = RpcServer(domain, "127.0.0.1:0", verifier, tls=tls)
            server.add(*(each for each in house.services.values() if each.domain == domain))
            await stack.enter_async_context(server)
            told[f"{domain.upper()}_TARGET"] = f"127.0.0.1:{server.port}"
        await stack.enter_async_context(gateway_process(environment(house, LISTEN=listen, **told)))
        await ready(f"http://{listen}")
        answer = await house.call("GET", f"http://{listen}/v1/contacts", key)
        assert answer.status_code == 200
        # One that shows no certificate is not answered for.
        elsewhere = await house.call(
            "GET", f"http://{listen}/v1/campaigns", house.identity.api_key("campaigns:read")[0]
        )
        assert elsewhere.status_code == 503
