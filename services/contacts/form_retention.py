"""What nobody confirms is forgotten."""

from datetime import timedelta

from sqlalchemy import text

from chassis.database import RoleDatabase
from chassis.scheduler import Periodic

UNCONFIRMED_KEPT = timedelta(days=30)

_FORGET = text("""
    DELETE FROM contacts.form_submissions WHERE confirmed_at IS NULL AND created_at < now() - :kept
""")


class ForgetUnconfirmed:
    """Every hour, what was submitted to any organization too long ago, through the scheduler's role."""

    def __init__(self, database: RoleDatabase) -> None:
        self._database = database

    async def run(self) -> None:
        """Run until cancelled."""
        await Periodic(timedelta(hours=1), self.round).run()

    async def round(self) -> None:
        """Forget what is too old now."""
        async with self._database.transaction() as connection:
            await connection.execute(_FORGET, {"kept": UNCONFIRMED_KEPT})
