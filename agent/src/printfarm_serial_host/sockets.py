"""The Unix socket: who may speak, and whole messages out of bytes. Nothing here blocks."""

import contextlib
import os
import selectors
import socket
from collections.abc import Callable
from pathlib import Path

from printfarm_agent.drivers.marlin import talk

LONGEST_BACKLOG = 1 << 20
MOST_PEERS = 16


class Peer:
    """A connection. ``is_claimant``: it has shown the token, and drives the printer."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.is_claimant = False
        self.is_closed = False
        self._in = b""
        self._out = b""

    def messages(self) -> list[talk.Message]:
        """What has arrived whole. Closes itself at the end of the stream, or at noise."""
        try:
            data = self.connection.recv(talk.LONGEST)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return []
        *lines, self._in = (self._in + data).split(b"\n")
        try:
            found = [talk.decode(line) for line in lines]
        except talk.Garbled:
            self.is_closed = True
            return []
        self.is_closed = len(self._in) > talk.LONGEST
        return found

    def say(self, line: bytes) -> None:
        """Sent as the peer takes it; one that takes nothing is closed."""
        self._out += line
        self.flush()
        if len(self._out) > LONGEST_BACKLOG:
            self.is_closed = True

    def flush(self) -> None:
        """As much as goes."""
        try:
            while self._out:
                self._out = self._out[self.connection.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.is_closed = True

    @property
    def has_more(self) -> bool:
        """It waits to be taken."""
        return bool(self._out)


Handler = Callable[[Peer, talk.Message], None]


class Sockets:
    """The listener and its peers, on a selector that others use too."""

    def __init__(self, folder: Path, selector: selectors.BaseSelector, handle: Handler) -> None:
        self._selector, self._handle = selector, handle
        self._path = folder / talk.SOCKET
        self.peers: list[Peer] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._path.unlink(missing_ok=True)
        # A path of this kind is at most 107 bytes long: it is named from within its folder.
        where = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        mask = os.umask(0o177)
        try:
            self._listener.bind(f"/proc/self/fd/{where}/{talk.SOCKET}")
        finally:
            os.umask(mask)
            os.close(where)
        self._listener.listen(8)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _address = self._listener.accept()
            connection.setblocking(False)
            peer = Peer(connection)
            self.peers.append(peer)
            self._selector.register(connection, selectors.EVENT_READ, lambda events: self._ready(peer, events))
            # Of those that only connect, the oldest goes.
            strangers = [other for other in self.peers if not other.is_claimant]
            if len(strangers) > MOST_PEERS:
                strangers[0].is_closed = True

    def _ready(self, peer: Peer, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            peer.flush()
        if events & selectors.EVENT_READ:
            for message in peer.messages():
                self._handle(peer, message)

    def tidy(self) -> None:
        """After each turn: waits for what is not taken yet, and forgets who is gone."""
        for peer in list(self.peers):
            if peer.is_closed:
                self.peers.remove(peer)
                self._selector.unregister(peer.connection)
                peer.connection.close()
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.has_more else 0)
            if self._selector.get_key(peer.connection).events != events:
                data = self._selector.get_key(peer.connection).data
                self._selector.modify(peer.connection, events, data)

    @property
    def has_claimant(self) -> bool:
        """Somebody drives the printer."""
        return any(peer.is_claimant and not peer.is_closed for peer in self.peers)

    def close(self) -> None:
        """The path goes too."""
        for peer in self.peers:
            peer.is_closed = True
        self.tidy()
        self._selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)
