"""Conversion of times and time spans from Python to what the core takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrator.state_store.exceptions import InvalidTypeError, InvalidValueError
from orchestrator.state_store.excerpts import excerpt


def utc_now_iso() -> str:
    """Return the current time in the store's format: UTC, ISO 8601, as `datetime.isoformat()` prints it.

    Examples
    --------
    >>> from datetime import datetime
    >>> str(datetime.fromisoformat(utc_now_iso()).tzinfo)
    'UTC'
    """
    return datetime.now(UTC).isoformat()


def utc(value: datetime | str | None, operation: str, name: str) -> str | None:
    """Return a time in the store's format: UTC, ISO 8601, as `datetime.isoformat()` prints it. None stays None.

    Raises
    ------
    InvalidTypeError
        When it is neither a datetime nor a str.
    InvalidValueError
        When a str is not a time in ISO 8601, or the time has no offset from UTC, or is pandas' NaT.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidValueError(f"{operation}: {name} is not a time in ISO 8601: {excerpt(value)}") from None
    elif not isinstance(value, datetime):
        found = type(value).__name__
        raise InvalidTypeError(f"{operation}: {name} must be a datetime, a str or None, not {found}")
    # pandas.NaT is a datetime, and equals nothing. To take it for no bound would answer another question.
    if value != value:
        raise InvalidValueError(f"{operation}: {name} is {value}, not a time; pass None for no bound")
    try:
        if value.utcoffset() is not None:
            return value.astimezone(UTC).isoformat()
    # A ValueError is Python's for an offset of days.
    except (OverflowError, ValueError):
        raise InvalidValueError(f"{operation}: {name} is out of range in UTC: {value.replace(tzinfo=None)}") from None
    raise InvalidValueError(f"{operation}: {name} must have an offset from UTC (datetime.now(UTC), +00:00)")


def seconds(value: timedelta | float, operation: str, name: str) -> float:
    """Return a time span in seconds.

    Raises
    ------
    InvalidTypeError
        When it is neither a timedelta nor a number.
    InvalidValueError
        When it is negative, infinite or NaN.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, int | float):
        found = type(value).__name__
        raise InvalidTypeError(f"{operation}: {name} must be a timedelta or a number of seconds, not {found}")
    if not 0 <= value <= 1e11:
        raise InvalidValueError(f"{operation}: {name} must be from 0 to 1e11 seconds, not {excerpt(value)}")
    return float(value)
