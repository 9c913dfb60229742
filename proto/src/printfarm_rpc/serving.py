"""What surrounds every call that a server takes: who may call, one log line, and errors of the catalogue only."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from .errors import Code, FarmError, to_rpc_status, unexpected
from .identity import Identity, PeerRole, from_context
from .refusing import read_on

_LOG = structlog.get_logger(__name__)

Translate = Callable[[Exception], FarmError | None]
Observe = Callable[[str, str, float], None]
Context = grpc.aio.ServicerContext[Any, Any]

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
PEER: ContextVar[Identity | None] = ContextVar("peer", default=None)


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every handler. A method that the table does not name is open to nobody.

    ``translate`` turns a program's own exceptions into FarmErrors; what it does not know becomes INTERNAL with an incident.
    """

    def __init__(
        self,
        table: Mapping[str, frozenset[PeerRole] | None],
        translate: Translate,
        observe: Observe = lambda method, code, seconds: None,
    ) -> None:
        self._table = table
        self._translate = translate
        self._observe = observe

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(details)
        if handler is None:
            return handler
        method = str(details.method)
        if handler.response_streaming:
            return self._streaming(handler, method)
        return self._single(handler, method)

    def _single(self, handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def call(request: Any, context: Context) -> Any:
            finished = _begin(method, context)
            try:
                self._admit(method)
                answer = await inner(_readable(request, streaming=handler.request_streaming), context)
            except Exception as error:
                unread = request if handler.request_streaming else None
                await self._fail(error, context, finished, unread)
            else:
                finished("OK", self._observe)
                return answer

        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(call, _forgiving(handler.request_deserializer), handler.response_serializer)

    def _streaming(self, handler: Any, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            finished = _begin(method, context)
            try:
                self._admit(method)
                async for answer in inner(_readable(request, streaming=handler.request_streaming), context):
                    yield answer
            except Exception as error:
                await self._fail(error, context, finished)
            else:
                finished("OK", self._observe)

        make = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )
        return make(call, _forgiving(handler.request_deserializer), handler.response_serializer)

    def _admit(self, method: str) -> None:
        roles = self._table.get(method, frozenset())
        if roles is None:
            return
        peer = PEER.get()
        if peer is None:
            raise FarmError(Code.UNAUTHENTICATED, "a client certificate of this farm is needed")
        if peer.role not in roles:
            raise FarmError(Code.PERMISSION_DENIED, f"{method} is not for {peer.role}s")

    async def _fail(
        self,
        error: Exception,
        context: Context,
        finished: Callable[[str, Observe], None],
        unread: AsyncIterator[Any] | None = None,
    ) -> None:
        known = error if isinstance(error, FarmError) else self._translate(error) or unexpected(error)
        finished(known.code.name, self._observe)
        if unread is not None:
            await read_on(unread, context)
        await context.abort_with_status(to_rpc_status(known))


class _Unreadable:
    """Stands for bytes that are no message of the method's kind, until the call can say so."""


_UNREADABLE = _Unreadable()


def _forgiving(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """gRPC would answer UNKNOWN, outside of every guard, for what cannot be parsed."""

    def parse(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _UNREADABLE

    return parse


def _readable(request: Any, *, streaming: bool) -> Any:
    """Raises MALFORMED, at once or where a stream comes to it."""
    return _each_readable(request) if streaming else _checked(request)


async def _each_readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


def _checked(request: Any) -> Any:
    if request is _UNREADABLE:
        raise FarmError(Code.MALFORMED, "the message cannot be parsed")
    return request


def _begin(method: str, context: Context) -> Callable[[str, Observe], None]:
    peer = from_context(context)
    PEER.set(peer)
    metadata = dict(context.invocation_metadata() or ())
    given = str(metadata.get("x-request-id", ""))
    request_id = given if 0 < len(given) <= 64 and given.isprintable() else uuid.uuid4().hex
    REQUEST_ID.set(request_id)
    structlog.contextvars.bind_contextvars(request_id=request_id, peer=peer.uri if peer else "none")
    began = time.monotonic()

    def finished(code: str, observe: Observe) -> None:
        seconds = time.monotonic() - began
        observe(method, code, seconds)
        log = _LOG.info if code not in ("OK",) else _LOG.debug
        log("rpc", method=method, code=code, seconds=round(seconds, 4))

    return finished


async def serve_until_cancelled(server: grpc.aio.Server, grace: float) -> None:
    """Serves; on cancellation stops taking calls and gives those under way ``grace`` seconds."""
    try:
        await server.wait_for_termination()
    except asyncio.CancelledError:
        await server.stop(grace)
        raise
