"""Python imports this before anything else runs in a process whose PYTHONPATH names this directory.

It is how a test switches a safeguard off in a node and its workers without a switch in the product.
"""

import os

from tests.faults.sabotage import SABOTAGES

SABOTAGES[os.environ["SABOTAGE"]]()
