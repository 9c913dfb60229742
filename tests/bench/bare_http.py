"""The yardstick: FastAPI with nothing of ours around it. Run as ``python -m tests.bench.bare_http PORT FILE``."""

import asyncio
import sqlite3
import sys
import uuid
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel


class Order(BaseModel):
    """As large as a real one."""

    name: str
    quantity: int = 1
    artifact_sha256: str


def make_app(path: str) -> FastAPI:
    """A GET, a POST with one durable insert, a POST of a file that does nothing with it."""
    app = FastAPI()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE IF NOT EXISTS job (id TEXT PRIMARY KEY, name TEXT, quantity INTEGER, sha TEXT)")
    lock = asyncio.Lock()

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return {"job_id": "1", "state": "queued", "progress": 0.0, "runs": [], "quantity": 1, "good_parts": 0}

    @app.post("/job")
    async def job(order: Order) -> dict[str, str]:
        job_id = str(uuid.uuid4())
        async with lock:
            values = (job_id, order.name, order.quantity, order.artifact_sha256)
            await asyncio.to_thread(connection.execute, "INSERT INTO job VALUES (?, ?, ?, ?)", values)
        return {"job_id": job_id}

    @app.post("/file")
    async def file(file: UploadFile) -> dict[str, str | None]:
        return {"name": file.filename}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[2]), port=int(sys.argv[1]), log_level="error", loop="uvloop", http="httptools")
