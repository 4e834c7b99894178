"""The API that mail is read by, and the page."""

from email.message import EmailMessage

import pytest

from deploy.local.mailbox.tests.harness import Mailbox


def _send(mailbox: Mailbox, recipient: str, subject: str, html: str = "<p>Hello <b>you</b></p>") -> None:
    message = EmailMessage()
    message["From"] = "Köche & Co <news@kitchen.test>"
    message["To"] = recipient
    message["Subject"] = subject
    message["List-Unsubscribe"] = "<https://shop.test/u/token>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content("Hello you\r\n")
    message.add_alternative(html, subtype="html")
    message.add_attachment(b"\x00\x01\x02", maintype="application", subtype="octet-stream", filename="a.bin")
    with mailbox.connect() as smtp:
        smtp.send_message(message, "bounce+1@kitchen.test", [recipient])


def test_a_message_shows_its_headers_and_parts(mailbox: Mailbox, address: str) -> None:
    _send(mailbox, address, "Grüße aus der Küche")
    message = mailbox.message_to(address)
    assert message["subject"] == "Grüße aus der Küche"
    assert message["headers"]["Subject"] == ["Grüße aus der Küche"]
    assert message["headers"]["From"] == ["Köche & Co <news@kitchen.test>"]
    assert message["headers"]["List-Unsubscribe"] == ["<https://shop.test/u/token>"]
    text, html, attachment = message["parts"]
    assert (text["content_type"], text["charset"], text["content"]) == (
        "text/plain",
        "utf-8",
        "Hello you\r\n",
    )
    assert (html["content_type"], html["content"]) == ("text/html", "<p>Hello <b>you</b></p>\r\n")
    assert (attachment["filename"], attachment["encoding"], attachment["content"]) == (
        "a.bin",
        "base64",
        "AAEC",
    )
    assert mailbox.http.get(f"/api/messages/{message['id']}").json() == message


@pytest.mark.parametrize("sender", ["NEWS@kitchen.test", "bounce+1@kitchen.test"])
def test_mail_is_found_by_whole_address_subject_and_time(mailbox: Mailbox, address: str, sender: str) -> None:
    _send(mailbox, address, "ÉTÉ first")
    _send(mailbox, address, "été second")
    second, first = mailbox.messages(to=address.upper())
    assert (first["subject"], second["subject"]) == ("ÉTÉ first", "été second")
    assert mailbox.messages(to=address[1:]) == []
    assert mailbox.messages(to=address, **{"from": sender}) == [second, first]
    assert mailbox.messages(to=address, **{"from": "kitchen.test"}) == []
    assert mailbox.messages(to=address, subject="Été") == [second, first]
    assert mailbox.messages(to=address, subject="FIRST") == [first]
    assert mailbox.messages(to=address, since=second["received_at"])[0] == second
    assert mailbox.messages(to=address, since="2999-01-01T00:00:00Z") == []
    assert mailbox.messages(text=address[:20], limit=1) == [second]


def test_pages_hold_every_message_once_newest_first(mailbox: Mailbox, address: str) -> None:
    for number in range(5):
        _send(mailbox, address, str(number))
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        answer = mailbox.http.get(
            "/api/messages", params={"to": address, "limit": 2, "page_token": token}
        ).json()
        pages.append([message["subject"] for message in answer["messages"]])
        token = answer["next_page_token"]
    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    assert mailbox.http.get("/api/count", params={"to": address}).json() == {"count": 5}


def test_the_basic_view_leaves_the_content_out(mailbox: Mailbox, address: str) -> None:
    _send(mailbox, address, "Short")
    (message,) = mailbox.messages(to=address, view="basic")
    assert message.keys() == {"id", "received_at", "envelope", "subject", "from", "size"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=many",
        "limit=" + "9" * 5000,
        "page_token=x",
        "page_token=" + "9" * 30,
        "since=yesterday",
        "view=all",
        "colour=red",
        "to=a&to=b",
        "limit=²",
    ],
)
def test_a_query_that_cannot_be_read_is_refused(mailbox: Mailbox, query: str) -> None:
    answer = mailbox.http.get(f"/api/messages?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/messages/999999999", 404),
        ("GET", "/api/messages/999999999/html", 404),
        ("GET", "/api/messages/x", 404),
        ("GET", "/nothing", 404),
        ("GET", "/../settings.py", 404),
        ("POST", "/api/messages", 405),
        ("DELETE", "/", 405),
    ],
)
def test_what_is_not_there_is_a_clear_answer(mailbox: Mailbox, method: str, path: str, status: int) -> None:
    assert mailbox.http.request(method, path).status_code == status


def test_html_of_a_mail_is_shown_without_its_scripts(mailbox: Mailbox, address: str) -> None:
    _send(mailbox, address, "Script", "<script>parent.location = 'x'</script><p>Hi</p>")
    answer = mailbox.http.get(f"/api/messages/{mailbox.message_to(address)['id']}/html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy
    assert "<p>Hi</p>" in answer.text


def test_the_page_needs_nothing_from_elsewhere(mailbox: Mailbox) -> None:
    page = mailbox.http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/", "/inbox.css", "/inbox.js"):
        text = mailbox.http.get(path).raise_for_status().text
        assert "http://" not in text
        assert "https://" not in text


def test_health_and_metrics_answer(mailbox: Mailbox, address: str) -> None:
    _send(mailbox, address, "Counted")
    assert mailbox.http.get("/healthz").json() == mailbox.http.get("/readyz").json() == {"status": "ok"}
    metrics = mailbox.http.get("/metrics").text
    accepted = next(
        line for line in metrics.splitlines() if line.startswith("mailbox_messages_accepted_total")
    )
    assert float(accepted.split()[1]) >= 1
