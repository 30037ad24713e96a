"""Thousands of clients of one server: many that connect at once, what an idle one costs, how late the last is served.

Servers are new in each round, because memory that was once needed stays with a process. It takes about five minutes.
nchan is measured where nginx and its module are installed (on Debian: `libnginx-mod-nchan`).
"""

import statistics
from collections.abc import Sequence

from measure import Figure, parser, report, table
from streaming.nchan import Nchan, find_module
from streaming.scenarios import Storm, Streams
from streaming.server import LOOPS
from streams import allow_descriptors

OURS, SILENT, EMPTY, PROTOCOL, NCHAN = (
    "this project",
    "uvicorn and FastAPI, a silent stream",
    "uvicorn and FastAPI, an empty response",
    "bare asyncio protocol",
    "nchan",
)
TRANSPORTS = {OURS: "this_project", SILENT: "silent", EMPTY: "empty", PROTOCOL: "bare_protocol"}
CLIENTS = 8000
STREAMS = 10_000
EVENTS = 10


def spread(values: Sequence[float], scale: float, digits: int) -> str:
    """The median of some values, with the smallest and the largest."""
    low, middle, high = (scale * value for value in (min(values), statistics.median(values), max(values)))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def main() -> None:
    """Measure, print, and write the figures."""
    options = parser("Thousands of clients of one server.", rounds=5)
    options.add_argument("--loop", choices=LOOPS, default="asyncio", help="the servers' event loop")
    chosen = options.parse_args()
    allow_descriptors()
    module = find_module()
    if module is None:
        print("nchan is not measured: nginx or its module is not installed.\n")
    names = [*TRANSPORTS, *([NCHAN] if module is not None else [])]
    storms: dict[str, list[Storm]] = {name: [] for name in names}
    delays: list[tuple[float, float]] = []
    for _ in range(chosen.rounds):
        transports: dict[str, str | Nchan] = {**TRANSPORTS}
        if module is not None:
            transports[NCHAN] = Nchan(module)
        streams = Streams(transports, chosen.loop)
        try:
            for name in names:
                # They come back with an id, as browsers do.
                storms[name].append(streams.storm(name, CLIENTS, "0"))
            delays.append(streams.delays(OURS, STREAMS, EVENTS, 1.0))
        finally:
            streams.stop()
        # So that each of them is first at times.
        names.append(names.pop(0))

    rows = [
        [
            name,
            spread([storm.seconds for storm in found], 1, 1),
            spread([storm.cpu for storm in found], 1e6, 0),
            spread([storm.memory for storm in found], 1 / 1024, 1),
        ]
        for name, found in storms.items()
    ]
    print(f"The median, and the smallest and largest, of {chosen.rounds} rounds:")
    table([f"{CLIENTS:,} clients at once", "all answered, s", "CPU a client, µs", "memory a client, KiB"], rows)
    print(f"{STREAMS:,} streams at 1 event a second, from publishing to the client (which takes time, too):")
    print(f"median {spread([median for median, _ in delays], 1e3, 0)} ms", end=", ")
    print(f"99th percentile {spread([percentile for _, percentile in delays], 1e3, 0)} ms")

    def ratios(other: str) -> tuple[float, float]:
        """The median of our time, and of our CPU, over another's in the same round."""
        pairs = list(zip(storms[OURS], storms[other], strict=True))
        seconds = statistics.median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        return seconds, statistics.median(ours.cpu / theirs.cpu for ours, theirs in pairs)

    seconds, cpu = ratios(EMPTY)
    print(f"A connect over one that gets an empty response: time {seconds:.2f}, CPU {cpu:.2f}\n")
    seconds, cpu = ratios(SILENT)
    report(
        [
            Figure("connect_over_silent", seconds, "<= 1"),
            Figure("connect_cpu_over_silent", cpu, "<= 1"),
            Figure("idle_kib", statistics.median(storm.memory for storm in storms[OURS]) / 1024, "<= 3"),
            Figure("p99_of_10000_ms", statistics.median(percentile for _, percentile in delays) * 1e3, "<= 100"),
        ],
        chosen.json,
    )


if __name__ == "__main__":
    main()
