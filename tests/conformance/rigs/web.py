"""What rigs of HTTP printers share: a front before the real server that loses, delays and lies."""

from tests.support.http_front import HttpFront, Instead

from ..rig import Hostile, Rig

NOISE = b"\x00\xff\xfe wrong baud \x07\x80"
_LOGIN = b"<!DOCTYPE html><html><title>Sign in</title><form method=post>password</form></html>"


def looks(method: str, path: str) -> bool:
    """Every question; commands are answered truly."""
    return method == "GET" or path.startswith("/printer/objects/query")


class WebRig(Rig):
    """The hooks that need no knowledge of the protocol."""

    def __init__(self, front: HttpFront) -> None:
        self.front = front

    async def heal(self) -> None:
        self.front.heal()

    async def lose_connection(self) -> None:
        self.front.unplug()

    async def answer_never(self) -> None:
        self.front.way.silent = True

    async def answer_late(self, seconds: float) -> None:
        self.front.way.delay = seconds

    async def corrupt_the_next_transfer(self) -> None:
        self.front.way.corrupt_next = True

    async def slow_transfers(self) -> None:
        self.front.way.upload_bytes_per_second = 300_000.0

    async def was_followed(self) -> bool:
        return self.front.trapped > 0

    async def be_hostile(self, how: Hostile) -> None:
        instead = {
            Hostile.NOISE: Instead(body=NOISE, content_type="application/octet-stream"),
            Hostile.ENDLESS: Instead(body=b" " * 1024, endless=True),
            Hostile.LOGIN_PAGE: Instead(body=_LOGIN, content_type="text/html"),
            Hostile.REDIRECT: Instead(status=302, location=self.front.trap),
            Hostile.WRONG_SHAPE: Instead(body=self.wrong_shape()),
        }
        if how in instead:
            self.front.way.instead = (looks, instead[how])
        else:
            self.front.way.rewrite = lambda path, body: self.twisted(how, path, body)

    def wrong_shape(self) -> bytes:
        """A well-formed answer whose values are of other types."""
        return b'{"state": [], "job": 3, "progress": "x", "temperature": [1], "result": {"status": {"webhooks": 7}}}'

    def twisted(self, how: Hostile, path: str, body: bytes) -> bytes:
        """An answer with one thing changed: the state, or the temperatures."""
        raise AssertionError(f"the rig has no answer that is {how} for {path}, of {len(body)} bytes")
