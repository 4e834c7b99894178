"""A delivery process without the process: what it works with, entered and left as the process does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chassis.database import Database, RoleDatabase
from chassis.secret import Secret
from chassis.vault.vault import Vault
from services.sending.delivery.drafts import Drafts
from services.sending.delivery.journal import Journal
from services.sending.delivery.leases import Lease
from services.sending.delivery.letters import Letters
from services.sending.delivery.outcomes import Outcomes
from services.sending.delivery.recalls import Recalls
from services.sending.delivery.relays import Relays
from services.sending.delivery.routes import Routes
from services.sending.delivery.worker import Worker
from services.sending.relay_address import RelayAddress
from services.sending.tests.relay import MailRelay


@dataclass(frozen=True)
class Post:
    """A worker that hands over to a relay, and what it is told by."""

    worker: Worker
    lease: Lease
    recalls: Recalls
    relays: Relays


@dataclass(frozen=True)
class PostOffice:
    """Opens them; their journals are in one folder."""

    folder: Path
    database: Database
    scheduler: RoleDatabase
    drafts: Drafts
    letters: Letters
    vault: Vault

    @asynccontextmanager
    async def open(
        self, relay: MailRelay, system: MailRelay | None = None, provider: str = ""
    ) -> AsyncIterator[Post]:
        """One that hands over to this relay, which may be a provider's, and the platform's own mail to another one."""
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(Journal(self.folder))
            lease = await stack.enter_async_context(Lease(self.scheduler, journal))
            outcomes = await stack.enter_async_context(Outcomes(self.database, journal))
            shared = RelayAddress.of(Secret(relay.url)).run_by(provider)
            other = RelayAddress.of(Secret(system.url)) if system else shared
            relays = await stack.enter_async_context(
                Relays(shared=shared, system=other, hostname="mail.test")
            )
            worker = Worker(
                self.database,
                lease,
                Routes(self.database, relays, self.vault),
                drafts=self.drafts,
                letters=self.letters,
                outcomes=outcomes,
                journal=journal,
                recalls=(recalls := Recalls(self.database)),
            )
            yield Post(worker, lease, recalls, relays)
