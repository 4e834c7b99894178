"""`python -m deploy.local.mailbox`: an SMTP server that keeps what it accepts, and an inbox to read it in."""

import argparse

import uvloop
from pydantic import ValidationError

from chassis import logs
from deploy.local.mailbox.server import serve
from deploy.local.mailbox.settings import MailboxSettings


def main() -> None:
    """Serve until told to stop; everything is configured by the environment (settings.py)."""
    argparse.ArgumentParser(
        prog="python -m deploy.local.mailbox",
        description=__doc__,
        epilog="Environment: "
        + "; ".join(
            f"{name.upper()}: {field.description}" for name, field in MailboxSettings.model_fields.items()
        ),
    ).parse_args()
    try:
        settings = MailboxSettings()
        logs.configure("mailbox", settings.log_level)
        uvloop.run(serve(settings))
    except (ValidationError, OSError) as error:
        raise SystemExit(f"The mailbox cannot be opened: {error}") from None


if __name__ == "__main__":
    main()
