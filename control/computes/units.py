"""What a number of compute units means for a server: pure, so that the table in the tests can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

UNITS_MIN = Decimal("0.25")
UNITS_MAX = Decimal(16)

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    address_space_bytes: int
    """Of each process: one that wants more gets ``out of memory`` as an error, and the others live on."""
    memory_bytes: int
    """Of all of them together, where groups can be made."""
    cpu_shares: int
    """Of a machine that is busy: 1024 is what a process without any has."""
    files: int
    settings: Mapping[str, str]


def limits(units: Decimal) -> Limits:
    assert UNITS_MIN <= units <= UNITS_MAX, units
    quarters = int(units / UNITS_MIN)
    buffers = 16 if quarters == 1 else 64 * quarters
    workers = max(1, quarters // 4)
    return Limits(
        # A quarter is what was measured to let psql's ordinary work through; buffers are mapped on top.
        address_space_bytes=(434 * quarters + buffers) * MEBIBYTE,
        memory_bytes=quarters * 1024 * MEBIBYTE,
        cpu_shares=quarters * 256,
        files=2048,
        settings={
            "shared_buffers": f"{buffers}MB",
            "max_connections": str(min(50 * quarters, 1000)),
            "max_parallel_workers": str(workers),
            "max_parallel_workers_per_gather": str(min(workers, 4) if quarters > 4 else 0),
            "max_worker_processes": str(4 + workers),
            "work_mem": f"{min(4 * quarters, 64)}MB",
            "maintenance_work_mem": f"{32 * min(quarters, 16)}MB",
            "effective_cache_size": f"{256 * quarters}MB",
            "io_method": "sync" if quarters < 4 else "worker",
            "temp_file_limit": f"{quarters}GB",
        },
    )
