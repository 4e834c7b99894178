"""The rules for the header of a bulk mail, each as a sentence that is broken: RFC 5322, RFC 2369, RFC 8058, and what mailbox providers ask for."""

import re
from email.errors import NonASCIILocalPartDefect, UndecodableBytesDefect
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

# RFC 5322 §3.6: how often a field may be there at most; the first two at least once, and Message-ID should be.
_ONCE = ("from", "date", "message-id", "to", "reply-to", "subject", "mime-version", "content-type", "list-id",
         "list-unsubscribe", "list-unsubscribe-post", "feedback-id")  # fmt: skip
_NEEDED = ("from", "date", "message-id", "to", "subject", "mime-version")
# What the parser has against fields in UTF-8, which RFC 6532 §3.2 allows.
_IN_UTF_8 = (NonASCIILocalPartDefect, UndecodableBytesDefect)
_FIELD_NAME = re.compile(rb"[!-9;-~]+")
_MESSAGE_ID = re.compile(r"<[^\s<>@]+@[^\s<>@]+>")
_URI_IN_BRACKETS = re.compile(r"<(https|mailto):[^\s<>]+>", re.IGNORECASE)


def broken_rules(raw: bytes, *, bulk: bool) -> list[str]:
    """The rules that a mail breaks. `bulk`: those for mail to many, too."""
    head, _, _ = raw.partition(b"\r\n\r\n")
    mail = BytesParser(policy=default).parsebytes(raw)
    broken = [*_of_lines(head), *_of_fields(mail)]
    return broken + _of_bulk(mail) if bulk else broken


def _of_lines(head: bytes) -> list[str]:
    broken = []
    for line in head.split(b"\r\n"):
        if len(line) > 998:
            broken.append(f"RFC 5322 §2.1.1: a line of {len(line)} characters")
        if b"\r" in line or b"\n" in line or b"\0" in line:
            broken.append("RFC 5322 §2.2: a bare CR, LF or NUL")
        if not line.startswith((b" ", b"\t")) and not _FIELD_NAME.fullmatch(line.partition(b":")[0]):
            broken.append(f"RFC 5322 §2.2: no field name in {line!r}")
        if line.strip() == b"":
            broken.append("RFC 5322 §3.2.2: a line of white space alone")
    return broken


def _of_fields(mail: EmailMessage) -> list[str]:
    names = [name.lower() for name in mail]
    broken = [f"RFC 5322 §3.6: {name} is there twice" for name in _ONCE if names.count(name) > 1]
    broken += [f"RFC 5322 §3.6: there is no {name}" for name in _NEEDED if name not in names]
    broken += [f"a defect: {defect!r}" for part in mail.walk() for defect in part.defects]
    broken += [
        f"a defect of {name}: {defect!r}"
        for name, value in mail.items()
        for defect in value.defects
        if not isinstance(defect, _IN_UTF_8)
    ]
    if not _MESSAGE_ID.fullmatch(str(mail["Message-ID"])):
        broken.append("RFC 5322 §3.6.4: Message-ID is no msg-id")
    date = mail["Date"] and mail["Date"].datetime
    if date is None or date.tzinfo is None:
        broken.append("RFC 5322 §3.3: Date says no time")
    if len(mail["From"].addresses) != 1:
        broken.append("RFC 5322 §3.6.2: From is not one mailbox")
    return broken


def _of_bulk(mail: EmailMessage) -> list[str]:
    broken = []
    uris = [found[0] for found in _URI_IN_BRACKETS.finditer(str(mail["List-Unsubscribe"]))]
    if not any(uri.lower().startswith("<https:") for uri in uris):
        broken.append("RFC 8058 §3.1: List-Unsubscribe has no https URI")
    if not any(uri.lower().startswith("<mailto:") for uri in uris):
        broken.append("RFC 2369 §3.2: List-Unsubscribe has no mailto URI")
    if mail["List-Unsubscribe-Post"] != "List-Unsubscribe=One-Click":
        broken.append("RFC 8058 §3.1: List-Unsubscribe-Post is not List-Unsubscribe=One-Click")
    if not re.fullmatch(r"(?:.* )?<[\w.-]+\.[\w.-]+>", str(mail["List-Id"])):
        broken.append("RFC 2919 §3: List-Id is no list identifier")
    feedback = str(mail["Feedback-ID"]).split(":")
    # Gmail's rule: three identifiers at most, then the same 5 to 15 characters for all mail of a sender.
    if len(feedback) != 4 or not 5 <= len(feedback[-1]) <= 15:
        broken.append("Feedback-ID is not a:b:c:SenderId")
    signatures = mail.get_all("DKIM-Signature") or []
    for signature in signatures:
        signed = {name.strip().lower() for name in re.search(r"h=([^;]*)", str(signature))[1].split(":")}  # type: ignore[index]
        if not {"from", "list-unsubscribe", "list-unsubscribe-post"} <= signed:
            broken.append("RFC 8058 §4: the unsubscribe fields are not signed")
    if not signatures:
        broken.append("RFC 8058 §4: the mail is not signed")
    return broken
