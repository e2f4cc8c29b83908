"""Exit codes of ``outlast``, in one table.

====  =========================================================================================
code  meaning
====  =========================================================================================
0     done; for ``submit --wait``: the job finished
1     a fault of Outlast itself: please report it
2     bad input: a job file, an option, a name that does not exist, a store that refuses;
      nothing was started
3     the job failed (``submit --wait``); something differs (``demo``); a checkpoint is damaged
4     the job was cancelled (``submit --wait``)
5     the job is held: it waits for ``outlast resume`` (``submit --wait``)
6     the store or a provider does not answer now, a record cannot be read, the output cannot be
      written (a full disk): try again
130   interrupted by Ctrl-C; a submitted job goes on where it runs, a controller replaces machines
141   nobody reads the output any more, as after ``outlast logs JOB | head``
====  =========================================================================================
"""

from __future__ import annotations

OK = 0
FAULT = 1
BAD_INPUT = 2
JOB_FAILED = 3
DIFFERS = 3
"""Something is not as it should be: other bits (``demo``), a damaged checkpoint."""
JOB_CANCELLED = 4
JOB_HELD = 5
UNAVAILABLE = 6
INTERRUPTED = 130
NOBODY_READS = 141
"""As a shell says it of a program that SIGPIPE ended."""
