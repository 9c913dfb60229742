"""What a print file may ask of a printer. The last check before the machine, on the host that drives it.

Firmware differs in how it reads a line, so a line is refused if any of the common readings is dangerous: case and spaces do not
count, line numbers and checksums are left out, every command of a line counts, and what stands in parentheses or after a quoted
semicolon is taken both ways. Pure but for reading the file.
"""

from .check import LONGEST_LINE, LineCheck, check_file
from .forbidden import FORBIDDEN
from .values import MARGIN_MM, Limits

__all__ = ["FORBIDDEN", "LONGEST_LINE", "MARGIN_MM", "Limits", "LineCheck", "check_file"]
