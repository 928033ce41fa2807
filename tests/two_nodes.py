"""A Ray cluster of two nodes on this machine, in a process of its own; all of it ends with this
process.

    python two_nodes.py

Prints its address, and "gone" when a line on stdin has made it kill the head node. Sockets are on
127.0.0.1 only."""

from __future__ import annotations

import os
import signal
import sys

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    cluster.add_node(**NODE)
    print(cluster.address, flush=True)  # noqa: T201
    if sys.stdin.readline():
        for processes in cluster.head_node.all_processes.values():
            for process in processes:
                os.kill(process.process.pid, signal.SIGKILL)
        print("gone", flush=True)  # noqa: T201
        sys.stdin.readline()
    cluster.shutdown()


if __name__ == "__main__":
    main()
