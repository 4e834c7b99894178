"""`python -m services.contacts serve|migrate|…`."""

from chassis.command import service_command
from services.contacts.server import serve
from services.contacts.settings import ContactsSettings

if __name__ == "__main__":
    service_command("contacts", ContactsSettings, serve, owns="services.contacts")()
