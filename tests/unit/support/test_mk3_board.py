"""What the emulated MK3S does as Prusa-Firmware does, where PrusaLink leans on it."""

from tests.support.mk3_board import Mk3Board

_NUMBERED = b"N1 G4 P1*109\n"


def _asked(board: Mk3Board, line: bytes, at: float) -> list[str]:
    board.receive(line, at)
    return board.take(at + 0.5).decode().splitlines()


def _booted() -> Mk3Board:
    board = Mk3Board()
    board.reset(0.0)
    board.take(1.0)
    return board


def test_a_line_without_a_number_begins_the_count_anew() -> None:
    board = _booted()
    assert _asked(board, _NUMBERED, 1.0) == ["ok"]
    assert "Resend: 2" in _asked(board, _NUMBERED, 2.0)
    assert _asked(board, b"M110 N0\n", 3.0) == ["ok"]
    assert _asked(board, _NUMBERED, 4.0) == ["ok"]


def test_it_keeps_what_a_file_said_of_its_progress() -> None:
    board = _booted()
    normal = "NORMAL MODE: Percent done: {}; print time remaining in mins: {}; Change in mins: -1"
    assert _asked(board, b"M73\n", 1.0)[0] == normal.format(-1, -1)
    assert _asked(board, b"M73 P30 R5\n", 2.0)[0] == normal.format(30, 5)
    assert _asked(board, b"M73 Q40\n", 3.0)[0] == normal.format(30, 5)
    board.reset(4.0)
    board.take(5.0)
    assert _asked(board, b"M73\n", 5.0)[0] == normal.format(-1, -1)
