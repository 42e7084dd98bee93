//! Lists and counts of runs: filters and pages.

use std::num::NonZeroUsize;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::memory::{self, OutOfMemory};
use crate::model::columns::RunColumn;
use crate::model::rows::Runs;
use crate::sqlite::lists::clause::{Clause, and, given, only, values};
use crate::sqlite::lists::cursor::{self, Described, Position};
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::seek::{self, Rows};
use crate::sqlite::lists::tally::{Counted, Tally};
use crate::sqlite::tables::cells;
use crate::sqlite::tables::pruned::{NOT_PRUNED, PRUNED};
use crate::sqlite::tables::runs;

/// The column behind those of [`Runs`].
const ROWID: usize = RunColumn::ALL.len();

/// The filters of a list or a count of runs; a run must pass all that are given.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// What kind of run it is.
    pub run_type: Option<String>,
    /// What its id begins with.
    pub run_id_prefix: Option<Prefix>,
    /// The statuses that it may have; none of them, and nothing gets through.
    pub statuses: Option<Vec<String>>,
    /// The earliest `started_at`.
    pub since: Option<String>,
    /// What `started_at` is before.
    pub until: Option<String>,
}

/// What an id begins with, at least a character.
#[derive(Debug, Clone)]
pub struct Prefix {
    text: String,
    /// The first text behind all that begin so. The last byte of UTF-8 is never the highest one.
    end: Vec<u8>,
}

impl Prefix {
    /// What begins with this text; `None` for the empty one, with which all begin.
    ///
    /// # Errors
    /// Memory ran out.
    pub fn new(text: String) -> Result<Option<Self>, OutOfMemory> {
        let mut end = memory::bytes(text.as_bytes())?;
        Ok(end.last_mut().map(|last| *last += 1).map(|()| Self { text, end }))
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What finds it in the index of the ids.
    fn conditions(&self) -> [Clause<'_>; 2] {
        let end = ToSqlOutput::Borrowed(ValueRef::Text(&self.end));
        [("run_id >= ?", Some(self.text.as_str().into())), ("run_id < ?", Some(end))]
    }
}

impl RunFilter {
    /// As [`cursor::describe`] wants it.
    pub(crate) fn describe(&self) -> Result<String, OutOfMemory> {
        let statuses = memory::all(self.distinct_statuses()?.into_iter().flatten())?;
        cursor::describe(
            "list_runs",
            &[
                ("run_id_prefix", self.run_id_prefix.as_ref().map(|prefix| prefix.text.as_str()).as_slice()),
                ("run_type", self.run_type.as_deref().as_slice()),
                ("status", &statuses),
                ("since", self.since.as_deref().as_slice()),
                ("until", self.until.as_deref().as_slice()),
            ],
        )
    }

    /// Each status once, by itself: an index has the runs of one status in their order, not those of several.
    fn distinct_statuses(&self) -> Result<Vec<Option<&str>>, OutOfMemory> {
        let Some(statuses) = &self.statuses else { return Ok(vec![None]) };
        let mut distinct = memory::all(statuses.iter().map(|status| Some(status.as_str())))?;
        distinct.sort_unstable();
        distinct.dedup();
        Ok(distinct)
    }

    /// The conditions on runs of one status, or of any. SQLite takes it that a second column narrows little, and an index
    /// with one of the two for as good as that with both, unless it is told that each narrows much.
    fn conditions<'a>(&'a self, status: Option<&'a str>) -> Vec<Clause<'a>> {
        let of_id = self.run_id_prefix.iter().flat_map(Prefix::conditions);
        let others = given([
            ("likelihood(run_type = ?, 0.0000001)", self.run_type.as_deref()),
            ("likelihood(status = ?, 0.0000001)", status),
            ("started_at >= ?", self.since.as_deref()),
            ("started_at < ?", self.until.as_deref()),
        ]);
        of_id.chain(others).collect()
    }

    /// The runs that it lets through.
    fn rows(&self) -> Result<Rows<'_>, OutOfMemory> {
        let statuses = self.distinct_statuses()?;
        let parts = memory::all(statuses.iter().map(|status| self.conditions(*status)))?;
        let is_all = parts.len() == 1 && parts.iter().all(Vec::is_empty);
        let values = memory::all(statuses.into_iter().flatten().map(Into::into))?;
        Ok(Rows {
            columns: format!("{}, rowid", RunColumn::names(RunColumn::ALL)),
            rowid: ROWID,
            table: "runs",
            time: "started_at",
            shown: NOT_PRUNED,
            conditions: self.conditions(None),
            one_of: ("status", values),
            parts: (!is_all).then_some(parts),
            by: self.run_id_prefix.as_ref().map(|_| "run_id"),
        })
    }
}

