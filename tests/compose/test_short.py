"""The short form of the lab, a part of every `./dev test`: one cluster of the compose files on podman.

Its tests are those of the whole lab, and one more. So many that pytest-xdist, which begins with the files of the most
tests, does not keep this long one for the end, when one worker would wait for the other.
"""

from tests.compose import test_clusters, test_engine
from tests.compose.cluster import Cluster

test_image = test_engine.test_the_image_is_slim_and_runs_as_nobody_special
test_nodes = test_clusters.test_the_nodes_form_a_cluster_with_one_leader
test_credentials = test_clusters.test_nobody_is_let_in_without_a_credential_or_without_tls
test_jobs = test_clusters.test_jobs_run_whichever_node_takes_them
test_rights = test_clusters.test_a_container_has_no_rights_and_no_place_to_write
test_command_line = test_clusters.test_the_command_line_works_inside_a_node
test_prometheus = test_clusters.test_prometheus_reaches_each_node_and_reads_the_rules
test_dashboards = test_clusters.test_what_the_dashboards_ask_has_answers


async def test_when_the_leaders_container_is_killed_another_leads_and_jobs_go_on(cluster: Cluster) -> None:
    before, epoch = await cluster.leader(), await cluster.epoch()
    ids = await cluster.submit(20)
    await cluster.in_thread("kill", before)
    assert await cluster.leader(other_than=before) != before
    assert await cluster.epoch() > epoch
    await cluster.completed([*ids, *await cluster.submit(20)])
