"""Streams of a run to many clients, side by side with other ways to send them.

One server process a transport, one process for all clients, one that asks for `/health`; everything on 127.0.0.1. It
takes about ten minutes, and half of that with `--quick`, which leaves out the transports that no figure needs. nchan is
measured where nginx and its module are installed (on Debian: `libnginx-mod-nchan`).
"""

import resource
from collections.abc import Callable
from functools import partial

from measure import Figure, Rounds, parser, report, table
from streaming.nchan import Nchan, find_module
from streaming.scenarios import NotServed, Streams
from streaming.server import LOOPS
from streaming.waiting import BaselineWaiting, BusyWaiting, OurWaiting, Waiting

OURS, SSE_STARLETTE, PROTOCOL = "this project", "sse-starlette", "bare asyncio protocol"
NCHAN, SEND = "nchan, in nginx", "send in a loop"
NEEDED = {OURS: "this_project", SSE_STARLETTE: "with_sse_starlette", PROTOCOL: "bare_protocol", SEND: "send_loop"}
OTHERS = {"asyncio.Queue, JSON a client": "asyncio_queue", "FastAPI EventSourceResponse": "with_fastapi"}
OURS_FAST = "this project, history of 10,000"
ORIGINAL = {"the original's shape": "original"}

HEALTH_REQUESTS = 500
DESCRIPTORS = 12_000
NO_STREAMS = "health idle: without streams"

# What is measured, for each transport: its title in the table, and how a value is written there.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "burst 100": ("400 to 100, /s", lambda rate: f"{rate:,.0f}"),
    "burst 500": ("100 to 500, /s", lambda rate: f"{rate:,.0f}"),
    "cpu 100": ("CPU/event at 100, µs", lambda seconds: f"{seconds * 1e6:.1f}"),
    "cpu 500": ("at 500, µs", lambda seconds: f"{seconds * 1e6:.1f}"),
    "health idle": ("/health idle, ms", lambda seconds: f"{seconds * 1e3:.2f}"),
    "health load": ("/health load, ms", lambda seconds: f"{seconds * 1e3:.2f}"),
}


def allow_descriptors() -> None:
    """Let this process and its children have a socket for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def waiting_rounds(rounds: int) -> Rounds:
    """Publishing to readers that wait on a loop."""
    sides: dict[str, Waiting] = {
        "1": OurWaiting(1),
        "1, busy loop": BusyWaiting(),
        "1,000": OurWaiting(1000),
        "baseline 1,000": BaselineWaiting(1000),
    }
    return Rounds({name: side.seconds for name, side in sides.items()}, rounds)


def stream_rounds(streams: Streams, names: list[str], rounds: int) -> Rounds:
    """Everything over HTTP, each case named by its column and its transport."""
    cases: dict[str, Callable[[], float]] = {}
    for name in names:
        cases |= {
            f"burst 100: {name}": partial(streams.burst, name, 100, 400),
            f"burst 500: {name}": partial(streams.burst, name, 500, 100),
            f"cpu 100: {name}": partial(streams.cpu, name, 100, 40, 20),
            f"cpu 500: {name}": partial(streams.cpu, name, 500, 20, 10),
            f"health idle: {name}": partial(streams.idle_health, name, 500, HEALTH_REQUESTS),
            f"health load: {name}": partial(streams.loaded_health, name, 500, 10, HEALTH_REQUESTS),
        }
    cases[NO_STREAMS] = partial(streams.idle_health, OURS, 0, HEALTH_REQUESTS)
    cases["offered"] = partial(streams.delivered_share, OURS_FAST, 100, 50_000, 50_000)
    # By name, so that those that are compared run one after the other.
    return Rounds({case: cases[case] for case in sorted(cases)}, rounds)


def original_shape(loop: str) -> list[list[str]]:
    """What the original's shape manages, which is too little for the table. Its server is new each time."""
    (name,) = ORIGINAL
    attempts: dict[str, Callable[[Streams], str]] = {
        "a burst of 400 events to 100 clients": lambda streams: f"{streams.burst(name, 100, 400):,.0f} events/s",
        "/health beside one idle stream": lambda streams: (
            f"{streams.idle_health(name, 1, 5):.1f} s, the slowest of five"
        ),
    }
    rows = []
    for label, attempt in attempts.items():
        streams = Streams(ORIGINAL, loop)
        try:
            rows.append([label, attempt(streams)])
        except NotServed as failure:
            rows.append([label, str(failure)])
        finally:
            streams.stop()
    return rows


