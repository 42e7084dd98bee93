//! Doubts in the clock: what goes by age deletes nothing because of one wild reading.
//!
//! A clock that jumps ahead makes all runs old at once. Two things tell. It has moved further than the clock that
//! counts the time since the system was started, that in which it was suspended included; nobody can set that one. Or
//! it is far beyond the newest time in the file, of what was there when the store was opened: what was written since
//! may be of the wild clock itself.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::time;
use crate::sqlite::file::platform;

/// How far the clock may move ahead by itself. That is far more than it is ever set right by.
const MOST_MOVED: TimeDelta = TimeDelta::hours(1);

/// How long a file may have been idle.
const MOST_IDLE: TimeDelta = TimeDelta::days(400);

/// The newest time in the file up to `?1`, as far as an index knows it.
const NEWEST: &str = "SELECT max(coalesce((SELECT max(started_at) FROM runs WHERE started_at <= ?1), ''),
    coalesce((SELECT max(heartbeat_at) FROM runs WHERE status = 'running' AND heartbeat_at <= ?1), ''),
    coalesce((SELECT max(created_at) FROM intel_items WHERE created_at <= ?1), ''))";

/// What the clocks said when a store was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    opened: DateTime<Utc>,
    up: TimeDelta,
}

impl Clock {
    /// What they say.
    pub(crate) fn read() -> Self {
        Self { opened: time::clock(), up: platform::up() }
    }

    /// Fail where a look at the clock is not to be believed.
    pub(crate) fn check(&self, connection: &Connection, now: DateTime<Utc>) -> Result<()> {
        self.check_moves(now)?;
        let newest: String =
            connection.prepare_cached(NEWEST)?.query_row([time::isoformat(self.opened)], |row| row.get(0))?;
        self.check_newest(now, DateTime::parse_from_rfc3339(&newest).ok().map(|newest| newest.to_utc()))
    }

    /// Fail where the clock has moved ahead by itself since then.
    pub(crate) fn check_moves(&self, now: DateTime<Utc>) -> Result<()> {
        let moved = now - self.opened - (platform::up() - self.up);
        if moved <= MOST_MOVED {
            return Ok(());
        }
        Err(doubt(&format!(
            "the clock has moved {} ahead since the store was opened, beyond the time that has passed; nothing was changed; open a new store when the clock is right, or pass trust_clock=True",
            long(moved)
        )))
    }

    /// Fail where it is, or was then, far beyond the newest time that was in the file.
    fn check_newest(&self, now: DateTime<Utc>, newest: Option<DateTime<Utc>>) -> Result<()> {
        let Some(newest) = newest else { return Ok(()) };
        let idle = now - newest - (platform::up() - self.up);
        if idle <= MOST_IDLE {
            return Ok(());
        }
        Err(doubt(&format!(
            "the clock is {} beyond the newest time that was in the file when the store was opened; nothing was changed; set the clock right, or pass trust_clock=True if it is",
            long(idle)
        )))
    }
}

fn doubt(what: &str) -> StoreError {
    StoreError::new(ErrorKind::Clock, what)
}

/// A span, in the unit that shows it best.
fn long(span: TimeDelta) -> String {
    match span.num_days() {
        0..3 => format!("{} hours", span.num_hours()),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_is_doubted_and_no_other_one() {
        let clock = Clock::read();
        let moved = |span| clock.check_moves(clock.opened + span).map_err(|error| error.kind);
        for span in [TimeDelta::zero(), TimeDelta::minutes(59), -TimeDelta::days(20_000)] {
            assert_eq!(moved(span), Ok(()));
        }
        for span in [TimeDelta::minutes(62), TimeDelta::days(4_383)] {
            assert_eq!(moved(span), Err(ErrorKind::Clock));
        }
        // The time passes while the store is open, or the system is suspended.
        let passed = Clock { up: clock.up - TimeDelta::days(30), ..clock };
        assert!(passed.check_moves(clock.opened + TimeDelta::days(30)).is_ok());
    }

    #[test]
    fn a_file_that_was_idle_for_long_is_doubted_where_it_was_so_when_it_was_opened() {
        let clock = Clock::read();
        let idle = |clock: Clock, days| {
            let newest = Some(clock.opened - TimeDelta::days(days));
            clock.check_newest(time::clock(), newest).map_err(|error| error.kind)
        };
        for days in [-4_000, 0, 3, 31, 399] {
            assert_eq!(idle(clock, days), Ok(()));
        }
        assert_eq!(idle(clock, 401), Err(ErrorKind::Clock));
        let for_years = TimeDelta::days(1_000);
        let open = Clock { opened: clock.opened - for_years, up: clock.up - for_years };
        assert_eq!(idle(open, 1), Ok(()));
        assert!(clock.check_newest(time::clock(), None).is_ok());
    }
}
