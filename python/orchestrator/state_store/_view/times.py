"""Times and time spans: clock times beside ages, since an age alone says nothing once it was printed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from orchestrator.state_store._view.text import shown

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|min|[smhdw])\s*")


def span(text: str) -> timedelta:
    """Return the time span that a text such as `90s`, `10m`, `1h30m`, `7d` or `2w` names.

    Raises
    ------
    ValueError
        When it is no such text; the message says so in one line.
    """
    parts = _PARTS.findall(text)
    if not parts or _PARTS.sub("", text):
        raise ValueError(f"{text[:50]!r} is not a time span; 90s, 10m, 1h30m, 7d and 2w are")
    try:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(f"{text[:50]!r} is too long a time span") from None


def moment(text: str | None) -> datetime | None:
    """Return a stored time; None if it is no time, as another program may have written. One without offset is UTC."""
    try:
        when = datetime.fromisoformat(text or "")
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def age(seconds: float) -> str:
    """Return a time span in its largest unit, cut, never rounded up.

    >>> age(0.4), age(59.9), age(1199), age(7300), age(10 * 86400), age(-90)
    ('0 s', '59 s', '19 min', '2 h', '10 d', '-1 min')
    """
    sign, left = ("-", -seconds) if seconds <= -1 else ("", seconds)
    for unit, length, end in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 2 * 86400)):
        if left < end:
            return f"{sign}{int(left / length)} {unit}"
    return f"{sign}{int(left / 86400):,} d"


def ago(seconds: float) -> str:
    """Return an age in words; a time ahead of this clock is said to be so.

    >>> ago(1199), ago(-90), ago(0.2)
    ('19 min ago', 'in 1 min', 'now')
    """
    if -1 < seconds < 1:
        return "now"
    return f"in {age(-seconds)}" if seconds < 0 else f"{age(seconds)} ago"


def short_ago(seconds: float) -> str:
    """Return the same for a column: `19m ago`.

    >>> short_ago(1199), short_ago(-90)
    ('19m ago', 'in 1m')
    """
    return ago(seconds).replace(" min", "m").replace(" s", "s").replace(" h", "h").replace(" d", "d")


def duration(seconds: float) -> str:
    """Return how long something took.

    >>> duration(0.0034), duration(2.5), duration(125), duration(11520), duration(200_000)
    ('3 ms', '2.5 s', '2 min 5 s', '3 h 12 min', '2 d 7 h')
    """
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{int(seconds * 10) / 10:g} s"
    for large, small, unit, lesser, end in (
        (60, 1, "min", "s", 3600),
        (3600, 60, "h", "min", 86400),
        (86400, 3600, "d", "h", None),
    ):
        if end is None or seconds < end:
            rest = int(seconds % large / small)
            return f"{int(seconds / large):,} {unit}" + (f" {rest} {lesser}" if rest else "")
    raise AssertionError


def local(when: datetime) -> datetime:
    """Return a time in the zone of this machine, or in UTC where that zone cannot have it (before the year 1)."""
    try:
        return when.astimezone()
    except (OverflowError, ValueError, OSError):
        return when


def zone(now: datetime) -> str:
    """Return the name of the local zone, as the heading of a column has it."""
    return local(now).strftime("%Z")


def clock(when: datetime, now: datetime) -> str:
    """Return the clock time in the zone that is the local one now, as short as it can be beside `now`.

    Today's are `03:11:05`, this year's `11-25 03:11`; of others only the date is left, `2025-11-25`.
    """
    today = local(now)
    try:
        here = when.astimezone(today.tzinfo)
    except OverflowError:
        here = when
    form = "%H:%M:%S" if here.date() == today.date() else "%m-%d %H:%M" if here.year == today.year else "%Y-%m-%d"
    return here.strftime(form)


def full(when: datetime, now: datetime) -> str:
    """Return date, clock time, zone and age: `2026-11-26 03:11:05 UTC, 19 min ago`."""
    return f"{local(when):%Y-%m-%d %H:%M:%S %Z}, {ago((now - when).total_seconds())}"


def full_text(text: str | None, now: datetime) -> str:
    """Return the same of a stored time; the stored text itself where it is no time, and a dash where there is none."""
    when = moment(text)
    return full(when, now) if when else shown(text, 60) if text else "-"
