"""What the errors of huggingface_hub mean to who asked a hub for a model."""

from typing import Any, Final

from nstc.core import errors

_OF_THE_NETWORK: Final = frozenset(  # errors of Python, and of what huggingface_hub asks by
    {"ConnectionError", "TimeoutError", "gaierror", "NetworkError", "TimeoutException"}
)


def explained(
    error: BaseException, name: str, repository: str, place: str, kinds: Any
) -> errors.FetchError:
    """What an error means that was met about a name, one of a repository at a hub's address.

    `kinds` are huggingface_hub's. No text is repeated that may hold a token.
    """
    cause: BaseException | None = error
    wrapped = (kinds.LocalEntryNotFoundError, RuntimeError)  # around what went wrong
    while isinstance(cause, wrapped) and cause.__cause__ is not None:
        cause = cause.__cause__
    log_in = "log in with  hf auth login  or set HF_TOKEN"
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(cause, kinds.GatedRepoError):
        return errors.FetchError(
            f"{name} is given to those only who accepted its conditions at "
            f"{place}/{repository}: accept them, and {log_in}."
        )
    if isinstance(cause, kinds.RevisionNotFoundError):
        return errors.FetchError(f"{name} is not there: {place} has no such revision of it.")
    if isinstance(cause, kinds.RepositoryNotFoundError):
        return errors.FetchError(
            f"{name} is not at {place}, or asks for a token: check the name, or {log_in}."
        )
    if isinstance(cause, kinds.EntryNotFoundError) and status is not None:
        return errors.FetchError(f"{name} is not there: {place} has no such file.")
    if status in {401, 403}:
        return errors.FetchError(
            f"{name}: {place} refuses access ({status}): {log_in}, with rights to it."
        )
    if status in {409, 412}:  # of a commit
        return errors.FetchError(f"{name} is being changed by others: send it again later.")
    if status is not None and (status == 429 or status >= 500):
        message = f"{name}: {place} answers {status}: try again later."
        return errors.FetchError(message, no_answer=True)
    if status is not None:
        return errors.FetchError(f"{name}: {place} answers {status}.")
    if isinstance(cause, kinds.FileMetadataError | ValueError | TypeError | LookupError):
        return errors.FetchError(
            f"{name}: {place} does not answer as a hub does: check HF_ENDPOINT, and that no proxy "
            "answers in its place."
        )
    if isinstance(cause, OSError) and cause.filename is not None:  # such as that of the token
        return errors.FetchError(
            f"{name}: {cause.filename} can't be read: {cause.strerror}. See who may read it."
        )
    reason = type(cause).__name__
    if not _OF_THE_NETWORK.isdisjoint(kind.__name__ for kind in type(cause).__mro__):
        reason = " ".join(f"{reason}: {cause}".split())  # other texts may hold a token
    message = f"{name}: {place} can't be reached: {reason:.160}."
    return errors.FetchError(message, no_answer=True)
