"""The CRMs that there are."""

from collections.abc import Mapping

from services.integrations.crm.hubspot import HUBSPOT
from services.integrations.crm.pipedrive import PIPEDRIVE
from services.integrations.crm.provider import Provider
from services.integrations.crm.salesforce import SALESFORCE

PROVIDERS: Mapping[str, Provider] = {provider.name: provider for provider in (HUBSPOT, SALESFORCE, PIPEDRIVE)}
