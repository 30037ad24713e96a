"""The run console in Chromium: how soon the first line of a long run is there, and how smooth a fast one is.

.venv/bin/python benches/console.py [--lines 20000] [--rate 500]
"""

import argparse
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from genglossary_runs import RunManager
from genglossary_runs.console import console
from genglossary_runs.runner import RunContext, Runner
from playwright.sync_api import CDPSession, Page, sync_playwright

ROUNDS = 7
SECONDS = 5.0
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]

# From the click on a run in the list to the frame that shows its newest line.
FIRST_LINE = """last => new Promise(resolve => {
    const link = [...document.querySelectorAll('#runs a')].find(each => each.textContent.includes('long'));
    const started = performance.now();
    const look = () => {
        const line = document.querySelector('#log-lines .line .text');
        if (line?.textContent.startsWith('line ')) resolve(performance.now() - started);
        else requestAnimationFrame(look);
    };
    link.click();
    requestAnimationFrame(look);
})"""

# Lengths of the frames of some seconds, in milliseconds.
FRAMES = """seconds => new Promise(resolve => {
    const frames = [];
    let before = performance.now();
    const end = before + 1000 * seconds;
    const look = now => {
        frames.push(now - before);
        before = now;
        if (now < end) requestAnimationFrame(look);
        else resolve(frames.slice(1));
    };
    requestAnimationFrame(look);
})"""


@contextmanager
def serving(runner: Runner) -> Iterator[str]:
    app = FastAPI()
    app.mount("/runs", console(runner))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/runs/"
    server.should_exit = True
    server.force_exit = True
    thread.join()


def write(lines: int, context: RunContext) -> None:
    for number in range(lines):
        context.log(f"line {number} {'of some words ' * (number % 5)}")


def first_line(page: Page, url: str, lines: int) -> list[float]:
    found = []
    for _ in range(ROUNDS):
        page.goto(f"{url}#run/short")
        page.wait_for_selector("#runs a")
        page.wait_for_function("() => document.querySelector('#run-id').textContent === 'short'")
        found.append(page.evaluate(FIRST_LINE, lines - 1))
        page.wait_for_function(
            "lines => document.querySelector('#shown').textContent.startsWith(lines)", arg=f"{lines:,} lines"
        )
        page.goto("about:blank")
    return found


def frames(page: Page, url: str, runner: Runner, rate: int) -> tuple[list[float], int, float]:
    """The lengths of frames in milliseconds, the lines a second, and the share of time in which the page was busy."""
    stop = threading.Event()
    written = 0

    def work(context: RunContext) -> None:
        nonlocal written
        next_at = time.monotonic()
        while not stop.is_set():
            context.log(f"line {written} {'of some words ' * (written % 5)}")
            written += 1
            next_at += 1 / rate
            time.sleep(max(0.0, next_at - time.monotonic()))

    run = runner.start(work, name="fast")
    page.goto(f"{url}#run/{run.run_id}")
    page.wait_for_function("() => document.querySelectorAll('.log .line').length > 10")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before, busy_before = written, task_seconds(session)
    found = page.evaluate(FRAMES, SECONDS)
    seen, busy = written - before, task_seconds(session) - busy_before
    stop.set()
    run.wait()
    page.wait_for_function(
        "lines => document.querySelector('#shown').textContent.startsWith(lines)", arg=f"{written:,} lines"
    )
    return found, round(seen / SECONDS), busy / SECONDS


def task_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=500)
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is needed; install Debian's package chromium")
    runner = Runner(RunManager(history=2 * options.lines))
    runner.start(lambda context: write(options.lines, context), name="long").wait()
    runner.start(lambda context: write(1, context), name="short", run_id="short").wait()
    with serving(runner) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        times = first_line(page, url, options.lines)
        print(f"first line of a run of {options.lines:,}: {statistics.median(times):.0f} ms after the click "
              f"(at most {max(times):.0f}; bound 300)")  # fmt: skip
        page.goto(f"{url}#run/short")
        idle = page.evaluate(FRAMES, SECONDS)
        print(f"idle, for comparison: {1000 / statistics.mean(idle):.1f} frames a second")
        lengths, rate, busy = frames(page, url, runner, options.rate)
        late = sum(length > 25 for length in lengths)
        print(f"{rate} lines a second: {1000 / statistics.mean(lengths):.1f} frames a second (bound 60), the longest "
              f"{max(lengths):.0f} ms, {late} of {len(lengths)} later than 25 ms; page busy {busy:.0%}")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main()
