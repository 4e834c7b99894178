"""Where tests run when several workers share them."""

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

_FOLDER = "tests/integration/"


class WholeSystemInOneWorker(LoadScopeScheduling):  # type: ignore[misc]
    """Each test goes wherever there is room, but all that share a house go to one worker: some kill parts of it.

    Own code because the `xdist_group` marks of pytest-xdist 3.8 do nothing under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _FOLDER if nodeid.startswith(_FOLDER) else nodeid
