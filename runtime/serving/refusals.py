"""What a server answers to a request that it refuses, and which status an error has."""

from collections.abc import Callable

from nstc.core import errors

Report = Callable[[BaseException], None]  # gets errors that no client can help


class RefusedError(Exception):
    """A request that is not answered as it was meant, with an HTTP status and one line of why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def refusal_of(error: BaseException) -> RefusedError:
    """The answer to a client whose request ended in an error.

    What a client can't help, a status of 500, names no file of this machine.
    """
    if isinstance(error, RefusedError):
        return error
    no_memory = errors.out_of_memory(error)
    if (isinstance(error, errors.ImageError) and error.too_large) or no_memory is not None:
        return RefusedError(413, "the picture is too large for this server: scale it down first.")
    if isinstance(error, errors.ImageError | errors.MissingExtraError):
        return RefusedError(415, str(error))
    if isinstance(error, errors.OptionError):
        return RefusedError(400, str(error))
    return RefusedError(500, "the server failed: see what nstc printed where it runs.")
