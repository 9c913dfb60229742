"""The first administrator's key, and the file that it is found in."""

import asyncio
from pathlib import Path

from printfarm_rpc.keys import write_private

from .app.access import create_key, has_keys, is_secret, new_secret
from .app.farm import Caller, Farm
from .app.ports import Role
from .domain.errors import RuleError

_ITSELF = Caller("coordinator", Role.ADMIN)
_NAME = "first-administrator"


async def write_first_key(farm: Farm, path: Path) -> bool:
    """Makes a key, if there is none yet, and writes its secret to the file; whether it did.

    The secret is on the disk, under another name, before its hash is in the database: whoever dies in between finishes with
    the next start, and no administrator is lost."""
    begun = path.with_name(path.name + ".new")
    if await _is_good(farm, begun):
        return await _finish(begun, path)
    await asyncio.to_thread(begun.unlink, missing_ok=True)
    if await has_keys(farm):
        return False
    secret = new_secret()
    await asyncio.to_thread(write_private, begun, secret.encode() + b"\n")
    try:
        await create_key(farm, _ITSELF, _NAME, Role.ADMIN, None, secret)
    except RuleError as error:
        if error.code != "ALREADY_EXISTS":
            raise
        # Another coordinator was a moment faster; the file is with that one.
        await asyncio.to_thread(begun.unlink, missing_ok=True)
        return False
    return await _finish(begun, path)


async def _is_good(farm: Farm, begun: Path) -> bool:
    """An earlier start came as far as the database."""
    if not await asyncio.to_thread(begun.exists):
        return False
    content = await asyncio.to_thread(begun.read_text, errors="replace")
    return await is_secret(farm, content.strip())


async def _finish(begun: Path, path: Path) -> bool:
    content = await asyncio.to_thread(begun.read_bytes)
    await asyncio.to_thread(write_private, path, content)
    await asyncio.to_thread(begun.unlink, missing_ok=True)
    return True
