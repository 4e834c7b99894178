"""What goes to a CRM in one call, of more that is to be written."""

from collections.abc import Sequence

from services.integrations.crm.records import Change


def of_one_kind(changes: Sequence[Change], most: int) -> list[Change]:
    """As many of the beginning as go in one call: known ones, or those that go by their address, none of them twice."""
    some: list[Change] = []
    met: set[str] = set()
    for each in changes[:most]:
        key = each.id or each.email.lower()
        if bool(each.id) != bool(changes[0].id) or key in met:
            break
        met.add(key)
        some.append(each)
    return some
