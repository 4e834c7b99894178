"""Campaigns beside what else people send with: the same messages into the same relay, in turns."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench.sending.campaign import WARMING_UP, send
from bench.sending.listmonk import Listmonk, smtp_port
from bench.sending.mail_server import mail_server
from bench.sending.sinks import Sink, debian_sink
from bench.sending.stage import PLAIN_DOMAIN, SIGNED_DOMAIN, stage
from bench.sending.turns import Turn, say_turn, times, together

_TIMES_MAIL_SERVER = 8
_TIMES_LISTMONK = 1.5
# Of Postfix a fraction of the messages tells as much.
_MAIL_SERVER_PART = 10


def against_mail_server(recipients: int, rounds: int, delivery: int) -> dict[str, Any]:
    """Signed campaigns, and Postfix with OpenDKIM fed by the engine's connections, from the first message to the empty queue."""
    with ExitStack() as stack:
        sink = stack.enter_context(debian_sink())
        rival = stack.enter_context(mail_server(sink))
        rival.turn(WARMING_UP)
        return _compared(
            "postfix_opendkim",
            lambda: rival.turn(recipients // _MAIL_SERVER_PART),
            sink,
            domain=SIGNED_DOMAIN,
            recipients=recipients,
            rounds=rounds,
            delivery=delivery,
            least=_TIMES_MAIL_SERVER,
        )


def against_listmonk(recipients: int, rounds: int, delivery: int) -> dict[str, Any]:
    """Unsigned campaigns, and those of the listmonk that the environment tells of."""
    rival = Listmonk.given()
    with debian_sink(smtp_port()) as sink:
        list_id = rival.add_audience(recipients)
        return _compared(
            "listmonk",
            lambda: rival.send(list_id, recipients),
            sink,
            domain=PLAIN_DOMAIN,
            recipients=recipients,
            rounds=rounds,
            delivery=delivery,
            least=_TIMES_LISTMONK,
        )


def _compared(
    name: str,
    theirs: Callable[[], Turn],
    sink: Sink,
    *,
    domain: str,
    recipients: int,
    rounds: int,
    delivery: int,
    least: float,
) -> dict[str, Any]:
    turns: dict[str, list[Turn]] = {"campaign": [], name: []}
    with ExitStack() as stack:
        made = stack.enter_context(stage())
        list_id, few = made.add_audience(recipients), made.add_audience(WARMING_UP)
        platform = stack.enter_context(made.platform(sink.port))
        for _ in range(delivery - 1):
            stack.enter_context(platform.running("delivery"))
        send(platform, few, WARMING_UP, domain, sink)
        for _ in range(rounds):
            turns["campaign"].append(send(platform, list_id, recipients, domain, sink))
            turns[name].append(theirs())
            for contender, taken in turns.items():
                say_turn(contender, taken[-1])
    ratio = times(turns["campaign"], turns[name])
    return {contender: together(taken) for contender, taken in turns.items()} | {
        f"times_{name}": round(ratio, 2),
        "delivery_processes": delivery,
        "meets": ratio >= least,
    }
