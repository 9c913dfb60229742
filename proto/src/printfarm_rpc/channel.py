"""Channels to the coordinator. Two channels with equal arguments would share one connection; ours never do."""

import asyncio

import grpc

from .errors import Code, FarmError
from .limits import FIRST_ANSWER_SECONDS, Options


def open_channel(
    target: str, credentials: grpc.ChannelCredentials, options: Options, server_name: str = ""
) -> grpc.aio.Channel:
    """A channel of its own connection. ``server_name`` is the name in the server's certificate, if not the target's."""
    extra = [("grpc.ssl_target_name_override", server_name)] if server_name else []
    return grpc.aio.secure_channel(target, credentials, options=[*options, *extra])


async def ready(channel: grpc.aio.Channel, target: str, seconds: float = FIRST_ANSWER_SECONDS) -> None:
    """Waits for the first handshake. Raises FarmError UNAVAILABLE, naming the target and what to check."""
    try:
        async with asyncio.timeout(seconds):
            await channel.channel_ready()
    except TimeoutError as error:
        why = f"no TLS handshake with {target} within {seconds:g} s: check address, certificates, clock and revocation"
        raise FarmError(Code.UNAVAILABLE, why) from error
