"""What nobody confirms is forgotten."""

from datetime import timedelta

from chassis.retention import Kept

UNCONFIRMED = Kept("contacts.form_submissions", "created_at", timedelta(days=30), only="confirmed_at IS NULL")
