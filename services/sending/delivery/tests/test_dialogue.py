"""What is said to a relay, whatever it answers: nobody is lost, nobody gets a mail twice, one at most is in doubt."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.sending.delivery.replies import Reply
from services.sending.delivery.smtp.dialogue import Dialogue
from services.sending.delivery.smtp.envelope import Answer, Envelope

# What a relay may say to one message: to MAIL, to RCPT, and to its body.
answers = st.tuples(
    st.sampled_from([250, 250, 250, 250, 421, 451, 550]),
    st.sampled_from([250, 250, 250, 251, 421, 450, 550]),
    st.sampled_from([250, 250, 250, 250, 421, 452, 554]),
)


@dataclass
class StrictRelay:
    """Reads what is written as RFC 5321 and RFC 2920 want it, and breaks the test when it is not so."""

    script: deque[tuple[int, int, int]]
    pipelining: bool
    # A relay may ask for the body of a message that it has no recipient of (RFC 2920 §3.1).
    generous: bool
    got: list[bytes] = field(default_factory=list)
    _transaction: tuple[int, int, int] | None = None
    _recipient: bool = False
    _in_body: bool = False
    _body: list[bytes] = field(default_factory=list)

    def hear(self, words: bytes) -> list[int]:
        """The codes of the replies to these words."""
        assert words.endswith(b"\r\n")
        lines = words.split(b"\r\n")[:-1]
        replies = [code for line in lines for code in self._hear_line(line)]
        assert not (self._in_body and replies and replies[-1] != 354)
        assert self.pipelining or len(replies) == 1
        return replies

    def _hear_line(self, line: bytes) -> list[int]:
        if self._in_body:
            return self._hear_body(line)
        match line[:4]:
            case b"RSET":
                self._transaction = None
                return [250]
            case b"MAIL":
                assert self._transaction is None
                answer = self.script.popleft()
                self._recipient = False
                self._transaction = answer if answer[0] == 250 else None
                return [answer[0]]
            case b"RCPT":
                if self._transaction is None:
                    return [503]
                self._recipient = self._transaction[1] // 100 == 2
                return [self._transaction[1]]
            case b"DATA":
                self._in_body = self._recipient or self.generous
                return [354 if self._in_body else 503]
        raise AssertionError(line)

    def _hear_body(self, line: bytes) -> list[int]:
        if line != b".":
            self._body.append(line.removeprefix(b"."))
            return []
        body, self._body, self._in_body = b"\r\n".join(self._body), [], False
        transaction, self._transaction = self._transaction, None
        if not self._recipient or transaction is None:
            assert not body
            return [554]
        self._recipient = False
        if transaction[2] == 250:
            self.got.append(body)
        return [transaction[2]]


def envelope(number: int) -> Envelope:
    content = f".{number}\r\n..\r\n.\r\nend".encode()
    return Envelope("bounces@mail.test", f"reader{number}@example.com", content)


@given(st.lists(answers, max_size=12), st.booleans(), st.booleans(), st.integers(0, 60))
def test_every_message_is_answered_in_turn_or_known_to_be_in_doubt_or_not_begun(
    script: list[tuple[int, int, int]], pipelining: bool, generous: bool, breaks_after: int
) -> None:
    relay = StrictRelay(deque(script), pipelining, generous)
    envelopes = [envelope(number) for number in range(len(script))]
    unbegun, settled = deque(envelopes), list[tuple[Envelope, Answer]]()
    dialogue = Dialogue(
        {"PIPELINING": ""} if pipelining else {},
        lambda: unbegun.popleft() if unbegun else None,
        lambda envelope, answer: settled.append((envelope, answer)),
    )
    waiting = deque(relay.hear(words) if (words := dialogue.begin()) else [])
    while waiting and breaks_after:
        breaks_after -= 1
        if words := dialogue.heard(Reply(waiting.popleft(), "")):
            waiting.extend(relay.hear(words))

    answered = [envelope for envelope, _ in settled]
    in_hand = [each for each in (dialogue.in_doubt, dialogue.offered) if each is not None]
    assert answered + in_hand + list(unbegun) == envelopes
    if not dialogue.closing:
        assert dialogue.over == (not in_hand and not unbegun and not waiting)
    sent = [envelope.content for envelope, answer in settled if answer.reply.code == 250]
    in_doubt = [dialogue.in_doubt.content] if dialogue.in_doubt else []
    assert relay.got in (sent, sent + in_doubt)
    for (mail, rcpt, body), (_, answer) in zip(script, settled, strict=False):
        # Who takes leave at MAIL says nothing of the message.
        assert mail != 421
        refused = [code for code in (mail, rcpt, body) if code // 100 != 2]
        assert answer.reply.code == (refused[0] if refused else 250)
        assert answer.to_recipient == (mail == 250)


def test_a_relay_that_takes_its_leave_is_offered_nothing_more() -> None:
    unbegun = deque(map(envelope, range(3)))
    settled: list[Answer] = []
    dialogue = Dialogue({"PIPELINING": ""}, unbegun.popleft, lambda _, answer: settled.append(answer))
    dialogue.begin()
    for code in (250, 250, 354):
        dialogue.heard(Reply(code, ""))
    assert dialogue.in_doubt is not None
    assert dialogue.heard(Reply(421, "4.3.2 going down")) == b""
    assert [answer.reply.code for answer in settled] == [421]
    assert dialogue.closing
    assert dialogue.in_doubt is None
    assert dialogue.offered is not None
    assert len(unbegun) == 1


def test_what_the_relay_cannot_take_is_not_offered() -> None:
    large = Envelope("a@mail.test", "reader@example.com", b"x" * 101)
    foreign = Envelope("a@mail.test", "zoë@example.com", b"x", internationalized=True)
    unbegun, settled = deque([large, foreign]), list[Answer]()
    dialogue = Dialogue(
        {"SIZE": "100"},
        lambda: unbegun.popleft() if unbegun else None,
        lambda _, answer: settled.append(answer),
    )
    assert dialogue.begin() == b""
    assert [answer.reply.code for answer in settled] == [552, 553]
    assert dialogue.over


def test_parameters_are_given_to_relays_that_know_them() -> None:
    unbegun = deque([Envelope("a@mail.test", "zoë@example.com", "ë".encode(), internationalized=True)])
    extensions = dict.fromkeys(("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8"), "")
    dialogue = Dialogue(extensions, lambda: unbegun.popleft() if unbegun else None, lambda *_: None)
    assert dialogue.begin().splitlines()[0] == b"MAIL FROM:<a@mail.test> SIZE=2 SMTPUTF8 BODY=8BITMIME"
