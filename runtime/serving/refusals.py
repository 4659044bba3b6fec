"""What a server answers to a request that it refuses."""


class RefusedError(Exception):
    """A request that is not answered as it was meant, with an HTTP status and one line of why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
