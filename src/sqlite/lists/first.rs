//! Finds the first row, in the order of recording, of those that an index has in the order of their times.
//!
//! A batch has one time, and an index has the rows of one time in the order of recording. So the first row of each time
//! is looked at, and the rest of a batch skipped. Where there are many times the search is given up.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, StatementStatus, params_from_iter};

use crate::error::Result;
use crate::memory;
use crate::sqlite::lists::clause::{Clause, values};
use crate::sqlite::lists::order::Order;

/// Behind so many rows of one time the rest of them are skipped, which costs as much as reading some thirty.
const SAME_TIME: usize = 8;

/// How many times are looked at: so many, and so many for each of which rows were skipped.
const TIMES: usize = 16;
const TIMES_FOR_EACH_SKIP: usize = 2;

/// How often rows are skipped.
const MOST_SKIPS: usize = 256;

/// What is found of some rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// They are few: their rowids, in their order.
    All(Vec<i64>),
    /// The rowid of the first one.
    First(i64),
    /// Nothing is soon found.
    Unknown,
}

impl Found {
    /// The rowid of the first one, if there are any and it is known.
    pub(crate) fn first(&self) -> Option<i64> {
        match self {
            Self::All(rowids) => rowids.first().copied(),
            Self::First(rowid) => Some(*rowid),
            Self::Unknown => None,
        }
    }
}

/// Some rows of a table, which an index has in the order of their times.
pub(crate) struct Timed<'a> {
    pub(crate) table: &'static str,
    /// The column of their time.
    pub(crate) time: &'static str,
    /// What holds for each of them.
    pub(crate) conditions: &'a [Clause<'a>],
}

