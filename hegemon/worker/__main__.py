"""`python -m hegemon.worker`: see `process`."""

from hegemon.worker.process import main

main()
