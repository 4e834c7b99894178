"""`python -m services.sending.feedback serve|…`."""

from chassis.command import service_command
from services.sending.feedback.server import serve
from services.sending.feedback.settings import FeedbackSettings

if __name__ == "__main__":
    service_command("feedback", FeedbackSettings, serve)()
