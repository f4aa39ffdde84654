"""The worker process: takes jobs from its inbox, runs user code, records how it ended. User code runs nowhere else."""
