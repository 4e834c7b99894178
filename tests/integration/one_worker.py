"""Where tests run when several workers share them."""

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

# What all the tests of a path need, of which a worker has them: a house, the processes of one service and their servers, or what kustomize
# builds.
_HOUSES = (
    "tests/integration/",
    "services/sending/tests/test_kills.py",
    "services/sending/tests/test_processes.py",
    "deploy/k8s/",
)
# They are in nobody's house, or in one of their own, or kill parts of one, which another worker has for them. They are begun as early as
# the others, and not left for the end: each takes long, and all would wait for it.
_APART = "tests/integration/ apart"
_OUTSIDE_THE_HOUSE = (
    "tests/docs/",
    "tests/integration/test_exported_columns.py",
    "tests/integration/test_key_commands.py",
    "tests/integration/test_key_rotation.py",
    "tests/integration/test_previous_release.py",
    "tests/integration/test_provider_reports.py",
    "tests/integration/test_rolling_restarts.py",
    "tests/integration/test_sealed_columns.py",
    "tests/integration/test_secret_search.py",
    "tests/integration/test_secrets.py",
    "tests/integration/test_startup.py",
    "tests/integration/test_suppression_stories.py",
    "tests/integration/test_survival.py",
    "tests/integration/test_sync_kills.py",
    "tests/integration/test_sync_runs.py",
    "tests/integration/test_syncing.py",
    "tests/integration/test_tenancy.py",
    "tests/integration/test_webhook_kills.py",
)


class WholeSystemInOneWorker(LoadScopeScheduling):  # type: ignore[misc]
    """Each test goes wherever there is room, but all that share a house go to one worker: some kill parts of it.

    Own code because the `xdist_group` marks of pytest-xdist 3.8 do nothing under pytest 9.2.
    """

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Forget what is done: what a worker still has is counted anew, over all it ever had, whenever a test ends."""
        super().mark_test_complete(node, item_index, duration)
        units = self.assigned_work[node]
        unit = self._split_scope(self.registered_collections[node][item_index])
        if all(units[unit].values()):
            del units[unit]

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_OUTSIDE_THE_HOUSE):
            return _APART
        return next((house for house in _HOUSES if nodeid.startswith(house)), nodeid)
