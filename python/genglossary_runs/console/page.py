"""The page of the console: one HTML file, with styles and ES modules beside it."""

from html import escape
from pathlib import Path
from string import Template

STATIC = Path(__file__).with_name("static")


def page(title: str, *, can_start: bool) -> bytes:
    """Make the page.

    Args:
        title: its title.
        can_start: whether it offers to start runs.
    """
    # English first, for readers of other languages; a further language is a further file.
    languages = sorted((file.stem for file in (STATIC / "texts").glob("*.js")), key=lambda code: (code != "en", code))
    attributes = f'data-languages="{" ".join(languages)}"' + (" data-start" if can_start else "")
    # Loaded at once, and not one after the other as they import each other.
    modules = (file.relative_to(STATIC).as_posix() for file in sorted(STATIC.rglob("*.js")))
    preloads = "\n  ".join(f'<link rel="modulepreload" href="static/{module}">' for module in modules)
    template = Template((STATIC / "index.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), attributes=attributes, preloads=preloads).encode()