def main() -> None:
    """Measure, print, and write the figures."""
    options = parser("Streams to many clients, beside other ways to send them.", rounds=5)
    options.add_argument("--quick", action="store_true", help="leave out the transports that no figure needs")
    options.add_argument("--loop", choices=LOOPS, default="asyncio", help="the servers' event loop")
    chosen = options.parse_args()
    allow_descriptors()

    waiting = waiting_rounds(chosen.rounds)
    rows = [[name, f"{waiting.median(name) * 1e6:,.0f}"] for name in ["1", "1, busy loop", "1,000", "baseline 1,000"]]
    table(["readers that wait on a loop", "publish, µs"], rows)

    transports: dict[str, str | Nchan] = {**NEEDED} if chosen.quick else NEEDED | OTHERS
    module = find_module()
    if module is not None:
        transports[NCHAN] = Nchan(module)
    else:
        print("nchan is not measured: nginx or its module is not installed.\n")
    streams = Streams({**transports, OURS_FAST: "this_project_fast"}, chosen.loop)
    try:
        results = stream_rounds(streams, list(transports), chosen.rounds)
    finally:
        streams.stop()
    titles = ["transport", *(title for title, _ in COLUMNS.values())]
    for heading, value in {"median": results.median, "smallest and largest": results.spread}.items():
        rows = []
        for name in transports:
            found = {column: value(f"{column}: {name}") for column in COLUMNS}
            cells = [found[column] if isinstance(found[column], tuple) else (found[column],) for column in COLUMNS]
            shows = [show for _, show in COLUMNS.values()]
            rows.append([name, *("-".join(map(show, cell)) for show, cell in zip(shows, cells, strict=True))])
        print(f"The {heading} of {chosen.rounds} rounds:")
        table(titles, rows)
    print("Bursts: delivered events a second, of 400 events to 100 clients and of 100 to 500.")
    print("CPU: of the server, for a delivered event, at 20 events a second to 100 clients, and 10 a second to 500.")
    print("/health: 99th percentile beside 500 clients, that get nothing, or 10 events a second each.")
    print(f"50,000 events a second offered to 100 clients: {results.median('offered'):.0%} delivered ({OURS_FAST}).")
    print(f"The client process computed for at most {streams.client_load:.0%} of a burst; near 100% it is the limit.\n")
    if not chosen.quick:
        table(["the original's shape: a blocking get in async def", ""], original_shape(chosen.loop))

    def beside(column: str, other: str) -> float:
        return results.ratio(f"{column}: {OURS}", f"{column}: {other}")

    figures = [Figure("cpu_500_ours_over_protocol", beside("cpu 500", PROTOCOL), "<= 0.8")]
    if module is not None:
        figures += [
            Figure("cpu_100_ours_over_nchan", beside("cpu 100", NCHAN), "<= 0.8"),
            Figure("cpu_500_ours_over_nchan", beside("cpu 500", NCHAN), "<= 0.8"),
            Figure("health_load_500_ours_over_nchan", beside("health load", NCHAN), "<= 0.4"),
        ]
    report(
        [
            *figures,
            Figure("waiting_publish_1000_over_1_on_a_busy_loop", waiting.ratio("1,000", "1, busy loop"), "<= 1.5"),
            Figure("baseline_over_ours_waiting_1000", waiting.ratio("baseline 1,000", "1,000"), ">= 40"),
            Figure("burst_100_ours_over_sse_starlette", beside("burst 100", SSE_STARLETTE), ">= 80"),
            Figure("burst_500_ours_over_sse_starlette", beside("burst 500", SSE_STARLETTE), ">= 12"),
            Figure("cpu_ours_over_sse_starlette", beside("cpu 100", SSE_STARLETTE), "<= 0.5"),
            Figure("cpu_ours_over_protocol", beside("cpu 100", PROTOCOL), "<= 0.8"),
            Figure("offered_50k_delivered_share", results.median("offered"), ">= 1"),
            Figure("health_idle_500_over_none", results.ratio(f"health idle: {OURS}", NO_STREAMS), "<= 2"),
            Figure("health_load_500_ours_over_sse_starlette", beside("health load", SSE_STARLETTE), "<= 1"),
        ],
        chosen.json,
    )


if __name__ == "__main__":
    main()
