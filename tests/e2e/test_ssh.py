"""The main job over ssh: head and node are hosts of their own, with a real sshd each, in network namespaces."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import netns
from tests.e2e.installation import Installation, Node, installation

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[netns.Hosts]:
    if why := netns.missing():
        pytest.skip(why)
    with netns.hosts(2, tmp_path_factory.mktemp("hosts")) as made:
        yield made


@pytest.fixture(scope="module")
def site(hosts: netns.Hosts) -> Iterator[Installation]:
    machines = {
        "transport": '"ssh"',
        "ssh_key": f'"{hosts.key}"',
        "known_hosts": f'"{hosts.known_hosts}"',
    }
    with installation(machines) as made:
        head, node = hosts.hosts
        made.commit("Describe the site", made.base(Node("head-1", head.address), [Node("node-1", node.address)]))
        made.start()
        yield made


def test_a_job_runs_on_a_machine_that_is_reached_by_ssh(site: Installation, hosts: netns.Hosts) -> None:
    site.until("cluster/main", "Ready")
    site.until("nodepool/gpu", "Ready")
    site.commit("Add a job", site.job("hello", "echo hello from $RAYOPS_NODES"))
    seen = site.until("job/rl/hello", "Succeeded")
    folder = site.shared / "jobs" / seen["detail"]["attempts"][0]["submissionId"]
    assert "hello from node-1" in (folder / "logs/driver.log").read_text()
    assert (site.shared / ".rayops/clusters/main/head_ip").read_text().strip() == hosts.hosts[0].address


def test_a_machine_with_another_host_key_is_not_talked_to(site: Installation, hosts: netns.Hosts) -> None:
    node = hosts.hosts[1]
    other = Path(node.folder) / "other_key"
    netns.keygen(other)
    node.stop_sshd()
    node.start_sshd(key=other)
    try:
        site.commit("Edit what the node runs with", {"nodepools/gpu.yaml": _edited(site)})
        deadline = time.monotonic() + 60
        while "host key" not in (row := (site.object("nodepool/gpu") or {})["detail"]["nodes"][0])["message"]:
            assert time.monotonic() < deadline, row
            time.sleep(0.2)
        assert row["reason"] in {"BackingOff", "MachineUnreachable"}
    finally:
        node.stop_sshd()
        node.start_sshd()
    site.until("nodepool/gpu", "Ready")


def _edited(site: Installation) -> str:
    return (site.repo / "nodepools/gpu.yaml").read_text() + "  labels: {rack: r1}\n"


def test_taking_it_down_ends_ray_on_all_hosts(site: Installation, hosts: netns.Hosts) -> None:
    site.commit("Take it down", {"clusters/main.yaml": None, "nodepools/gpu.yaml": None})
    site.until_gone("cluster/main")
    for host in hosts.hosts:
        running = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in host.pids()]
        assert not any(b"raylet" in line or b"gcs_server" in line for line in running)
    assert site.stop() == 0
