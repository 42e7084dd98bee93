"""Values of the caller's, as messages quote them: they may be of any length."""

_MOST_QUOTED = 200


def excerpt(value: object) -> str:
    """Return the beginning of what a value prints as."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _MOST_QUOTED else f"{value[:_MOST_QUOTED]!r}..."
    try:
        return cut(repr(value))
    except ValueError:
        # Python does not print an int of some thousand digits.
        return f"a {type(value).__name__}"


def cut(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


def one_line(text: str) -> str:
    """Return a text without its line breaks, and what indents its lines."""
    return " ".join(filter(None, map(str.strip, text.splitlines())))
