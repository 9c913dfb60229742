"""A form with one file (RFC 7578), as the bytes before and after the file: its length is known before it is sent. Pure."""

from collections.abc import Mapping


def form(boundary: str, fields: Mapping[str, str], file_name: str) -> tuple[bytes, bytes]:
    """Fields first, then ``file``. Names are ASCII and hold no quote or line end: ours are."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
    parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n")
    return "".join(parts).encode("ascii"), f"\r\n--{boundary}--\r\n".encode("ascii")


def content_type(boundary: str) -> str:
    """Of the whole body."""
    return f"multipart/form-data; boundary={boundary}"
