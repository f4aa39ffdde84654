"""As in `startup`, for the sabotages of `sabotage_more`."""

import os

from tests.faults.sabotage_more import MORE

MORE[os.environ["SABOTAGE"]]()
