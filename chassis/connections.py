"""Connections to PostgreSQL: a small pool, and transactions that end whatever happens inside them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any, TypeAlias, cast
from weakref import WeakSet

import psycopg
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import AsyncAdaptedQueuePool, exc, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from chassis.arrays import ArrayDumper
from chassis.errors import Unavailable
from chassis.metrics import DATABASE_WAIT
from chassis.secret import Secret

Driver: TypeAlias = psycopg.AsyncConnection[Any]

psycopg.adapters.register_dumper(list, ArrayDumper)

_POOL_WAIT_SECONDS = 5
# Nothing in a request takes as long; what hangs must not keep its locks.
_SERVER_SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
}
# Connection, rollback, resources, operator, system; a lock not got, a transaction that idled (appendix A).
_TRANSIENT_CLASSES = {"08", "40", "53", "57", "58"}
_TRANSIENT_STATES = {"55P03", "25P03", "25P04"}
# Who may act as the owner of a table could switch off its policies.
_POWERS = """
    SELECT current_user, rolsuper, rolbypassrls, EXISTS (
        SELECT FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND pg_has_role(relowner, 'MEMBER')
    ) FROM pg_roles WHERE rolname = current_user
"""


class ConnectionPool:
    """At most `size` connections, opened as they are needed and replaced when they break."""

    def __init__(self, url: Secret, *, size: int, settings: dict[str, str] | None = None) -> None:
        options = " ".join(
            f"-c {name}={value}" for name, value in {**_SERVER_SETTINGS, **(settings or {})}.items()
        )
        where = make_url(url.reveal()).set(drivername="postgresql+psycopg")
        self.role = where.username or ""
        self.size = size
        self._wait = DATABASE_WAIT.labels(self.role)
        self._engine = create_async_engine(
            where,
            # The driver begins nothing by itself: `transaction` sends BEGIN together with what belongs to it.
            isolation_level="AUTOCOMMIT",
            pool_size=size,
            max_overflow=0,
            pool_timeout=_POOL_WAIT_SECONDS,
            pool_use_lifo=True,
            connect_args={"options": options, "connect_timeout": 5},
            hide_parameters=True,
        )
        _FIGURES.pools.add(self)

    @property
    def in_use(self) -> int:
        """How many connections somebody has."""
        return cast(AsyncAdaptedQueuePool, self._engine.pool).checkedout()

    @asynccontextmanager
    async def transaction(self, opening: str = "BEGIN") -> AsyncIterator[tuple[AsyncConnection, Driver]]:
        """A transaction, committed at the end of the block and rolled back when the block fails.

        `opening` starts it in one round trip. Raises Unavailable when the database does not answer, gives up a lock
        or a statement for its time-out, or asks to repeat the transaction.
        """
        with _unavailable_when_transient():
            connection, driver = await self._opened(opening)
            try:
                yield connection, driver
                _refuse_a_failed_transaction(driver)
                # Nothing where `committing` has.
                await driver.commit()
            finally:
                await _returned(connection, driver)

    async def refuse_a_powerful_role(self) -> None:
        """Exit the process when the role could see past row-level security."""
        async with self.transaction() as (_, driver):
            row = await (await driver.execute(_POWERS)).fetchone()
        role, *powers = cast("tuple[str, bool, bool, bool]", row)
        for power, what in zip(powers, ("is a superuser", "has BYPASSRLS", "owns tables"), strict=True):
            if power:
                raise SystemExit(
                    f"refusing to start: the database role {role} {what}, so policies do not bind it"
                )

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _opened(self, opening: str) -> tuple[AsyncConnection, Driver]:
        # After the server restarted every pooled connection is broken: each is tried and dropped at most once.
        for _ in range(self.size):
            asked = perf_counter()
            connection = await self._engine.connect()
            self._wait.observe(perf_counter() - asked)
            driver = cast(Driver, (await connection.get_raw_connection()).driver_connection)
            try:
                await driver.execute(opening, prepare=False)
            except psycopg.OperationalError:
                await connection.invalidate()
                await connection.close()
            except BaseException:
                await _returned(connection, driver)
                raise
            else:
                return connection, driver
        raise Unavailable("The database does not answer.")


class _Figures(Collector):
    """The pools of this process at the moment of each scrape, those of a role together."""

    def __init__(self) -> None:
        self.pools: WeakSet[ConnectionPool] = WeakSet()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is so now."""
        in_use, limit = Counter[str](), Counter[str]()
        for pool in self.pools:
            in_use[pool.role] += pool.in_use
            limit[pool.role] += pool.size
        yield _by_role("flownurture_database_connections", "Connections of a pool that are in use.", in_use)
        yield _by_role("flownurture_database_connections_limit", "How many a pool may have.", limit)


def _by_role(name: str, meaning: str, figures: Counter[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=["role"])
    for role, figure in figures.items():
        family.add_metric([role], figure)
    return family


_FIGURES = _Figures()
REGISTRY.register(_FIGURES)


async def _returned(connection: AsyncConnection, driver: Driver) -> None:
    # Returning rolls back what is open; a second cancellation must not interrupt it.
    await asyncio.shield(asyncio.ensure_future(_given_back(connection, driver)))


async def _given_back(connection: AsyncConnection, driver: Driver) -> None:
    # Cut off on its way out of a pipeline it would never leave it, and fail whoever used it next.
    if driver.pgconn.pipeline_status != PipelineStatus.OFF:
        await connection.invalidate()
    await connection.close()


@asynccontextmanager
async def committing(driver: Driver) -> AsyncIterator[None]:
    """What is executed within goes to the server together with the COMMIT, in one round trip."""
    _refuse_a_failed_transaction(driver)
    async with driver.pipeline():
        yield
        await driver.commit()


def _refuse_a_failed_transaction(driver: Driver) -> None:
    # PostgreSQL would answer COMMIT with a silent ROLLBACK.
    if driver.info.transaction_status == TransactionStatus.INERROR:
        raise psycopg.errors.InFailedSqlTransaction("a statement failed and its error was swallowed")


@contextmanager
def _unavailable_when_transient() -> Iterator[None]:
    try:
        yield
    except exc.TimeoutError as error:
        raise Unavailable("The database is busy.") from error
    except (exc.DBAPIError, psycopg.Error) as error:
        if _transient(error.orig if isinstance(error, exc.DBAPIError) else error):
            raise Unavailable("The database does not answer.") from error
        raise


def _transient(error: BaseException | None) -> bool:
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _TRANSIENT_CLASSES or error.sqlstate in _TRANSIENT_STATES
