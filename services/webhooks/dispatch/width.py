"""How many posts at a time an endpoint takes, found out: more for each round that it answers well, half as many when it does not."""

_FIRST = 4
_MOST = 64


class Width:
    """Of one endpoint. One that fails is tried by a single post at a time, so a dead one holds a single connection."""

    def __init__(self) -> None:
        self._width = float(_FIRST)

    @property
    def posts(self) -> int:
        """How many may be under way."""
        return int(self._width)

    def answered_well(self) -> None:
        """One of them was taken."""
        self._width = min(_MOST, self._width + 1 / self._width)

    def failed(self) -> None:
        """One of them was not."""
        self._width = max(1.0, self._width / 2)
