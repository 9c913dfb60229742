"""Files that an agent looked at and refused for a printer: they ask for what that printer must not do.

Such a refusal is about the file. The printer does not rest for it, or one bad file would keep every printer from good work; and
for a while the file is not offered to that printer again, in this job or another. After that while it is tried anew: the
printer's limits stand in its host's configuration, and somebody may have changed them.
"""

from collections.abc import Mapping

REFUSED_FILE = "limits"
REMEMBERED_US = 3_600_000_000

# (SHA-256 of the file, printer id) -> why.
Refusals = Mapping[tuple[str, str], str]
