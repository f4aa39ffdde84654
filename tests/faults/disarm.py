"""Named in HANDLERS beside the real ones: a worker process that starts after the test has seen enough dies no more.

Failpoints are armed by the environment, which a worker's successor inherits: without this it would die at the same
line.
"""

import os
from pathlib import Path

from hegemon import failpoints

_disarmed = os.environ.get("DISARMED")
if _disarmed is not None and Path(_disarmed).exists():
    failpoints._armed.clear()
