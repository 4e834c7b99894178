"""A name server of the test's own, over real UDP: what it answers can change between two questions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

# By name, then by type, what is answered; a function is asked anew each time.
Records = Mapping[str, Mapping[str, Sequence[str] | Callable[[], Sequence[str]]]]


class Zone(asyncio.DatagramProtocol):
    """Answers from its records, which may be kept for `ttl` seconds, following aliases as resolvers expect.

    A function that raises LookupError makes it fail (SERVFAIL).
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self.questions: list[str] = []
        self.ttl = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = (
            question.name.to_text(omit_final_dot=True).lower(),
            dns.rdatatype.to_text(question.rdtype),
        )
        self.questions.append(f"{name} {kind}")
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        try:
            self._fill(answer, name, kind)
        except LookupError:
            answer.set_rcode(dns.rcode.SERVFAIL)
        # In the order of the records, which else is another each time.
        self._transport.sendto(answer.to_wire(want_shuffle=False), sender)

    def _fill(self, answer: dns.message.Message, name: str, kind: str) -> None:
        while target := self._find(name, "CNAME"):
            answer.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{target[0]}."))
            name = target[0]
        if found := self._find(name, kind):
            answer.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *found))

    def _find(self, name: str, kind: str) -> Sequence[str]:
        held = self._records.get(name, {}).get(kind, ())
        return held() if callable(held) else held


@asynccontextmanager
async def serving(records: Records) -> AsyncIterator[tuple[str, Zone]]:
    """The name server's host:port, and it."""
    zone = Zone(records)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: zone, local_addr=("127.0.0.1", 0)
    )
    host, port = transport.get_extra_info("sockname")
    try:
        yield f"{host}:{port}", zone
    finally:
        transport.close()
