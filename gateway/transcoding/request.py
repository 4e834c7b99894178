"""One RPC's request, read from the path, the query and the body of an HTTP request."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.contract.bounds import MOST_VIOLATIONS, rule_of, violations
from chassis.contract.json_decoding import decoder
from chassis.errors import FieldViolation, InvalidRequest
from chassis.rpc.options import MAX_MESSAGE_BYTES
from gateway.endpoints import Endpoint
from gateway.problems import PayloadTooLarge
from gateway.transcoding.parameters import Parameters
from gateway.transcoding.size import largest_body

_AROUND = 1024  # bytes that a call adds to its message

# The value of a request header, by its lower-case name; None where there is none.
HeaderOf = Callable[[str], str | None]


class RequestReader:
    """Reads the requests of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        message = endpoint.rpc.input_type
        self._new: type[Message] = GetMessageClass(message)
        self._elsewhere = endpoint.filled_elsewhere
        self._headers = endpoint.headers
        self._path = Parameters(message, frozenset(endpoint.template.variables))
        self._query = Parameters(message, endpoint.query_fields)
        self._body_field = endpoint.body
        self._is_raw = endpoint.body_is_raw
        self.largest_body = self._largest_body(endpoint)

    def read(self, variables: Mapping[str, str], query: str, body: bytes, header: HeaderOf) -> Message:
        """The request, checked against every bound; raises InvalidRequest with all that is wrong."""
        message = self._new()
        found: list[FieldViolation] = []
        if variables:
            self._path.from_path(message, variables, found)
        if query:
            self._query.from_query(message, query, found)
        for field, name in self._headers.items():
            setattr(message, field, header(name) or "")
        if self._is_raw:
            raw = getattr(message, self._body_field)
            raw.content_type, raw.data = header("content-type") or "", body
        elif body:
            self._read_json(message, body, found)
        check(message, found)
        # Bounds are in characters, and what a call may carry in bytes.
        if len(body) > MAX_MESSAGE_BYTES // 2 and message.ByteSize() > MAX_MESSAGE_BYTES - _AROUND:
            raise PayloadTooLarge(MAX_MESSAGE_BYTES)
        return message

    def _read_json(self, message: Message, body: bytes, found: list[FieldViolation]) -> None:
        if not self._body_field:
            found.append(FieldViolation("body", "must be empty"))
            return
        value = parse_object(body, "body")
        if self._body_field == "*":
            decoder(message.DESCRIPTOR)(message, value, "", found, withheld=self._elsewhere)
            return
        member = getattr(message, self._body_field)
        member.SetInParent()
        decoder(member.DESCRIPTOR)(member, value, "", found)

    def _largest_body(self, endpoint: Endpoint) -> int:
        if self._is_raw:
            return rule_of(endpoint.rpc.input_type.fields_by_name[endpoint.body]).max_bytes
        return largest_body(endpoint.rpc.input_type)


def parse_object(text: bytes, place: str) -> dict[str, Any]:
    """Parse a JSON object; raises InvalidRequest that says what is wrong and where."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        problem = f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise InvalidRequest(FieldViolation(place, problem), message=f"The {place} {problem}.") from None
    if not isinstance(value, dict):
        raise InvalidRequest(FieldViolation(place, "must be an object"))
    return value


def check(message: Message, found: list[FieldViolation]) -> None:
    """Raise InvalidRequest with what was found while reading and what breaks a bound, each field named once."""
    if found:
        named = {each.field for each in found}
        found += [each for each in violations(message) if each.field not in named]
    else:
        found = violations(message)
    if found:
        raise InvalidRequest(*found[:MOST_VIOLATIONS])
