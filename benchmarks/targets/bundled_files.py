"""Files that only bundles have, for targets that run nothing but such."""

from nstc.benchmarks.subjects import Subject
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError
from nstc.runtime.session import Session, open_session


def open_bundled(
    subject: Subject,
    artifact: str,
    *,
    target: str,
    runs: tuple[str, ...],
    threads: int | None = None,
) -> Session:
    """A session on a file of a bundle.

    Args:
        subject: The model.
        artifact: Full or short name.
        target: The target's name, for messages.
        runs: The artifacts that it runs.
        threads: To compute with; None leaves it to the backend.

    Raises:
        OptionError: the target runs no such files, or the model is no bundle.
        ArtifactError: there is no such file; the message says how to make it.
        BundleError: and its kinds, if it is damaged.
    """
    if artifact_name(artifact) not in runs:
        raise OptionError(
            f"target {target} runs {' and '.join(runs)}, not {artifact}: leave --artifact out, or "
            f"give --artifact {runs[0]}."
        )
    if subject.bundle is None:
        raise OptionError(
            f"target {target} runs files of bundles, and {subject.path} is an ONNX file: distill "
            "it to a bundle, or give --target cpu."
        )
    return open_session(subject.bundle, artifact=artifact, threads=threads, trust=subject.trust)
