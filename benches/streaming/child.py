"""Processes that obey the one that started them, and end with it."""

import multiprocessing
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

LONGEST_ANSWER = 120.0
"""Seconds after which a child that does not answer is given up."""


def obey(control: Connection, commands: Mapping[str, Callable[..., Any]]) -> None:
    """Run the commands that come through the pipe, until its other end is gone."""
    while True:
        try:
            name, arguments = control.recv()
        except EOFError:
            return
        try:
            answer = commands[name](*arguments)
        except Exception as error:
            answer = error
        control.send(answer)


class Child:
    """A process of its own that runs `target(control, *arguments)`, which is to call `obey`."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._control, control = context.Pipe()
        self._process = context.Process(target=target, args=(control, *arguments), daemon=True)
        self._process.start()
        control.close()

    def tell(self, name: str, *arguments: Any) -> None:
        """Send a command; `answer` has what comes of it."""
        self._control.send((name, arguments))

    def answer(self) -> Any:
        """Wait for the answer to the last command, and raise it if it is an exception."""
        if not self._control.poll(LONGEST_ANSWER):
            raise TimeoutError(f"a child process did not answer in {LONGEST_ANSWER:.0f} s")
        answer = self._control.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, name: str, *arguments: Any) -> Any:
        """Send a command and wait for its answer."""
        self.tell(name, *arguments)
        return self.answer()

    def stop(self) -> None:
        """End the process at once, whatever it does."""
        self._process.kill()
        self._process.join()
        self._control.close()
