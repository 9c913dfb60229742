"""The yardstick of an agent with many printers: the same questions at the same rate, each on a connection of its own, and JSON.

``python -m tests.bench.bare_poller SECONDS``, and in its input a list of [url, headers, body] for each printer, asked so often;
null for a body is a GET, else it is posted as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import aiohttp

Question = tuple[str, dict[str, str], dict[str, Any] | None]


async def _poll(session: aiohttp.ClientSession, questions: Sequence[Question], seconds: float) -> None:
    while True:
        for url, headers, body in questions:
            method = "GET" if body is None else "POST"
            async with session.request(method, url, headers=headers, json=body) as answer:
                json.loads(await answer.read())
        await asyncio.sleep(seconds)


async def main() -> None:
    """For ever."""
    printers = json.load(sys.stdin)
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for questions in printers:
            group.create_task(_poll(session, questions, float(sys.argv[1])))
        print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
