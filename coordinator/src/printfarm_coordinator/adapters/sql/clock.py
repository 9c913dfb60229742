"""A clock in the place of the database's, for tests that turn time by hand."""

from collections.abc import Callable

# Microseconds since the epoch (I18).
Clock = Callable[[], int]
