"""A serial port without the surprises: opened for ourselves alone, and closed without resetting the board.

Linux raises DTR whenever a port is opened, and drops it at the last close if HUPCL is set; many boards reset on that edge.
HUPCL is cleared after opening: the first opening after the cable was plugged in may still reset a board, none after it
does.
"""

import contextlib
import errno
import fcntl
import os
import termios

import serial

_READ_BYTES = 4096


class PortGone(Exception):
    """It vanished, or cannot be had."""


class Port:
    """An open port. Never blocks."""

    def __init__(self, path: str, baud: int) -> None:
        try:
            self._serial = serial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise PortGone(_reason(path, error)) from error
        self.path, self.baud = path, baud
        fd = self.fd = self._serial.fileno()
        os.set_blocking(fd, False)
        try:
            settings = termios.tcgetattr(fd)
            settings[2] &= ~termios.HUPCL
            termios.tcsetattr(fd, termios.TCSANOW, settings)
            fcntl.ioctl(fd, termios.TIOCEXCL)
        except (termios.error, OSError) as error:
            self.close()
            raise PortGone(_reason(path, error)) from error
        # An FTDI adapter waits up to 16 ms before it hands bytes over: a third of the speed. Not every driver has the choice.
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            self._serial.set_low_latency_mode(True)

    def read(self) -> bytes:
        """What is there. Raises PortGone: nothing on a port that said it had something is an unplugged one."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PortGone(_reason(self.path, error)) from error
        if not data:
            raise PortGone(f"{self.path} was unplugged")
        return data

    def write(self, data: bytes) -> int:
        """How much of it was taken."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PortGone(_reason(self.path, error)) from error

    def throw_output_away(self) -> None:
        """What the kernel holds and has not sent yet."""
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(self.fd, termios.TCOFLUSH)

    def is_there(self) -> bool:
        """Its device still exists; some drivers say nothing when it goes."""
        return os.path.exists(self.path)

    def close(self) -> None:
        """The board notices nothing."""
        with contextlib.suppress(OSError, termios.error, serial.SerialException):
            self._serial.close()


def _reason(path: str, error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return f"{path} is not there: is the printer switched on and plugged in?"
    if number in (errno.EACCES, errno.EPERM):
        return f"{path} may not be opened: the agent's user must be in the group that owns it, often dialout"
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return f"{path} is held by another program"
    if number == errno.EIO:
        return f"{path} was unplugged"
    words = os.strerror(number) if isinstance(number, int) else str(error)
    return f"{path} cannot be used: {words}"
