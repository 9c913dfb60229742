"""MeatPack, as binary G-code uses it: two characters a byte where both are of the fifteen most common ones.

After ``doc/specifications.md`` of libbgcode and Scott Mudge's protocol. A low nibble comes before a high one; nibble 15 says
that the character follows whole. Two bytes 255 and a third are a command.
"""

_NIBBLES = "0123456789. \nGX"
_ENABLE, _DISABLE, _RESET, _NO_SPACES, _SPACES = 251, 250, 249, 247, 246


def unpack(packed: bytes) -> bytes:
    """One block; each begins anew. At most twice its length."""
    out = bytearray()
    table, packing, pending, place, size = _table(" "), False, -1, 0, len(packed)
    queue = 0
    while place < size:
        byte = packed[place]
        place += 1
        if byte == 255 and place + 1 < size and packed[place] == 255:
            packing, table = _commanded(packed[place + 1], packing, table)
            place += 2
        elif not packing:
            # Up to the next command all is as it was.
            end = packed.find(b"\xff\xff", place)
            end = size if end < 0 else end
            out += packed[place - 1 : end]
            place = end
        elif queue:
            out.append(byte)
            queue -= 1
            if pending >= 0:
                out.append(pending)
                pending = -1
        else:
            first, second = table[byte & 15], table[byte >> 4]
            if first < 0:
                queue, pending = (2, -1) if second < 0 else (1, second)
            else:
                out.append(first)
                # What shares a byte with the end of a line is filling.
                if first != 10:
                    if second < 0:
                        queue = 1
                    else:
                        out.append(second)
    return bytes(out)


def _table(space: str) -> list[int]:
    return [ord(c) for c in _NIBBLES.replace(" ", space)] + [-1]


def _commanded(command: int, packing: bool, table: list[int]) -> tuple[bool, list[int]]:
    if command == _NO_SPACES:
        return packing, _table("E")
    if command == _SPACES:
        return packing, _table(" ")
    if command in (_DISABLE, _RESET):
        return False, table
    return packing or command == _ENABLE, table
