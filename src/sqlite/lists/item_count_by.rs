//! Counts of items by what they have in a column.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::columns::ItemColumn;
use crate::model::rows::Fields;
use crate::sqlite::file::wait::refuse_stopped;
use crate::sqlite::lists::clause::{only, values};
use crate::sqlite::lists::cursor;
use crate::sqlite::lists::item_count;
use crate::sqlite::lists::item_filter::{Decision, ItemFilter};
use crate::sqlite::lists::item_groups::{self, Group};
use crate::sqlite::lists::items::scan_unordered;
use crate::sqlite::lists::tally::{Counted, Tally};
use crate::sqlite::tables::cells::count;

/// Count the items that a filter lets through by a column that has few values, in one state of the file, unless told to
/// stop.
pub(crate) fn count_by(
    connection: &Connection,
    filter: &ItemFilter,
    column: ItemColumn,
    stop: &AtomicBool,
) -> Result<Tally> {
    cursor::snapshot(connection, |_| {
        let mut tally = Tally::default();
        if !filter.conditions.is_empty() {
            scan_unordered(connection, filter, Fields::default().with(column), stop, &mut |row| {
                Ok(tally.add(value(row.get_ref(column as usize)?, column)?, 1)?)
            })?;
            return Ok(tally);
        }
        count_rows(connection, filter, column, stop, &mut |value, count| tally.add(value, count))?;
        for of_run in item_count::of_pruned(connection, filter)? {
            count_rows(connection, &of_run, column, stop, &mut |value, count| {
                tally.subtract(value, count);
                Ok(())
            })?;
        }
        Ok(tally)
    })
}

/// Count the items that a filter without conditions lets through, those of pruned runs too.
fn count_rows(
    connection: &Connection,
    filter: &ItemFilter,
    column: ItemColumn,
    stop: &AtomicBool,
    counted: &mut Counted,
) -> Result<()> {
    if count_undisturbed(connection, filter, column, stop, counted)? {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(&count_sql(filter, column))?;
    let mut rows = statement.query(params_from_iter(values(&filter.clauses())))?;
    while let Some(row) = rows.next()? {
        refuse_stopped(stop)?;
        counted(value(row.get_ref(0)?, column)?, count(row, 1)?)?;
    }
    Ok(())
}

/// Count the items of a run in the index of types and decisions, which does not know runs: where no item of another run
/// came between the first and the last of this one, its items are those of that time. Whether it was so.
fn count_undisturbed(
    connection: &Connection,
    filter: &ItemFilter,
    column: ItemColumn,
    stop: &AtomicBool,
    counted: &mut Counted,
) -> Result<bool> {
    if filter.run_id.is_none() || column == ItemColumn::RunId {
        return Ok(false);
    }
    let of_run = filter.of_run_and_time();
    let end = |which: &str| -> Result<Option<String>> {
        let sql = format!("SELECT {which}(created_at) FROM intel_items{}", only(&of_run));
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row(params_from_iter(values(&of_run)), |row| row.get(0))?)
    };
    let (Some(first), Some(last)) = (end("min")?, end("max")?) else { return Ok(false) };
    // No text is between one and the same with a NUL at its end.
    let of_time = ItemFilter {
        run_id: None,
        item_type: None,
        decision: None,
        since: Some(first),
        until: Some(last + "\0"),
        conditions: Arc::default(),
    };
    let mut tally = Vec::new();
    let mut left = item_count::count_where(connection, &of_run)?;
    for decision in [Decision::Undecided, Decision::Made] {
        let of_decision = ItemFilter { decision: Some(decision), ..of_time.clone() };
        let Some(groups) = item_groups::groups(connection, &of_decision)? else { return Ok(false) };
        for group in groups {
            refuse_stopped(stop)?;
            let count = item_count::count_where(connection, &group.of_time(&of_time))?;
            if count > left {
                return Ok(false);
            }
            left -= count;
            tally.push((group, count));
        }
    }
    if left > 0 {
        return Ok(false);
    }
    let lets_through = |group: &Group| {
        filter.item_type.as_ref().is_none_or(|wanted| wanted.as_bytes() == group.item_type)
            && filter.decision.as_ref().is_none_or(|wanted| wanted.is(group.decision.as_deref()))
    };
    for (group, count) in tally.iter().filter(|(group, _)| lets_through(group)) {
        let is_decision = column == ItemColumn::Decision;
        counted(if is_decision { group.decision.as_deref() } else { Some(&*group.item_type) }, *count)?;
    }
    Ok(true)
}

/// What counts items by a column: SQLite, where an index has those of each value together; else it is cheaper to take
/// one after the other than to have them sorted.
fn count_sql(filter: &ItemFilter, column: ItemColumn) -> String {
    let (name, only) = (column.name(), only(&filter.clauses()));
    let is_timed = filter.of_time().next().is_some();
    let together = match column {
        _ if filter.run_id.is_some() => None,
        ItemColumn::RunId => (!filter.is_by_kind() && !is_timed).then_some("run_id"),
        _ => (filter.item_type.is_some() || !is_timed).then_some("item_type, decision"),
    };
    match together {
        Some(group) => format!("SELECT {name}, count(*) FROM intel_items{only} GROUP BY {group}"),
        None => format!("SELECT {name}, 1 FROM intel_items{only}"),
    }
}

fn value(cell: ValueRef<'_>, column: ItemColumn) -> Result<Option<&[u8]>> {
    match cell {
        ValueRef::Text(text) => Ok(Some(text)),
        ValueRef::Null => Ok(None),
        other => {
            let (name, found) = (column.name(), other.data_type());
            let what = format!("an item's {name} holds {found:?}, not text; another program wrote it");
            Err(StoreError::new(ErrorKind::CorruptDatabase, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::lists::items::tests::{filters, plan, with_items};

    const COLUMNS: [ItemColumn; 3] = [ItemColumn::Decision, ItemColumn::ItemType, ItemColumn::RunId];

    #[test]
    fn nothing_is_sorted_to_be_counted() {
        let connection = with_items(0);
        for filter in filters() {
            for column in COLUMNS {
                let sql = count_sql(&filter, column);
                let plan = plan(&connection, &sql);
                let [step] = plan.as_slice() else { panic!("{sql}: {plan:?}") };
                let index = match (&filter.run_id, column) {
                    (Some(_), _) => "INDEX idx_intel_items_run_id (run_id=?",
                    (None, _) if filter.item_type.is_some() => "INDEX idx_intel_items_item_type (item_type=?",
                    _ => continue,
                };
                assert!(step.contains(index), "{sql}: {step}");
            }
        }
        for (column, index) in [
            (ItemColumn::Decision, "idx_intel_items_item_type"),
            (ItemColumn::ItemType, "idx_intel_items_item_type"),
            (ItemColumn::RunId, "idx_intel_items_run_id"),
        ] {
            let plan = plan(&connection, &count_sql(&ItemFilter::default(), column));
            assert_eq!(plan, [format!("SCAN intel_items USING COVERING INDEX {index}")]);
        }
    }

    #[test]
    fn counting_ends_when_it_is_told_to() {
        let connection = with_items(1);
        let stopped =
            count_by(&connection, &ItemFilter::default(), ItemColumn::RunId, &AtomicBool::new(true));
        assert_eq!(stopped.unwrap_err().kind, ErrorKind::Interrupted);
    }
}
