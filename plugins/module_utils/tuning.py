# Copyright: baremetal.flask contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How much of a machine a database server takes. It depends on the machine and its share of it, and on no app."""

from __future__ import annotations

import re

#: A kernel's update changes the memory that a machine reports by a little: no reason to restart a server.
_SAME_MEMORY = 0.05
_MEASURED = re.compile(r"^# Made for (\d+) MB of memory", re.MULTILINE)


def memory_mb(meminfo: str, *, written: str = "") -> int:
    """The machine's memory; the one that ``written`` was made for when it is about the same.

    :param meminfo: what /proc/meminfo holds.
    :param written: the file of settings that is there.
    """
    found = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    now = int(found[1]) >> 10 if found else 1024
    before = _MEASURED.search(written)
    return int(before[1]) if before and abs(int(before[1]) - now) <= now * _SAME_MEMORY else now


def measured(memory: int) -> str:
    """The comment by which ``memory_mb`` knows what a file was made for."""
    return f"# Made for {memory} MB of memory"


def postgresql(*, memory: int, processors: int, percent: int) -> dict[str, str]:
    """Settings of PostgreSQL (pgtune's rules for web applications).

    :param memory: the machine's, in MB.
    :param percent: the share of it that PostgreSQL may count on.
    """
    share = max(memory * percent // 100, 128)
    connections, workers = 200, max(processors, 8)
    buffers = max(share // 4, 32)
    settings = {
        "max_connections": str(connections),
        "shared_buffers": f"{buffers}MB",
        "effective_cache_size": f"{share * 3 // 4}MB",
        "maintenance_work_mem": f"{min(max(share // 16, 16), 2048)}MB",
        # 3 % of the buffers, and never more than one segment.
        "wal_buffers": f"{min(max(buffers * 3 // 100, 1), 16)}MB",
        "work_mem": f"{max((share - buffers) // ((connections + workers) * 3), 4)}MB",
        "min_wal_size": "256MB",
        "max_wal_size": "4GB" if share >= 4096 else "1GB",
        "checkpoint_completion_target": "0.9",
        # Disks of today.
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "wal_compression": "lz4",
        "jit": "off",
        "huge_pages": "try" if buffers >= 2048 else "off",
    }
    if processors >= 4:
        settings |= {
            "max_worker_processes": str(workers),
            "max_parallel_workers": str(processors),
            "max_parallel_workers_per_gather": str(min(processors // 2, 4)),
            "max_parallel_maintenance_workers": str(min(processors // 2, 4)),
        }
    return settings


def mariadb(*, memory: int, percent: int) -> dict[str, str]:
    """Settings of MariaDB; the arguments are those of ``postgresql``."""
    share = max(memory * percent // 100, 128)
    buffers = max(share * 6 // 10, 64)
    return {
        "max_connections": "200",
        "innodb_buffer_pool_size": f"{buffers}M",
        "innodb_log_file_size": f"{min(max(buffers // 4, 48), 2048)}M",
        "tmp_table_size": f"{min(max(share // 64, 16), 64)}M",
        "max_heap_table_size": f"{min(max(share // 64, 16), 64)}M",
    }
