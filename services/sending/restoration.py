"""What becomes of mail that was open when a backup was taken, once that is restored: nobody knows what was sent after it.

These run in the restored database before any process does, as its administrator, in all organizations at once. Nothing here is for
processes. Why so: ADR 0055.
"""

from services.sending.categories import REPEATS_IN_DOUBT

# As long as nobody's lease is there, no delivery process gets one of its own, and without one nothing is claimed (`delivery/leases.py`).
NOBODY = "ffffffff-ffff-ffff-ffff-ffffffffffff"

HOLD = f"INSERT INTO sending.delivery_leases (token, expires_at) VALUES ('{NOBODY}', 'infinity') ON CONFLICT DO NOTHING"  # noqa: S608
RELEASE = f"DELETE FROM sending.delivery_leases WHERE token = '{NOBODY}'"  # noqa: S608
IS_HELD = f"EXISTS (SELECT FROM sending.delivery_leases WHERE token = '{NOBODY}')"

# One after the other. What was open, as what it may have become:
DOUBT_WHAT_WAS_OPEN = (
    # What a delivery process had in its hands is in nobody's.
    "UPDATE sending.batches SET lease_token = NULL, leased_at = NULL, due_at = now() WHERE lease_token IS NOT NULL",
    # Marketing is repeated by its sender's word alone. Of a campaign that was cancelled nothing was claimed any more.
    f"""
    UPDATE sending.messages AS message
    SET status = 'indeterminate', next_attempt_at = NULL, settled_at = now(),
        smtp_reply = 'the platform was restored from a backup that was taken before this was settled'
    WHERE status IN ('queued', 'deferred') AND NOT ({REPEATS_IN_DOUBT}) AND NOT EXISTS (
        SELECT FROM sending.campaigns AS campaign
        WHERE campaign.organization_id = message.organization_id AND campaign.id = message.campaign_id
          AND campaign.status = 'cancelled'
    )
    """,  # noqa: S608 - of our own words alone
    """
    UPDATE sending.batches SET status = 'settled'
    WHERE status <> 'settled' AND NOT EXISTS (
        SELECT FROM sending.messages AS message
        WHERE message.organization_id = batches.organization_id AND message.batch_id = batches.id
          AND message.status IN ('queued', 'deferred')
    )
    """,
    # Of these nobody knows any more whom else they reached.
    """
    UPDATE sending.campaigns SET status = 'paused', lease_token = NULL, lease_until = NULL
    WHERE status = 'sending' AND NOT audience_complete
    """,
    # Whose time came meanwhile, they may have been sent: they are launched by their sender's word. What a template said they take anew.
    """
    UPDATE sending.campaigns
    SET status = 'draft',
        html = CASE WHEN template_id IS NULL THEN html ELSE '' END, text = CASE WHEN template_id IS NULL THEN text ELSE '' END
    WHERE status = 'scheduled' AND send_at <= now()
    """,
    # Whoever is in them may be further on: their steps would be taken once more.
    "UPDATE sending.workflows SET status = 'paused' WHERE status = 'active'",
)
