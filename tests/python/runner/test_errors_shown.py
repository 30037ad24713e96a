"""What readers get to see of an error."""

import pytest
from genglossary_runs.runner import Runner

from .support import ended, raising


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError(), "ValueError"),
        (KeyError("page"), "KeyError: 'page'"),
        (FileNotFoundError(2, "No such file or directory", "/home/a user/my notes.txt"), "'my notes.txt'"),
        (OSError(18, "Cross-device link", "/srv/in/a.txt", None, "/srv/out/b.txt"), "'a.txt' -> 'b.txt'"),
        (PermissionError(13, "Permission denied", b"/srv/in/a.txt"), "b'a.txt'"),
        (ValueError("cannot read /home/user/secret/file.txt: bad"), "ValueError: cannot read file.txt: bad"),
        (ValueError("in '/home/a user/my notes.txt' it stops"), "ValueError: in 'my notes.txt' it stops"),
        (ValueError("in /home/a user/notes.txt it stops"), "ValueError: in notes.txt it stops"),
        (ValueError(r"C:\Users\user\file.txt is bad"), "ValueError: file.txt is bad"),
        (ValueError(r"\\server\share\file.txt is bad"), "ValueError: file.txt is bad"),
        (ValueError("~/secret/file.txt, ../secret/file.txt"), "ValueError: file.txt, file.txt"),
        (ValueError("secret/part/file.txt"), "ValueError: file.txt"),
        (ValueError("file:///home/user/file.txt"), "ValueError: file.txt"),
        (ValueError("/home/利用者/用語集.txt が無い"), "ValueError: 用語集.txt が無い"),
        (ValueError("/home/user/"), "ValueError: user"),
        (ValueError("I/O of 3/10 pages and/or lines, 5 km/h"), "ValueError: I/O of 3/10 pages and/or lines, 5 km/h"),
        (ValueError("https://host/docs/page.html says 404"), "ValueError: https://host/docs/page.html says 404"),
        (ValueError("caf\udce9"), "ValueError: caf\ufffd"),
        (ValueError("two\nlines\tand  more"), "ValueError: two lines and more"),
    ],
)
def test_readers_get_the_message_without_paths(runner: Runner, error: Exception, shown: str) -> None:
    message = ended(runner.start(raising(error))).error
    assert message is not None
    assert message.endswith(shown)
    assert message.startswith(type(error).__name__)
    for part in ("/home", "/srv", "user", "secret", "server"):
        assert part not in message.removesuffix("user")


@pytest.mark.parametrize("before", ["", "The worker said:\n"])
def test_readers_get_no_traceback_from_inside_a_message(runner: Runner, before: str) -> None:
    text = before + 'Traceback (most recent call last):\n  File "/home/user/a.py", line 3, in f\nKeyError: 5\n'
    message = ended(runner.start(raising(RuntimeError(text)))).error
    assert message == ("RuntimeError: The worker said:" if before else "RuntimeError: KeyError: 5")


@pytest.mark.parametrize("text", ["long ", "a/", "/a ", "/a b", "'/"])
def test_a_long_message_is_cut(runner: Runner, text: str) -> None:
    message = ended(runner.start(raising(ValueError("so " * 500 + text * 1_000_000)))).error
    assert message is not None
    assert len(message) < 600
    assert message.endswith("…")


def test_an_error_that_cannot_be_printed_ends_the_run(runner: Runner) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert ended(runner.start(raising(Unprintable()))).error == "Unprintable"
