"""Files: written whole or not at all, by one writer at a time, and the cache of the user.

What holds for any file or folder may enter; what a file holds is for other rooms.
"""

from nstc.core.files.atomic import (
    as_utf8,
    atomic_file,
    atomic_folder,
    leads_out,
    locked,
    one_at_a_time,
    refuse_foreign_folder,
    refuse_unwritable_file,
    reported_as_output_error,
    scratch_folder,
    sha256_of,
)

__all__ = [
    "as_utf8",
    "atomic_file",
    "atomic_folder",
    "leads_out",
    "locked",
    "one_at_a_time",
    "refuse_foreign_folder",
    "refuse_unwritable_file",
    "reported_as_output_error",
    "scratch_folder",
    "sha256_of",
]
