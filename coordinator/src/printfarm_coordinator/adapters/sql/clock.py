"""The database's clock, in microseconds since the epoch (I18)."""

import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

Clock = Callable[[], int]

# now() would be the transaction's start; a lease is judged by the time at which it is looked at.
_NOW = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


async def database_now(connection: AsyncConnection) -> int:
    """What time the database says it is. SQLite runs in this process and has no clock but this host's: it need not be asked."""
    if connection.dialect.name == "sqlite":
        return time.time_ns() // 1000
    return int((await connection.execute(_NOW)).scalar_one())
