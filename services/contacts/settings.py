"""What the contacts process is told by its environment."""

from chassis.settings import DatabaseSettings, EventsSettings, ProcessSettings


class ContactsSettings(ProcessSettings, DatabaseSettings, EventsSettings):
    """The contacts process has nothing of its own to be told."""
