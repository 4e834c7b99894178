"""Connected accounts as they are asked something while a client waits for it: what a CRM fails at is told as what the client can do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from chassis.context import RequestContext
from chassis.database import Database
from chassis.errors import Conflict, Unavailable
from services.integrations.connections import get_connection, no_such
from services.integrations.credentials import Credentials, Disconnected
from services.integrations.crm.adapter import Crm
from services.integrations.crm.errors import CrmError, Forbidden, Rejected, Unauthorized
from services.integrations.crm.http_client import HttpClient
from services.integrations.crm.providers import PROVIDERS
from services.integrations.offers import title_of


class OpenAccounts:
    """The accounts of all connections."""

    def __init__(self, database: Database, credentials: Credentials, http: HttpClient) -> None:
        self._database = database
        self._credentials = credentials
        self._http = http

    @asynccontextmanager
    async def account(self, context: RequestContext, connection_id: UUID) -> AsyncIterator[Crm]:
        """The account of a connection. Raises NotFound; and Conflict and Unavailable for what it is asked within."""
        async with self._database.tenant_transaction(context, read_only=True) as session:
            connection = await get_connection(session, connection_id)
        access = self._credentials.access(context, connection)
        try:
            yield PROVIDERS[connection.provider].crm(self._http, access)
        except Disconnected:
            raise no_such(connection_id) from None
        except Unauthorized:
            title = title_of(connection.provider)
            raise Conflict(f"{title} no longer takes the credentials: connect the account again.") from None
        except (Forbidden, Rejected) as error:
            raise Conflict(str(error)) from None
        except CrmError as error:
            raise Unavailable(str(error)) from None
