"""What `help()` says is what the stub says."""

import ast
import inspect
from pathlib import Path

import genglossary_runs
import pytest
from genglossary_runs import _core

STUB = ast.parse((Path(genglossary_runs.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))


def documented() -> dict[str, str]:
    """The docstrings of the stub, by name. What Python itself gives the methods with underscores cannot be replaced."""
    docs = {}
    for node in STUB.body:
        if isinstance(node, ast.ClassDef) and hasattr(_core, node.name):
            functions = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            for name, item in [(node.name, node), *((f"{node.name}.{item.name}", item) for item in functions)]:
                doc = ast.get_docstring(item)
                if doc is not None and "__" not in name:
                    docs[name] = doc
    return docs


DOCUMENTED = documented()


@pytest.mark.parametrize("name", DOCUMENTED)
def test_help_says_what_the_stub_says(name: str) -> None:
    found: object = _core
    for part in name.split("."):
        found = getattr(found, part)
    assert found.__doc__ is not None
    assert inspect.cleandoc(found.__doc__) == DOCUMENTED[name]


def test_every_public_method_says_something() -> None:
    for owner in (_core.RunManager, _core.Subscription, _core.CancelEvent, _core.OwnerLock):
        public = {f"{owner.__name__}.{name}" for name in vars(owner) if not name.startswith("_")}
        assert public <= DOCUMENTED.keys()
