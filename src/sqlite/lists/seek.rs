//! Finds the rows of a list in the order of recording, which is that of their rowids, whatever the clock did.
//!
//! An index has its rows in the order of their times. Where the clock was set back, that is not the order of recording.
//! So a page comes from one of two places:
//!
//! - The table, which is in the order of recording. It is read over a few rows behind the last page: where many of them
//!   are of the list, as where a run's items were recorded together, they fill the page. The first page begins
//!   where the list does, if that is soon found.
//! - An index, in which nothing but the list is gone through: all of its rowids are looked at, and the first ones kept.
//!   That takes some 40 ms for 1,000,000, where walking the table takes ten times as long.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::lists::clause::{Clause, and, values};
use crate::sqlite::lists::cursor::Position;
use crate::sqlite::lists::first::{Found, Timed};
use crate::sqlite::lists::order::Order;

/// How many rows of the table are read before the index is asked: so many, and so many for each that is wanted.
const WALK: usize = 256;
const WALK_FOR_EACH: usize = 4;

/// With more values of one column than these the table is not read: they are parameters of one statement.
const MOST_VALUES: usize = 256;

/// The most rowids that are kept of a page that has to be continued: half a megabyte.
const MOST_KEPT: usize = 65_536;

/// The rows of a list, and what finds them.
pub(crate) struct Rows<'a> {
    /// The columns, and the rowid behind them.
    pub(crate) columns: String,
    pub(crate) rowid: usize,
    pub(crate) table: &'static str,
    /// The column of their time.
    pub(crate) time: &'static str,
    /// What holds for each of the table's rows that may be shown.
    pub(crate) shown: &'static str,
    /// What holds for each row of the list.
    pub(crate) conditions: Vec<Clause<'a>>,
    /// A column, and the values of which each row of the list has one in it; none where any will do.
    pub(crate) one_of: (&'static str, Vec<ToSqlOutput<'a>>),
    /// The same rows in parts that an index has each by itself; `None` for those of the whole table.
    pub(crate) parts: Option<Vec<Vec<Clause<'a>>>>,
    /// The column whose index alone finds the parts, none of them in the order of time; `None` for the indexes on kinds
    /// and times.
    pub(crate) by: Option<&'static str>,
}

/// Give each row of the list behind a position to the caller, in their order, until no more are `wanted`: as many as
/// the caller is likely to take, or all.
pub(crate) fn scan(
    connection: &Connection,
    rows: &Rows,
    order: Order,
    after: Option<&Position>,
    wanted: Option<usize>,
    look: &mut dyn FnMut(&Row) -> Result<bool>,
) -> Result<()> {
    let mut after = after.map(|after| after.behind(connection, rows.table, rows.time, order)).transpose()?;
    let mut from = after;
    let mut look = |row: &Row| {
        let rowid = row.get(rows.rowid)?;
        let goes_on = after.is_none_or(|after| order.compare(&rowid, &after).is_gt());
        if !goes_on {
            // A reader that continued from there would never come to an end.
            let what = format!("the rows of {} are not in order: the file is damaged", rows.table);
            return Err(StoreError::new(ErrorKind::CorruptDatabase, what));
        }
        after = Some(rowid);
        look(row)
    };
    let Some(parts) = &rows.parts else {
        rows.walk(connection, order, from, None, &mut look)?;
        return Ok(());
    };
    if parts.is_empty() {
        return Ok(());
    }
    if let Some(wanted) = wanted.filter(|_| rows.one_of.1.len() <= MOST_VALUES) {
        let steps =
            i64::try_from(wanted.saturating_mul(WALK_FOR_EACH).saturating_add(WALK)).unwrap_or(i64::MAX);
        let first = match from {
            Some(from) => from,
            None => match rows.end(connection, parts, order)? {
                Found::First(first) => first,
                Found::All(rowids) => return rows.fetch(connection, order, &rowids, &mut look).map(|_| ()),
                Found::Unknown => return Ok(()),
            },
        };
        // Not behind the rowid before the first one: there need be none.
        from = from.or_else(|| first.checked_sub(order.step(0, 1)));
        let to = order.step(first, steps);
        if !rows.walk(connection, order, from, Some(to), &mut look)? {
            return Ok(());
        }
        let last = rows.end(connection, parts, order.other())?.first();
        if last.is_none_or(|last| order.compare(&to, &last).is_ge()) {
            return Ok(());
        }
        from = Some(to);
    }
    let mut most = wanted.unwrap_or(usize::MAX);
    loop {
        let found = rows.nearest(connection, parts, order, from, most)?;
        if !rows.fetch(connection, order, &found, &mut look)? || found.len() < most {
            return Ok(());
        }
        from = found.last().copied();
        most = most.saturating_mul(4).min(MOST_KEPT);
    }
}

