//! Times, as Python's `datetime.isoformat()` prints them.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, TimeDelta, Timelike, Utc};

/// The present time in UTC, as Python's `datetime.isoformat()` prints it: no fraction where it is zero.
pub fn now() -> String {
    isoformat(clock())
}

/// The present time. `Utc::now` panics where the clock is before 1970.
pub(crate) fn clock() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// A time as Python's `datetime.isoformat()` prints it.
pub(crate) fn isoformat(time: DateTime<Utc>) -> String {
    let whole_second = time.nanosecond() / 1_000 == 0;
    let digits = if whole_second { SecondsFormat::Secs } else { SecondsFormat::Micros };
    time.to_rfc3339_opts(digits, false)
}

/// The time that is so long before another, as [`isoformat`] prints it. Where time does not go back so far it is the
/// empty text, which is before all others.
pub(crate) fn before(time: DateTime<Utc>, span: Duration) -> String {
    let earlier = TimeDelta::from_std(span).ok().and_then(|span| time.checked_sub_signed(span));
    earlier.map(isoformat).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_python_prints_them() {
        let at = |nanos| isoformat(DateTime::from_timestamp(1_700_000_000, nanos).unwrap());
        assert_eq!(at(0), "2023-11-14T22:13:20+00:00");
        assert_eq!(at(999), "2023-11-14T22:13:20+00:00");
        assert_eq!(at(1_000), "2023-11-14T22:13:20.000001+00:00");
    }

    #[test]
    fn a_span_longer_than_time_leads_to_its_beginning() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(before(now, Duration::from_secs(20)), "2023-11-14T22:13:00+00:00");
        assert_eq!(before(now, Duration::MAX), "");
    }
}
