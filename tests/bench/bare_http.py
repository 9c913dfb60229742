"""The yardstick: FastAPI with nothing of ours around it. Run as ``python -m tests.bench.bare_http PORT DATABASE``, where the
database is a PostgreSQL URL or a file for SQLite."""

import asyncio
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

_CREATE = "CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY, name TEXT, quantity INTEGER, sha TEXT)"
_CONNECTIONS = 16
Insert = Callable[[tuple[Any, ...]], Awaitable[object]]


class Order(BaseModel):
    """As large as a real one."""

    name: str
    quantity: int = 1
    artifact_sha256: str


def _sqlite(path: str) -> Insert:
    """One durable insert after the other, as SQLite does."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(_CREATE)
    lock = asyncio.Lock()

    async def insert(values: tuple[Any, ...]) -> object:
        async with lock:
            return await asyncio.to_thread(connection.execute, "INSERT INTO job VALUES (?, ?, ?, ?)", values)

    return insert


async def _postgres(url: str) -> Insert:
    pool = await asyncpg.create_pool(url, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    await pool.execute(_CREATE)

    async def insert(values: tuple[Any, ...]) -> object:
        return await pool.execute("INSERT INTO job VALUES ($1, $2, $3, $4)", *values)

    return insert


def make_app(database: str) -> FastAPI:
    """A GET, a POST with one durable insert, a POST of a file that does nothing with it."""

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        is_sqlite = not database.startswith("postgresql:")
        app.state.insert = _sqlite(database) if is_sqlite else await _postgres(database)
        yield

    app = FastAPI(lifespan=opened)

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return {"job_id": "1", "state": "queued", "progress": 0.0, "runs": [], "quantity": 1, "good_parts": 0}

    @app.post("/job")
    async def job(order: Order) -> dict[str, str]:
        job_id = str(uuid.uuid4())
        await app.state.insert((job_id, order.name, order.quantity, order.artifact_sha256))
        return {"job_id": job_id}

    @app.post("/file")
    async def file(file: UploadFile) -> dict[str, str | None]:
        return {"name": file.filename}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[2]), port=int(sys.argv[1]), log_level="error", loop="uvloop", http="httptools")
