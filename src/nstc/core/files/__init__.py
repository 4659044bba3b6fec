"""Files: written whole or not at all, by one writer at a time, and the cache of the user.

What holds for any file or folder may enter; what a file holds is for other rooms.
"""

from nstc.core.files.storage import as_utf8 as as_utf8
from nstc.core.files.storage import atomic_file as atomic_file
from nstc.core.files.storage import atomic_folder as atomic_folder
from nstc.core.files.storage import cache_folder as cache_folder
from nstc.core.files.storage import cached as cached
from nstc.core.files.storage import leads_out as leads_out
from nstc.core.files.storage import locked as locked
from nstc.core.files.storage import one_at_a_time as one_at_a_time
from nstc.core.files.storage import refuse_foreign_folder as refuse_foreign_folder
from nstc.core.files.storage import refuse_unwritable_file as refuse_unwritable_file
from nstc.core.files.storage import reported_as_output_error as reported_as_output_error
from nstc.core.files.storage import scratch_folder as scratch_folder
from nstc.core.files.storage import sha256_of as sha256_of
