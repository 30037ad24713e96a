"""What to say where an optional dependency is missing."""


def missing(what: str, needs: str, extra: str) -> ImportError:
    """An error that says in one sentence what to install.

    Args:
        what: what was used, as the subject of a sentence.
        needs: the package that is missing.
        extra: the extra of this package that installs it.
    """
    return ImportError(f'{what} needs {needs}: pip install "genglossary-runs[{extra}]"')
