"""The newest picture of each camera, in memory: one slot a camera, replaced by the next."""

from dataclasses import dataclass, field

from printfarm_rpc.limits import LARGEST_FRAME_BYTES

MOST_CAMERAS_PER_PRINTER = 8
MOST_PIXELS = 4096 * 4096
# Start-of-frame markers: all of C0..CF but the tables (C4, C8, CC).
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole JPEG. ``at`` in microseconds by the coordinator's clock."""

    jpeg: bytes
    at: int
    run_id: str


@dataclass(slots=True)
class Frames:
    """By printer, then by camera."""

    _kept: dict[str, dict[str, Frame]] = field(default_factory=dict)
    dropped: int = 0

    def put(self, printer_id: str, camera: str, frame: Frame) -> str:
        """Keeps the frame; returns why not, or an empty text."""
        if wrong := fault_of(frame.jpeg):
            return wrong
        cameras = self._kept.setdefault(printer_id, {})
        if camera not in cameras and len(cameras) >= MOST_CAMERAS_PER_PRINTER:
            return "too_many_cameras"
        cameras[camera] = frame
        return ""

    def get(self, printer_id: str, camera: str) -> Frame | None:
        """The newest of that camera since the coordinator started."""
        return self._kept.get(printer_id, {}).get(camera)


def fault_of(jpeg: bytes) -> str:
    """Why these bytes are no picture that is taken (bad input 73); empty if they are one."""
    if not jpeg or len(jpeg) > LARGEST_FRAME_BYTES:
        return "too_large" if jpeg else "empty"
    if not (jpeg.startswith(b"\xff\xd8") and jpeg.rstrip(b"\x00").endswith(b"\xff\xd9")):
        return "not_a_jpeg"
    size = dimensions(jpeg)
    if size is None:
        return "not_a_jpeg"
    return "too_many_pixels" if size[0] * size[1] > MOST_PIXELS else ""


def dimensions(jpeg: bytes) -> tuple[int, int] | None:
    """Width and height as the start-of-frame segment says (ITU T.81, B.2.2), without decoding."""
    at = 2
    while at + 9 < len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker in _START_OF_FRAME:
            height, width = int.from_bytes(jpeg[at + 5 : at + 7]), int.from_bytes(jpeg[at + 7 : at + 9])
            return (width, height) if width and height else None
        at += 2 + max(2, int.from_bytes(jpeg[at + 2 : at + 4]))
    return None
