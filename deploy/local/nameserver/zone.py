"""What is published, and the answers to questions about it (RFC 1034, RFC 1035)."""

from collections.abc import Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL_SECONDS = 1


class Zone:
    """All names there are, with their records' values as text by type."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], list[str]] = {}

    def publish(self, name: str, kind: str, values: Sequence[str]) -> None:
        """Replace what is there; nothing removes it. A TXT value is the text itself. Raises ValueError for what is no record."""
        texts = [_in_strings(value) if kind == "TXT" else value for value in values]
        if texts:
            # Refuses what cannot be one.
            dns.rrset.from_text(f"{name}.", _TTL_SECONDS, "IN", kind, *texts)
        self._records[_key(name, kind)] = texts

    def answer(self, question: bytes) -> bytes:
        """The reply to a message. Raises dns.exception.DNSException for what is none."""
        query = dns.message.from_wire(question)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA | dns.flags.RA
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        found = self._records.get(_key(name, kind))
        if found:
            reply.answer.append(dns.rrset.from_text(asked.name, _TTL_SECONDS, "IN", kind, *found))
        elif not any(known == name.lower() for known, _ in self._records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire(max_size=65_535)


def _key(name: str, kind: str) -> tuple[str, str]:
    return name.lower().rstrip("."), kind.upper()


def _in_strings(text: str) -> str:
    """As a zone file writes it: quoted, in strings of 255 characters."""
    parts = [text[start : start + 255] for start in range(0, len(text), 255)] or [""]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