/// Read runs, at most `limit` from behind `cursor` on; and the cursor of what is left, if anything
/// is.
pub(crate) fn list(
    connection: &Connection,
    filter: &RunFilter,
    order: Order,
    limit: Option<NonZeroUsize>,
    cursor: Option<&str>,
) -> Result<(Runs, Option<String>)> {
    let described = Described::new(filter.describe()?, order, Order::Newest)?;
    let rows = filter.rows()?;
    cursor::snapshot(connection, |store_id| {
        let after = cursor.map(|cursor| described.decode(cursor, store_id)).transpose()?;
        let (mut found, mut last, mut more) = (Runs::new(), None, false);
        let wanted = limit.map(|limit| limit.get().saturating_add(1));
        seek::scan(connection, &rows, order, after.as_ref(), wanted, &mut |row| {
            if limit.is_some_and(|limit| found.len() == limit.get()) {
                more = true;
                return Ok(false);
            }
            runs::push_row(row, &mut found)?;
            if limit.is_some_and(|limit| found.len() == limit.get()) {
                let time = cells::text(row, RunColumn::StartedAt as usize, "runs")?;
                last = Some(Position { time, rowid: row.get(ROWID)? });
            }
            Ok(true)
        })?;
        Ok((found, last.filter(|_| more).map(|last| last.encode(described.text(), store_id))))
    })
}

/// How many runs there are.
pub(crate) fn count(connection: &Connection, filter: &RunFilter) -> Result<u64> {
    cursor::snapshot(connection, |_| {
        filter.distinct_statuses()?.into_iter().try_fold(0, |sum, status| {
            let conditions = filter.conditions(status);
            let count = |sql: &str| -> Result<u64> {
                let mut statement = connection.prepare_cached(sql)?;
                let count: i64 =
                    statement.query_row(params_from_iter(values(&conditions)), |row| row.get(0))?;
                Ok(count.cast_unsigned())
            };
            let [all, pruned] = count_sql(&conditions);
            // The indexes do not know which runs are pruned, and to look at each would take far longer.
            Ok(sum + count(&all)?.saturating_sub(count(&pruned)?))
        })
    })
}

/// Count the runs that a filter lets through by a column.
pub(crate) fn count_by(connection: &Connection, filter: &RunFilter, column: RunColumn) -> Result<Tally> {
    cursor::snapshot(connection, |_| {
        let mut tally = Tally::default();
        for status in filter.distinct_statuses()? {
            let conditions = filter.conditions(status);
            let [all, pruned] = count_sql(&conditions);
            each_count(connection, &all, &conditions, column, &mut |value, count| tally.add(value, count))?;
            each_count(connection, &pruned, &conditions, column, &mut |value, count| {
                tally.subtract(value, count);
                Ok(())
            })?;
        }
        Ok(tally)
    })
}

/// Count by a column what a statement counts.
fn each_count(
    connection: &Connection,
    count_all: &str,
    conditions: &[Clause],
    column: RunColumn,
    counted: &mut Counted,
) -> Result<()> {
    let name = column.name();
    let sql = count_all.replacen("SELECT", &format!("SELECT {name},"), 1) + " GROUP BY " + name;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values(conditions)))?;
    while let Some(row) = rows.next()? {
        counted(row.get_ref(0)?.as_bytes_or_null().map_err(rusqlite::Error::from)?, cells::count(row, 1)?)?;
    }
    Ok(())
}

