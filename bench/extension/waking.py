"""How long after a commit the listener is awake, and how many notifications that takes."""

import json
import statistics
import subprocess
from collections.abc import Iterator

from common.table import Line
from world import BUILD, World

WRITERS = 8
COMMITS_A_SECOND = 1000


def woken(world: World, rounds: int, run_seconds: int) -> Iterator[Line]:
    def run(commits_a_second: int) -> dict[str, float]:
        world.empty()
        command = [str(BUILD / "wake"), world.cluster.dsn, str(WRITERS), str(commits_a_second), str(run_seconds)]
        with world.without_listener():
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            raise RuntimeError(f"wake failed:\n{ran.stderr}")
        return json.loads(ran.stdout)

    for what, rate in ((f"at {COMMITS_A_SECOND:,} commits/s", COMMITS_A_SECOND), ("at full speed", 0)):
        runs = [run(rate) for _ in range(rounds)]
        p50, p99 = (statistics.median(run[name] for run in runs) for name in ("p50_ms", "p99_ms"))
        commits, notifications = (sum(run[name] for run in runs) for name in ("commits", "notifications"))
        yield Line(
            f"commit → listener woken, {what}",
            "",
            "p50 ≤ 0.5 ms, p99 ≤ 3 ms" if rate else "one NOTIFY for many commits",
            f"p50 {p50:.2f} ms, p99 {p99:.2f} ms",
            f"{notifications:,} NOTIFYs for {commits:,} commits",
            (p50 <= 0.5 and p99 <= 3) if rate else None,
        )
