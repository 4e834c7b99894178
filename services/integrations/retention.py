"""What is forgotten, and when: who did not come back from a CRM, syncs of long ago, and what happened to mail that no CRM was told of."""

from datetime import timedelta

from chassis.retention import Kept
from services.integrations.sync.activities import GIVEN_UP_AFTER

# With their problems.
SYNCS_KEPT = timedelta(days=90)

_EXPIRED_FOR = timedelta(hours=1)
# Longer than anybody's mail is opened for.
_CAMPAIGN_NAMES_KEPT = timedelta(days=180)

KEPT = (
    Kept("integrations.authorizations", "expires_at", _EXPIRED_FOR),
    Kept("integrations.syncs", "finished_at", SYNCS_KEPT),
    Kept("integrations.outgoing_activities", "occurred_at", GIVEN_UP_AFTER),
    Kept("integrations.campaign_names", "launched_at", _CAMPAIGN_NAMES_KEPT),
)
