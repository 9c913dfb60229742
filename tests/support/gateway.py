"""A gateway on a real port over real control services, its keys, and a client that speaks bytes."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_gateway.bootstrap import open_gateway
from printfarm_gateway.settings import GatewaySettings
from printfarm_rpc.identity import Identity, PeerRole

from .control_plane import GCODE, ControlPlane, open_control_plane
from .plain_http import NO_AUTHORITIES

ROLES = {"viewer": pb.ROLE_VIEWER, "operator": pb.ROLE_OPERATOR, "admin": pb.ROLE_ADMIN}
JWT_SECRET = "a-secret-of-these-tests-of-40-characters"
_SECONDS = 30.0


@dataclass
class RawAnswer:
    """What came back before the other side closed, or the first answer was whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass
class TestedGateway:
    """Where it serves, what is behind it, and a key for each role."""

    __test__ = False

    address: str
    plane: ControlPlane
    keys: dict[str, str]
    settings: GatewaySettings

    @property
    def url(self) -> str:
        """Of its root."""
        return f"http://{self.address}"

    def client(self, role: str | None = "operator", headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        """A client with that role's key; with none, a stranger."""
        sent = ({"X-API-Key": self.keys[role]} if role else {}) | (headers or {})
        return httpx.AsyncClient(base_url=self.url, headers=sent, timeout=_SECONDS, verify=NO_AUTHORITIES)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection for bytes."""
        host, _, port = self.address.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    def head(self, method: str, path: str, *headers: str, role: str | None = "operator") -> bytes:
        """The head of a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: farm", *headers]
        if role:
            lines.append(f"X-API-Key: {self.keys[role]}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def raw(self, *pieces: bytes) -> RawAnswer:
        """Sends the pieces as they are; stops sending where the other side has closed."""
        reader, writer = await self.connect()
        try:
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
            return await read_answer(reader)
        finally:
            await close(writer)

    async def store(self, content: bytes = GCODE, name: str = "part.gcode") -> str:
        """An artifact's SHA-256."""
        return await self.plane.operator.store(content, name)

    async def submit(self, **fields: Any) -> str:
        """A job's id."""
        async with self.client() as client:
            order = {"name": "part", "artifact_sha256": await self.store(), **fields}
            answer = await client.post("/api/v1/jobs/receive", json=order)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["job_id"])


async def close(writer: asyncio.StreamWriter) -> None:
    """Quietly: the other side may be gone."""
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> RawAnswer:
    """One answer. Status 0 if the connection ended without one."""
    async with asyncio.timeout(_SECONDS):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return RawAnswer(0, {}, b"", closed=True)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        closing = headers.get("connection") == "close"
        if closing:
            with suppress(ConnectionError):
                assert await reader.read() == b""
        return RawAnswer(int(first.split(" ")[1]), headers, body, closing)


@asynccontextmanager
async def open_tested_gateway(folder: Path, **settings: Any) -> AsyncGenerator[TestedGateway]:
    """Control services, and the gateway in front of them."""
    async with open_control_plane(folder) as plane:
        keys = {}
        for role, number in ROLES.items():
            request = pb.CreateApiKeyRequest(name=role, role=number)
            keys[role] = (await plane.operator(plane.operator.access.CreateApiKey, request)).secret
        async with gateway_over(plane, keys, **settings) as gateway:
            yield gateway


@asynccontextmanager
async def gateway_over(plane: ControlPlane, keys: dict[str, str], **settings: Any) -> AsyncGenerator[TestedGateway]:
    """One more gateway of the same farm."""
    folder = plane.folder / "gateway"
    plane.authority.issue(folder, Identity(PeerRole.GATEWAY, "gw"))
    made = GatewaySettings(
        **{
            "_env_file": None,
            "data_dir": plane.folder / "gateway-data",
            "host": "127.0.0.1",
            "port": 0,
            "control_target": plane.address,
            "credentials_dir": folder,
            "jwt_secret_key": JWT_SECRET,
            "redis_url": "",
            "requests_per_minute": 1_000_000,
            "failures_per_minute": 1_000_000,
        }
        | settings
    )
    async with open_gateway(made) as running:
        yield TestedGateway(running.address, plane, keys, made)
