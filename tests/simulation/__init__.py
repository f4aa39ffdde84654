"""Whole clusters in one thread and in virtual time: production code over a simulated network and simulated stores.

Each safeguard can be switched off by itself (`--without`, `safeguards`), and must then be missed: `test_safeguards`.

| safeguard | `--without` | what it comes to without | proven besides |
|---|---|---|---|
| the fence of the office | fence | stale_write | tests/queue, tests/cluster/test_office.py |
| a write counts with the majority | majority | missing, two_holders, epoch_fell, undone | |
| a server is known by its run id | run_id | started_after, stale_write, started_twice | |
| a worker's lease | lease | started_late | tests/worker |
| term and vote outlive a voter | vote-persistence | two_leaders | test_raft_elections.py in tests/cluster |
| the office's term outlives all disks | recorded-term | term_fell, two_leaders | test_raft_blank.py in tests/cluster |
| the vote alone outlives it | votes | two_leaders | ibidem: a faster ground, where it shows within 30 seeds |
| a majority's votes and answers | quorum | two_leaders | |
| a healthy leader stays (Raft asks first) | stickiness | needless | tests/election/test_gossip_partitions.py |
| who is suspected refutes it | refutation | unrefuted | tests/election/test_swim_group.py |
| others probe for who gets no answer | indirect-probes | false_suspicion | tests/election/test_swim_group.py |
| Bully's rules, one by one | | | tests/election/test_bully_safeguards.py |
"""