impl Rows<'_> {
    fn timed<'a>(&self, part: &'a [Clause<'a>]) -> Timed<'a> {
        Timed { table: self.table, time: self.time, conditions: part }
    }

    /// The first rowid of the list, or all where they are few; that of the table where neither is soon found, unless it
    /// has no rows.
    fn end(&self, connection: &Connection, parts: &[Vec<Clause>], order: Order) -> Result<Found> {
        let part = match parts {
            [part] if self.by.is_none() => part.as_slice(),
            _ => &[],
        };
        let end: Option<(i64, bool)> = connection
            .prepare_cached(&self.end_sql(part, order))?
            .query_row(params_from_iter(values(part)), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((rowid, is_of_list)) = end else { return Ok(Found::Unknown) };
        let found = if is_of_list { Found::Unknown } else { self.timed(part).first(connection, order)? };
        Ok(if found == Found::Unknown { Found::First(rowid) } else { found })
    }

    /// What finds the first rowid of the table, and whether that row is of a part.
    fn end_sql(&self, part: &[Clause], order: Order) -> String {
        format!(
            "SELECT rowid, (TRUE{}) IS TRUE FROM {} ORDER BY rowid {} LIMIT 1",
            and(part, |_| true),
            self.table,
            order.sql()
        )
    }

    /// Go through the table; whether the caller wants more.
    fn walk(
        &self,
        connection: &Connection,
        order: Order,
        from: Option<i64>,
        to: Option<i64>,
        look: &mut dyn FnMut(&Row) -> Result<bool>,
    ) -> Result<bool> {
        let values =
            self.conditions.iter().filter_map(|(_, value)| value.as_ref()).chain(&self.one_of.1).cloned();
        let ends = from.into_iter().chain(to).map(ToSqlOutput::from);
        let mut statement = connection.prepare_cached(&self.walk_sql(order, from.is_some(), to.is_some()))?;
        each(statement.query(params_from_iter(ends.chain(values)))?, look)
    }

    /// The pluses keep SQLite from using an index.
    pub(crate) fn walk_sql(&self, order: Order, from: bool, to: bool) -> String {
        let [behind, until] = order.bounds();
        let from = from.then(|| format!("rowid {behind} ?"));
        let to = to.then(|| format!("rowid {until} ?"));
        let conditions = self.conditions.iter().map(|(condition, _)| format!("+{condition}"));
        let (column, values) = &self.one_of;
        let one_of =
            (!values.is_empty()).then(|| format!("+{column} IN (?{})", ", ?".repeat(values.len() - 1)));
        self.rows_sql(from.into_iter().chain(to).chain(conditions).chain(one_of), order)
    }

    /// The columns of the rows that meet these conditions.
    fn rows_sql(&self, conditions: impl Iterator<Item = String>, order: Order) -> String {
        let Self { columns, table, shown, .. } = self;
        let conditions: String = conditions.map(|condition| format!(" AND {condition}")).collect();
        format!("SELECT {columns} FROM {table} WHERE {shown}{conditions} ORDER BY rowid {}", order.sql())
    }

    /// Read these rows; whether the caller wants more.
    fn fetch(
        &self,
        connection: &Connection,
        order: Order,
        rowids: &[i64],
        look: &mut dyn FnMut(&Row) -> Result<bool>,
    ) -> Result<bool> {
        let mut statement = connection.prepare_cached(&self.fetch_sql(order))?;
        // What was recorded together is read together.
        for stretch in rowids.chunk_by(|a, b| order.step(*a, 1) == *b) {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            if !each(statement.query([first.min(last), first.max(last)])?, look)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn fetch_sql(&self, order: Order) -> String {
        self.rows_sql(["rowid >= ?".to_owned(), "rowid <= ?".to_owned()].into_iter(), order)
    }

    /// The first rowids of the parts, behind one, in their order.
    fn nearest(
        &self,
        connection: &Connection,
        parts: &[Vec<Clause>],
        order: Order,
        from: Option<i64>,
        most: usize,
    ) -> Result<Vec<i64>> {
        let mut found = Vec::new();
        for part in parts {
            let last = found.get(most - 1).copied();
            let last = last.map_or_else(
                || self.last_of_first(connection, part, order, from, most),
                |last| Ok(Some(last)),
            );
            self.collect(connection, part, order, from, last?, most, &mut found)?;
        }
        Ok(found)
    }

    /// The last of the first rowids of a part by their times, which nearly always are the first ones.
    fn last_of_first(
        &self,
        connection: &Connection,
        part: &[Clause],
        order: Order,
        from: Option<i64>,
        most: usize,
    ) -> Result<Option<i64>> {
        let Some(limit) = i64::try_from(most).ok() else { return Ok(None) };
        let mut statement = connection.prepare_cached(&self.first_sql(part, order, from.is_some()))?;
        let values = values(part).chain(from.map(ToSqlOutput::from)).chain([limit.into()]);
        let (mut rows, mut count, mut last) = (statement.query(params_from_iter(values))?, 0, None::<i64>);
        while let Some(row) = rows.next()? {
            let rowid = row.get(0)?;
            last = Some(
                last.map_or(rowid, |last| if order.compare(&rowid, &last).is_gt() { rowid } else { last }),
            );
            count += 1;
        }
        Ok(last.filter(|_| count == most))
    }

    /// Add the rowids of a part up to `last`; of all together the first `most` stay, in their order.
    #[expect(clippy::too_many_arguments, reason = "what is asked for, and what was found")]
    fn collect(
        &self,
        connection: &Connection,
        part: &[Clause],
        order: Order,
        from: Option<i64>,
        mut last: Option<i64>,
        most: usize,
        found: &mut Vec<i64>,
    ) -> Result<()> {
        let before = found.len();
        let mut statement =
            connection.prepare_cached(&self.part_sql(part, order, from.is_some(), last.is_some()))?;
        // Where many come before the last the clock was set back: once they are known, one more pass has few of them.
        for enough in [last.map(|_| most.saturating_mul(4).saturating_add(WALK)), None] {
            found.truncate(before);
            let ends = from.into_iter().chain(last).map(ToSqlOutput::from);
            let mut rows = statement.query(params_from_iter(values(part).chain(ends)))?;
            while let Some(row) = rows.next()? {
                if found.len() == found.capacity() {
                    if enough.is_none() && found.len() / 4 > most {
                        trim(found, order, most);
                    }
                    found
                        .try_reserve(found.len().max(WALK))
                        .map_err(|_| StoreError::new(ErrorKind::OutOfMemory, "out of memory"))?;
                }
                found.push(row.get(0)?);
                if enough.is_some_and(|enough| found.len() - before > enough) {
                    break;
                }
            }
            if enough.is_none_or(|enough| found.len() - before <= enough) {
                break;
            }
            let mut new = found.split_off(before);
            trim(&mut new, order, most);
            last = new.last().copied();
        }
        trim(found, order, most);
        Ok(())
    }

    /// What finds the first of a part by their times.
    fn first_sql(&self, part: &[Clause], order: Order, from: bool) -> String {
        let by_time = match self.by {
            None => format!(" ORDER BY {} {}", self.time, order.sql()),
            Some(_) => String::new(),
        };
        format!("{}{by_time} LIMIT ?", self.part_sql(part, order, from, false))
    }

    /// What finds all of a part by its index, or those up to one.
    fn part_sql(&self, part: &[Clause], order: Order, from: bool, to: bool) -> String {
        let [behind, until] = order.bounds();
        let part = and(part, |condition| self.by.is_none_or(|by| condition.starts_with(by)));
        let from = if from { format!(" AND +rowid {behind} ?") } else { String::new() };
        let to = if to { format!(" AND +rowid {until} ?") } else { String::new() };
        format!("SELECT rowid FROM {} WHERE TRUE{part}{from}{to}", self.table)
    }
}

/// Give each row to the caller; whether more are wanted.
fn each(mut rows: rusqlite::Rows, look: &mut dyn FnMut(&Row) -> Result<bool>) -> Result<bool> {
    while let Some(row) = rows.next()? {
        if !look(row)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn trim(found: &mut Vec<i64>, order: Order, most: usize) {
    found.sort_unstable_by(|a, b| order.compare(a, b));
    found.truncate(most);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl Rows<'_> {
        /// How the parts are found; checks how the table is walked.
        pub(crate) fn plans(&self, plan: impl Fn(&str) -> Vec<String>) -> Vec<String> {
            let mut steps = Vec::new();
            for order in Order::ALL {
                for (from, to) in [(false, false), (false, true), (true, false), (true, true)] {
                    let [step] = plan(&self.walk_sql(order, from, to)).try_into().unwrap();
                    let how = if from || to {
                        format!("SEARCH {} USING INTEGER PRIMARY KEY (rowid", self.table)
                    } else {
                        format!("SCAN {}", self.table)
                    };
                    assert!(step.starts_with(&how) && !step.contains("INDEX"), "{step}");
                    for part in self.parts.iter().flatten() {
                        let [step] = plan(&self.end_sql(part, order)).try_into().unwrap();
                        assert_eq!(step, format!("SCAN {}", self.table));
                        if self.by.is_none() {
                            self.timed(part).check_plans(&plan);
                        }
                        for sql in [self.part_sql(part, order, from, to), self.first_sql(part, order, from)] {
                            let [step] = plan(&sql).try_into().unwrap();
                            steps.push(step);
                        }
                    }
                }
                let [step] = plan(&self.fetch_sql(order)).try_into().unwrap();
                let table = self.table;
                assert_eq!(step, format!("SEARCH {table} USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"));
            }
            steps
        }
    }
}
