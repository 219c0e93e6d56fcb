"""Who descends from a process: /proc/PID/task/TID/children, proc_pid_task(5)."""

from __future__ import annotations

import os


def family(pid: int) -> list[int]:
    """Return *pid* and all processes that descend from it; one that ends meanwhile may be missing."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{task}/children", encoding="ascii") as file:
                    left += map(int, file.read().split())
        except OSError:
            continue  # it has just ended
    return found