/// What counts all runs that meet the conditions, and what counts those that are pruned. For these no index but that
/// of the few pruned ones is to be used, which the plus sees to.
fn count_sql(conditions: &[Clause]) -> [String; 2] {
    let (all, pruned) = (only(conditions), and(conditions, |_| false));
    [format!("SELECT count(*) FROM runs{all}"), format!("SELECT count(*) FROM runs WHERE {PRUNED}{pruned}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;

    fn latest() -> Connection {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        connection
    }

    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        statement.raw_query().mapped(|row| row.get("detail")).collect::<rusqlite::Result<_>>().unwrap()
    }

    fn filters() -> Vec<RunFilter> {
        (0..32)
            .map(|bits| {
                let given = |bit: u32, value: &str| (bits >> bit & 1 == 1).then(|| value.to_owned());
                RunFilter {
                    run_id_prefix: given(4, "w").and_then(|text| Prefix::new(text).unwrap()),
                    run_type: given(0, "daily"),
                    statuses: given(1, "failed").map(|status| vec![status, "partial".to_owned()]),
                    since: given(2, "2026"),
                    until: given(3, "2027"),
                }
            })
            .collect()
    }

    fn index(filter: &RunFilter) -> (&'static str, &'static str) {
        if filter.run_id_prefix.is_some() {
            return ("sqlite_autoindex_runs_1", "run_id>? AND run_id<?");
        }
        match (&filter.run_type, &filter.statuses) {
            (None, None) => ("idx_runs_started_at", ""),
            (Some(_), None) => ("idx_runs_run_type", "run_type=?"),
            (None, Some(_)) => ("idx_runs_status", "status=?"),
            (Some(_), Some(_)) => ("idx_runs_run_type_status", "run_type=? AND status=?"),
        }
    }

    #[test]
    fn each_part_of_a_list_is_found_by_its_index_or_in_the_table() {
        let connection = latest();
        for filter in filters() {
            let (index, equal) = index(&filter);
            let by_id = filter.run_id_prefix.is_some();
            let timed = filter.since.is_some() || filter.until.is_some();
            let only_id = by_id && filter.run_type.is_none() && filter.statuses.is_none() && !timed;
            for step in filter.rows().unwrap().plans(|sql| plan(&connection, sql)) {
                let covering = if by_id && !only_id { "" } else { "COVERING " };
                let by = |index| step.strip_prefix(&format!("SEARCH runs USING {covering}INDEX {index} ("));
                // All of a type are in that index as well, which no order is asked of.
                let sought = by(index).or_else(|| by("idx_runs_run_type_status").filter(|_| !timed));
                let sought = sought.unwrap_or_else(|| panic!("{filter:?}: {step}"));
                assert!(sought.starts_with(equal), "{filter:?}: {step}");
                assert_eq!(sought.contains("started_at"), timed && !by_id, "{filter:?}: {step}");
            }
        }
    }

    #[test]
    fn runs_are_counted_in_an_index() {
        let connection = latest();
        for filter in filters() {
            let (_, equal) = index(&filter);
            for status in filter.distinct_statuses().unwrap() {
                let conditions = filter.conditions(status);
                let [all, pruned] = count_sql(&conditions).map(|sql| plan(&connection, &sql).concat());
                let how = if conditions.is_empty() { "SCAN" } else { "SEARCH" };
                let by_id = filter.run_id_prefix.is_some();
                let covering = if by_id && conditions.len() > 2 { "" } else { "COVERING " };
                assert!(all.starts_with(&format!("{how} runs USING {covering}INDEX ")), "{filter:?}: {all}");
                assert!(all.contains(equal), "{filter:?}: {all}");
                assert!(pruned.contains("INDEX idx_runs_pruned_at (pruned_at>?)"), "{filter:?}: {pruned}");
                if by_id {
                    continue;
                }
                let bounded = filter.since.is_some() || filter.until.is_some();
                assert_eq!(
                    all.contains("started_at>?") || all.contains("started_at<?"),
                    bounded,
                    "{filter:?}: {all}"
                );
            }
        }
    }

    #[test]
    fn a_prefix_is_exact() {
        let connection = latest();
        let ids = [
            "",
            "a",
            "a%",
            "a_",
            "ab",
            "a\0",
            "a\u{10ffff}",
            "a\u{10ffff}x",
            "b",
            "A",
            "\u{10ffff}",
            "\u{d7ff}",
            "\u{e000}",
        ];
        for id in ids {
            let sql = "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json)
                VALUES (?, 't', '2026', 'failed', '{}')";
            connection.execute(sql, [id]).unwrap();
        }
        // What another program writes need not be UTF-8.
        connection
            .execute_batch("INSERT INTO runs SELECT CAST(x'61ff' AS TEXT), 't', '2026', NULL, 's', '{}', NULL, NULL, NULL, NULL")
            .unwrap();
        for prefix in ids {
            let filter =
                RunFilter { run_id_prefix: Prefix::new(prefix.to_owned()).unwrap(), ..RunFilter::default() };
            let expected: Vec<&str> = ids.into_iter().filter(|id| id.starts_with(prefix)).rev().collect();
            let (found, _) = list(&connection, &filter, Order::Newest, None, None).unwrap();
            let found: Vec<&[u8]> =
                (0..found.len()).map(|row| found.get(row, RunColumn::RunId).unwrap()).collect();
            let mut expected: Vec<&[u8]> = expected.into_iter().map(str::as_bytes).collect();
            if b"a\xff".starts_with(prefix.as_bytes()) {
                expected.insert(0, b"a\xff");
            }
            assert_eq!(found, expected, "{prefix:?}");
            assert_eq!(count(&connection, &filter).unwrap(), expected.len() as u64, "{prefix:?}");
        }
    }

    #[test]
    fn a_pruned_run_is_neither_listed_nor_counted() {
        let connection = latest();
        connection
            .execute_batch(
                "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json, pruned_at)
                 VALUES ('a', 'daily', '2026-01', 'failed', '{}', NULL), ('b', 'daily', '2026-02', 'failed', '{}', 'now'),
                     ('c', 'daily', '2026-03', 'partial', '{}', NULL)",
            )
            .unwrap();
        for filter in filters().into_iter().filter(|filter| filter.run_id_prefix.is_none()) {
            let (found, next) = list(&connection, &filter, Order::Newest, None, None).unwrap();
            let ids: Vec<_> = (0..found.len()).map(|row| found.get(row, RunColumn::RunId).unwrap()).collect();
            assert_eq!(ids, [b"c", b"a"], "{filter:?}");
            assert_eq!(next, None);
            assert_eq!(count(&connection, &filter).unwrap(), 2, "{filter:?}");
        }
        assert!(runs::get(&connection, "b").unwrap().is_empty());
        assert_eq!(runs::get(&connection, "a").unwrap().len(), 1);
    }
}
