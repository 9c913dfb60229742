"""What a file is refused for."""


class Refused(Exception):
    """The file is broken, hostile or of a kind that the farm does not take. The text is for whoever sent it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
