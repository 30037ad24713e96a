"""run-stream.js in Node and in Chromium, there with EventSource and with fetch."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from genglossary_runs import RunManager
from genglossary_runs.runner import Runner
from streams.servers import Site

from .conftest import TOKEN, Follow, make_app
from .proxy import Proxy
from .support import JS, STATIC, NodeFollower, Speaker, need_node


def test_a_run_is_followed_to_its_end(runner: Runner, follow: Follow, speaker: Speaker) -> None:
    run = runner.start(speaker)
    follower = follow(run.run_id)
    speaker.say("one", "two")
    follower.wait(lambda: follower.calls.messages() == ["one", "two"])
    speaker.stop()
    follower.wait(lambda: follower.calls.of("onEnd"))
    (outcome,) = follower.calls.of("onEnd")
    assert (outcome["status"], outcome["complete"]) == ("completed", True)
    assert follower.calls.of("onState") == ["open", "ended"]
    assert follower.calls.of("onGap") == follower.calls.of("onLife") == []
    ids = [event["id"] for event in follower.calls.of("onEvent")]
    assert [id.rpartition("-")[2] for id in ids] == ["1", "2"]


@pytest.mark.parametrize("follow", ["node", "chromium", "chromium-fetch"], indirect=True)
@pytest.mark.parametrize("status", [502, 503])
def test_a_proxy_that_answers_for_a_server_which_restarts_is_no_end(
    runner: Runner, proxy: Proxy, follow: Follow, speaker: Speaker, status: int
) -> None:
    run = runner.start(speaker)
    follower = follow(run.run_id)
    speaker.say("before")
    follower.wait(lambda: follower.calls.messages() == ["before"])
    with proxy.away(status):
        speaker.say("meanwhile")
        follower.wait(lambda: proxy.refused >= 3)
    follower.wait(lambda: follower.calls.messages() == ["before", "meanwhile"])
    speaker.stop()
    follower.wait(lambda: follower.calls.of("onEnd"))
    states = follower.calls.of("onState")
    assert states[0] == "open"
    assert "retrying" in states
    assert states[-1] == "ended"
    reasons = [call[2].get("reason") for call in follower.calls.all if call[0] == "onState"]
    assert f"the answer was {status}" in reasons
    assert follower.calls.of("onGone") == []


@pytest.mark.parametrize("follow", ["node", "chromium", "chromium-fetch"], indirect=True)
def test_a_lost_connection_resumes_with_each_event_once(
    runner: Runner, proxy: Proxy, follow: Follow, speaker: Speaker
) -> None:
    run = runner.start(speaker)
    follower = follow(run.run_id)
    said: list[str] = []
    for number in range(4):
        said.append(f"line {number}")
        speaker.say(said[-1])
        follower.wait(lambda: follower.calls.messages() == said)
        proxy.drop()
    speaker.stop()
    follower.wait(lambda: follower.calls.of("onEnd"))
    assert follower.calls.messages() == said
    assert follower.calls.of("onGap") == follower.calls.of("onLife") == []


def test_what_is_missing_is_told(runner: Runner, follow: Follow, speaker: Speaker) -> None:
    run = runner.start(speaker)
    speaker.say(*(f"line {number}" for number in range(30)))
    speaker.stop()
    assert run.wait(60)
    follower = follow(run.run_id)
    follower.wait(lambda: follower.calls.of("onEnd"))
    assert follower.calls.of("onGap") == [{"from": 1, "to": 21, "missed": 21}]
    assert follower.calls.messages() == [f"line {number}" for number in range(21, 30)]


def test_a_run_that_is_started_anew_is_told_apart(
    runner: Runner, proxy: Proxy, follow: Follow, speaker: Speaker
) -> None:
    runner.start(speaker, run_id="book")
    follower = follow("book")
    speaker.say("the old one")
    follower.wait(lambda: follower.calls.messages() == ["the old one"])
    # A server without a store was restarted, and the run was started there.
    other, second = Runner(RunManager()), Speaker()
    other.start(second, run_id="book")
    with Site(make_app(other)) as site:
        second.say("the new one")
        proxy.upstream = site.port
        proxy.drop()
        follower.wait(lambda: follower.calls.messages() == ["the old one", "the new one"])
        (life,) = follower.calls.of("onLife")
        assert int(life["from"]) < int(life["to"])
        second.stop()
        follower.wait(lambda: follower.calls.of("onEnd"))
    assert other.shutdown(60)


def test_a_run_that_nobody_knows_is_gone(follow: Follow) -> None:
    follower = follow("nowhere")
    follower.wait(lambda: follower.calls.of("onGone"))
    assert follower.calls.of("onGone") == [{"status": 404}]
    assert follower.calls.of("onState") == ["gone"]


def test_one_who_has_had_everything_is_at_the_end(runner: Runner, follow: Follow) -> None:
    run = runner.start(lambda context: None)
    assert run.wait(60)
    subscription = run.events()
    list(subscription)
    follower = follow(run.run_id, lastEventId=subscription.last_event_id)
    follower.wait(lambda: follower.calls.of("onEnd"))
    assert follower.calls.of("onEnd") == [None]


def test_headers_are_sent(runner: Runner, follow: Follow, speaker: Speaker) -> None:
    runner.start(speaker, run_id="secret")
    speaker.say("one")
    refused = follow("secret")
    refused.wait(lambda: refused.calls.of("onGone"))
    assert refused.calls.of("onGone") == [{"status": 403}]
    follower = follow("secret", headers={"Authorization": TOKEN})
    follower.wait(lambda: follower.calls.messages() == ["one"])


def test_a_proxy_that_says_when_is_not_asked_before(
    runner: Runner, proxy: Proxy, follow: Follow, speaker: Speaker
) -> None:
    run = runner.start(speaker)
    follower = follow(run.run_id, maxDelay=1500)
    follower.wait(lambda: follower.calls.of("onState") == ["open"])

    def delays() -> list[float]:
        details = [call[2] for call in follower.calls.all if call[:2] == ["onState", "retrying"]]
        return [detail["delay"] for detail in details if "answer was 503" in detail["reason"]]

    with proxy.away(503, "Retry-After: 1\r\n"):
        follower.wait(delays)
    assert delays()[0] >= 1000
    speaker.say("one")
    follower.wait(lambda: follower.calls.messages() == ["one"])


@pytest.mark.parametrize("follow", ["chromium", "chromium-fetch"], indirect=True)
def test_a_hidden_page_gives_its_connection_back(
    runner: Runner, proxy: Proxy, site: Site, follow: Follow, speaker: Speaker
) -> None:
    run = runner.start(speaker)
    follower = follow(run.run_id)
    speaker.say("one")
    follower.wait(lambda: follower.calls.messages() == ["one"])
    follower.page.evaluate("stream.pause()")
    follower.wait(lambda: runner.manager.stats()["subscribers"] == 0)
    speaker.say("two")
    follower.page.evaluate("stream.resume()")
    follower.wait(lambda: follower.calls.messages() == ["one", "two"])
    follower.page.evaluate("stream.close()")
    follower.wait(lambda: follower.calls.of("onState")[-1] == "closed")


@pytest.mark.parametrize("follow", ["node", "chromium-fetch"], indirect=True)
def test_a_connection_that_is_silent_for_too_long_is_made_again(
    runner: Runner, proxy: Proxy, follow: Follow, speaker: Speaker
) -> None:
    run = runner.start(speaker)
    follower = follow(run.run_id, silence=200)
    follower.wait(lambda: "nothing was heard" in str(follower.calls.all))
    speaker.say("one")
    follower.wait(lambda: follower.calls.messages() == ["one"])


def test_node_leaves_when_the_run_has_ended(runner: Runner, proxy: Proxy) -> None:
    run = runner.start(lambda context: None)
    follower = NodeFollower(f"{proxy.url}/api/runs/{run.run_id}/events")
    assert follower.leaves() == 0


def test_streams_are_taken_apart_however_they_are_cut() -> None:
    done = subprocess.run(
        [need_node(), str(JS / "parser.mjs"), str(STATIC / "run-stream.js")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stream_that_was_closed_when_it_told_of_a_retry_tried_all_the_same() -> None:
    script = f"""
        import {{ RunStream }} from {str(STATIC / "run-stream.js")!r};
        let tries = 0;
        const fetch = async () => {{ tries += 1; throw new Error("nobody is there"); }};
        const onState = (state) => state === "retrying" && stream.close();
        const stream = new RunStream("http://127.0.0.1:9/", {{ fetch, onState, minDelay: 1 }});
        process.on("exit", () => console.log(tries, stream.state));
    """
    result = subprocess.run(
        [need_node(), "--input-type=module", "--eval", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert result.stdout == "1 closed\n"


def test_the_examples_of_the_guide_follow_a_run_to_its_end(runner: Runner, proxy: Proxy, tmp_path: Path) -> None:
    run = runner.start(lambda context: context.log("read"))
    guide = Path(__file__).parents[3] / "docs" / "guides" / "clients.md"
    examples = "".join(re.findall(r"```js\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL))
    examples = examples.replace("./run-stream.js", str(STATIC / "run-stream.js"))
    examples = examples.replace("`/api/", f"`{proxy.url}/api/")
    names = ["show", "note", "clear", "finish", "say", "indicate", "onEvent"]
    given = f"""
        const tell = (name) => (value) => console.log(JSON.stringify([name, value]));
        const [{", ".join(names)}] = {json.dumps(names)}.map(tell);
        const id = "{run.run_id}";
        const url = `{proxy.url}/api/runs/${{id}}/events`;
        const token = () => "none";
    """
    page = tmp_path / "page.mjs"
    page.write_text(given + examples, encoding="utf-8")
    done = subprocess.run([need_node(), str(page)], capture_output=True, text=True, timeout=60, check=True)
    calls = [json.loads(line) for line in done.stdout.splitlines()]
    assert [value["message"] for name, value in calls if name == "show"] == ["read"]
    assert [value["data"]["message"] for name, value in calls if name == "onEvent"] == ["read"]
    assert [value["status"] for name, value in calls if name == "finish"] == ["completed"]