impl Timed<'_> {
    /// Find the first one, or all.
    pub(crate) fn first(&self, connection: &Connection, order: Order) -> Result<Found> {
        // No skip leads to a row without a time.
        if connection
            .prepare_cached(&self.timeless_sql())?
            .exists(params_from_iter(values(self.conditions)))?
        {
            return Ok(Found::Unknown);
        }
        let [mut all, mut those_behind] = [
            connection.prepare_cached(&self.times_sql(order, false))?,
            connection.prepare_cached(&self.times_sql(order, true))?,
        ];
        let (mut found, mut time, mut times) = (Vec::new(), None::<Vec<u8>>, TIMES);
        let mut is_all = true;
        for _ in 0..=MOST_SKIPS {
            let behind = time.take();
            let statement = if behind.is_some() { &mut those_behind } else { &mut all };
            if statement.get_status(StatementStatus::Sort) > 0 {
                // There is no such index: others have dropped it, or the file is an older one.
                return Ok(Found::Unknown);
            }
            let behind = behind.as_deref().map(|time| ToSqlOutput::Borrowed(ValueRef::Text(time)));
            let mut rows = statement.query(params_from_iter(values(self.conditions).chain(behind)))?;
            let mut same = 0;
            while same < SAME_TIME {
                let Some(row) = rows.next()? else {
                    found.sort_unstable_by(|a, b| order.compare(a, b));
                    let first = found.first().copied().filter(|_| !is_all);
                    return Ok(first.map_or(Found::All(found), Found::First));
                };
                let (ValueRef::Text(of_row), rowid) = (row.get_ref(0)?, row.get(1)?) else {
                    return Ok(Found::Unknown);
                };
                memory::push(&mut found, rowid)?;
                if time.as_deref() == Some(of_row) {
                    same += 1;
                } else if times == 0 {
                    return Ok(Found::Unknown);
                } else {
                    (same, times, time) = (1, times - 1, Some(memory::bytes(of_row)?));
                }
            }
            times += TIMES_FOR_EACH_SKIP;
            is_all = false;
        }
        Ok(Found::Unknown)
    }

    fn timeless_sql(&self) -> String {
        self.sql("1", None, &format!("{} IS NULL", self.time))
    }

    /// What finds the times, of all rows or of those behind a time, and the rowids.
    fn times_sql(&self, order: Order, is_behind: bool) -> String {
        let (time, [behind, _], order) = (self.time, order.bounds(), order.sql());
        let behind = format!("{time} {behind}");
        // A bound of theirs that is on the same side is not to be sought instead.
        let rest = if is_behind { format!("{behind} ?") } else { "TRUE".to_owned() };
        self.sql(
            &format!("{time}, rowid"),
            is_behind.then_some(&behind),
            &format!("{rest} ORDER BY {time} {order}, rowid {order}"),
        )
    }

    /// A query of these rows in which conditions that begin with `weaker` are to find none.
    fn sql(&self, columns: &str, weaker: Option<&String>, rest: &str) -> String {
        let plus = |condition: &str| {
            if weaker.is_some_and(|weaker| condition.starts_with(weaker)) { "+" } else { "" }
        };
        let conditions: String = self
            .conditions
            .iter()
            .map(|(condition, _)| format!("{}{condition} AND ", plus(condition)))
            .collect();
        format!("SELECT {columns} FROM {} WHERE {conditions}{rest}", self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;

    impl Timed<'_> {
        /// Check that an index finds each time at once.
        pub(crate) fn check_plans(&self, plan: &dyn Fn(&str) -> Vec<String>) {
            for order in Order::ALL {
                for is_behind in [false, true] {
                    let [step] = plan(&self.times_sql(order, is_behind)).try_into().unwrap();
                    assert!(step.contains(" USING COVERING INDEX "), "{step}");
                    assert!(
                        !is_behind || step.contains(&format!("{}{}?", self.time, order.bounds()[0])),
                        "{step}"
                    );
                }
            }
        }
    }

    const KIND: [Clause; 1] = [("kind = ?", Some(ToSqlOutput::Borrowed(ValueRef::Integer(1))))];

    fn rows<'a>(conditions: &'a [Clause<'a>]) -> Timed<'a> {
        Timed { table: "rows", time: "time", conditions }
    }

    /// A table with these times of one kind, and one row of another.
    fn with_times(times: impl Iterator<Item = Option<u64>>) -> Connection {
        let connection = connection::open_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE rows (kind INTEGER, time TEXT); CREATE INDEX by_time ON rows(kind, time);
                 INSERT INTO rows VALUES (2, '0000'); BEGIN",
            )
            .unwrap();
        for time in times {
            let time = time.map(|time| format!("{time:04}"));
            connection.prepare_cached("INSERT INTO rows VALUES (1, ?)").unwrap().execute([time]).unwrap();
        }
        connection
    }

    const UNKNOWN: [Found; 2] = [Found::Unknown, Found::Unknown];

    fn known(first: i64, last: i64) -> [Found; 2] {
        [first, last].map(Found::First)
    }

    fn ends(connection: &Connection) -> [Found; 2] {
        Order::ALL.map(|order| rows(&KIND).first(connection, order).unwrap())
    }

    #[test]
    fn all_or_the_first_are_found_among_batches_whatever_the_clock_did() {
        let (mut few, mut many) = (0, 0);
        for seed in 1..200_u64 {
            // The times of batches of one to twelve rows go up and down.
            let batches = (0..seed % 30)
                .map(|batch| (seed * (batch + 7) * 7919 % 13, seed * (batch + 3) * 104_729 % 12 + 1));
            let times = batches.flat_map(|(time, rows)| (0..rows).map(move |_| Some(time)));
            let connection = with_times(times);
            for (condition, order) in ["time IS NOT ?", "time >= ?", "time < ?"]
                .into_iter()
                .flat_map(|condition| Order::ALL.map(|order| (condition, order)))
            {
                let conditions = [KIND[0].clone(), (condition, Some("0007".into()))];
                let condition = condition.replace('?', "'0007'");
                let sql = format!(
                    "SELECT rowid FROM rows WHERE kind = 1 AND {condition} ORDER BY rowid {}",
                    order.sql()
                );
                let mut wanted = connection.prepare(&sql).unwrap();
                let wanted = wanted.query_map([], |row| row.get(0)).unwrap();
                let wanted: Vec<i64> = wanted.collect::<rusqlite::Result<_>>().unwrap();
                match rows(&conditions).first(&connection, order).unwrap() {
                    Found::All(rowids) => {
                        assert_eq!(rowids, wanted, "{seed}, {sql}");
                        few += 1;
                    }
                    Found::First(first) => {
                        assert_eq!(first, wanted[0], "{seed}, {sql}");
                        many += 1;
                    }
                    Found::Unknown => panic!("{seed}, {sql}"),
                }
            }
        }
        assert!(few > 100 && many > 100, "{few}, {many}");
    }

    #[test]
    fn few_rows_of_a_batch_are_read_and_few_of_many_times() {
        let bounds = [KIND[0].clone(), ("time >= ?", Some("0000".into())), ("time < ?", Some("9999".into()))];
        for conditions in [&KIND[..], &bounds] {
            let found = |times: &mut dyn Iterator<Item = u64>, most_steps: i32| {
                let connection = with_times(times.map(Some));
                Order::ALL.map(|order| {
                    let found = rows(conditions).first(&connection, order).unwrap();
                    let steps = [false, true].map(|is_behind| {
                        let sql = rows(conditions).times_sql(order, is_behind);
                        connection.prepare_cached(&sql).unwrap().get_status(StatementStatus::VmStep)
                    });
                    assert!((1..most_steps).contains(&steps.iter().sum()), "{steps:?}");
                    found
                })
            };
            assert_eq!(found(&mut (0..20_000).map(|row| row / 2_000), 1_000), known(2, 20_001));
            assert_eq!(found(&mut (0..5_000), 500), UNKNOWN);
            assert_eq!(found(&mut (0..9_000).map(|row| row / 9), 25_000), UNKNOWN);
        }
    }

    #[test]
    fn it_is_not_sought_where_rows_have_no_time_or_no_index() {
        let times = || (0..100).map(|row| Some(row / 50));
        let connection = with_times(times());
        assert_eq!(ends(&connection), known(2, 101));
        assert_eq!(ends(&with_times(times().chain([None]))), UNKNOWN);
        connection.execute_batch("UPDATE rows SET time = x'00' WHERE rowid = 50").unwrap();
        assert_eq!(ends(&connection), UNKNOWN);
        let connection = with_times((0..1_000).map(|row| Some(row / 50)));
        connection.execute_batch("DROP INDEX by_time").unwrap();
        assert_eq!(ends(&connection), UNKNOWN);
    }
}
