"""The log of decisions: which messages the veto and the claim let go, which not and why, and by which version of the list.

A row is written by the statement that decides, one for each batch. It is in no chain yet: to link it there and then, batches of an
organization would have to wait for each other. `linking.py` does that seconds later.
"""

from enum import StrEnum


class Gate(StrEnum):
    """Who decided."""

    VETO = "veto"
    CLAIM = "claim"


def logging(gate: Gate, decided: str) -> str:
    """Parts of a statement that log what it decided: rows of messages' `id`, `batch_id` and `reason`, which is NULL to let it go."""
    return f"""
        logged AS (
            INSERT INTO decisions (gate, batch_id, list_version, allowed, denied, reasons)
            SELECT '{gate.value}', batch_id, coalesce((SELECT version FROM suppression_list_versions), 0),
                coalesce(string_agg(uuid_send(id), ''::bytea ORDER BY id) FILTER (WHERE reason IS NULL), ''::bytea),
                coalesce(array_agg(id ORDER BY id) FILTER (WHERE reason IS NOT NULL), ARRAY[]::uuid[]),
                coalesce(array_agg(reason ORDER BY id) FILTER (WHERE reason IS NOT NULL), ARRAY[]::text[])
            FROM {decided} GROUP BY batch_id
        ), chained AS (
            INSERT INTO decision_chains (day)
            SELECT (now() AT TIME ZONE 'UTC')::date WHERE EXISTS (SELECT FROM {decided}) ON CONFLICT DO NOTHING
        )
    """  # noqa: S608 - of our own words alone
