"""What of identity's is no longer good once a backup is restored: nobody knows what was taken back after it was taken.

These run in the restored database before any process does, as its administrator, in all organizations at once. Nothing here is for
processes. Why so: ADR 0055.
"""

# One after the other.
END_WHAT_MAY_HAVE_ENDED = (
    # Who logged out since, changed a password or was removed, has to show anew who they are.
    "DELETE FROM identity.sessions",
    # Links of mails that were followed since would be good once more.
    "DELETE FROM identity.account_tokens",
)
