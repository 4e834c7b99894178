"""The envelope of a message: what MAIL FROM and RCPT TO say (RFC 5321 §4.1.1, RFC 1870, RFC 6152, RFC 6531)."""

import re
from dataclasses import dataclass, field

from deploy.local.mailbox.addresses import Behaviour, behaviour_of

MAX_MESSAGE_BYTES = 50 * 1024 * 1024
MAX_RECIPIENTS = 1000

_PATH = re.compile(
    r"""(?P<verb>FROM|TO):[ ]?
        <(?:@[^:<>\s]+:)?                                  # a source route is read and ignored (§4.1.1.3)
          (?P<address>(?:"(?:[^"\\]|\\.)+"|[^\s<>"@\\]+)@[^\s<>"@]+|postmaster|)>
        (?P<parameters>(?:[ ]+\S+)*)[ ]*""",
    re.IGNORECASE | re.VERBOSE,
)


class Refused(Exception):
    """The reply that refuses a command."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


@dataclass(slots=True)
class Envelope:
    """Who a message is from and whom it goes to. An empty sender is the null reverse-path of a report."""

    sender: str
    internationalized: bool
    recipients: dict[str, Behaviour] = field(default_factory=dict)

    @classmethod
    def begin(cls, argument: str) -> "Envelope":
        """Read the argument of MAIL; raises Refused."""
        address, parameters = _read_path(argument, "FROM")
        internationalized = False
        for parameter in parameters:
            match parameter.upper().split("=", 1):
                case ["SIZE", size] if size.isdecimal():
                    if int(size) > MAX_MESSAGE_BYTES:
                        raise Refused("552 5.3.4 The message is larger than SIZE allows")
                case ["BODY", "7BIT" | "8BITMIME"]:
                    pass
                case ["SMTPUTF8"]:
                    internationalized = True
                case _:
                    raise Refused(f"555 5.5.4 MAIL does not know the parameter {_printable(parameter)}")
        _refuse_foreign_script(address, internationalized)
        return cls(address, internationalized)

    def add(self, argument: str) -> None:
        """Read the argument of RCPT; raises Refused, as simulated addresses do."""
        address, parameters = _read_path(argument, "TO")
        if not address:
            raise Refused("501 5.1.3 RCPT needs an address")
        if parameters:
            raise Refused(f"555 5.5.4 RCPT does not know the parameter {_printable(parameters[0])}")
        _refuse_foreign_script(address, self.internationalized)
        if len(self.recipients) >= MAX_RECIPIENTS:
            raise Refused("452 4.5.3 Too many recipients for one message")
        behaviour = behaviour_of(address)
        if behaviour.refusal:
            raise Refused(behaviour.refusal)
        self.recipients[address] = behaviour


def _read_path(argument: str, verb: str) -> tuple[str, list[str]]:
    path = _PATH.fullmatch(argument)
    if path is None or path["verb"].upper() != verb:
        raise Refused(f"501 5.5.4 Write {verb}:<address>")
    return path["address"], path["parameters"].split()


def _refuse_foreign_script(address: str, internationalized: bool) -> None:
    if not address.isascii() and not internationalized:
        raise Refused("553 5.6.7 The address needs SMTPUTF8")


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()
