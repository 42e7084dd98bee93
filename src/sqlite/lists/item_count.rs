//! Counts of items, by an index if one fits.

use std::iter;
use std::sync::atomic::AtomicBool;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::model::rows::Fields;
use crate::sqlite::lists::clause::{Clause, only, values};
use crate::sqlite::lists::cursor;
use crate::sqlite::lists::item_filter::ItemFilter;
use crate::sqlite::lists::item_groups;
use crate::sqlite::lists::items::scan_unordered;
use crate::sqlite::tables::pruned;

/// Count the items that a filter lets through, in one state of the file.
pub(crate) fn count(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
    cursor::snapshot(connection, |_| count_now(connection, filter))
}

/// Count the items that a filter lets through in the state that the connection is reading.
fn count_now(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
    if !filter.conditions.is_empty() {
        let mut count = 0;
        scan_unordered(connection, filter, Fields::default(), &AtomicBool::default(), &mut |_| {
            count += 1;
            Ok(())
        })?;
        return Ok(count);
    }
    let mut count = count_rows(connection, filter)?;
    for of_run in of_pruned(connection, filter)? {
        count = count.saturating_sub(count_rows(connection, &of_run)?);
    }
    Ok(count)
}

/// The same filter on each run that is being pruned. The indexes do not know these runs, and to look at the run of each
/// item would take far longer.
pub(crate) fn of_pruned(connection: &Connection, filter: &ItemFilter) -> Result<Vec<ItemFilter>> {
    let mut runs = pruned::pruned(connection)?;
    runs.retain(|run_id| filter.run_id.as_ref().is_none_or(|wanted| wanted == run_id));
    Ok(runs.into_iter().map(|run_id| ItemFilter { run_id: Some(run_id), ..filter.clone() }).collect())
}

/// Count the items that a filter lets through, those of pruned runs too.
pub(crate) fn count_rows(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
    // The index has the items of one type and one decision in the order of their times, and no others.
    if filter.is_by_kind()
        && filter.of_time().next().is_some()
        && let Some(groups) = item_groups::groups(connection, filter)?
    {
        return groups.iter().map(|group| count_where(connection, &group.of_time(filter))).sum();
    }
    let types = match filter {
        ItemFilter { run_id: None, item_type: None, decision: Some(_), .. } => {
            item_groups::item_types(connection)?
        }
        _ => None,
    };
    let clauses = filter.clauses();
    let Some(types) = types else { return count_where(connection, &clauses) };
    let of_type = |item_type| {
        let of_type: Clause = ("item_type = ?", Some(ToSqlOutput::Borrowed(ValueRef::Text(item_type))));
        count_where(connection, &iter::once(of_type).chain(clauses.iter().cloned()).collect::<Vec<_>>())
    };
    types.iter().map(|item_type| of_type(item_type)).sum()
}

/// Count the items that meet these conditions.
pub(crate) fn count_where(connection: &Connection, clauses: &[Clause]) -> Result<u64> {
    let mut statement = connection.prepare_cached(&count_sql(clauses))?;
    let count: i64 = statement.query_row(params_from_iter(values(clauses)), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

fn count_sql(clauses: &[Clause]) -> String {
    format!("SELECT count(*) FROM intel_items{}", only(clauses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::lists::item_groups::Group;
    use crate::sqlite::lists::items::tests::{filters, plan, times, with_items};

    #[test]
    fn items_are_counted_in_an_index() {
        let connection = with_items(0);
        for filter in filters() {
            let has_type = filter.item_type.is_some() || filter.run_id.is_none() && filter.decision.is_some();
            let of_type = ItemFilter { item_type: has_type.then(|| "type".into()), ..filter.clone() };
            let [step] = plan(&connection, &count_sql(&of_type.clauses())).try_into().unwrap();
            let by_type = has_type || filter.decision.is_some();
            let (index, equal) = match &filter.run_id {
                Some(_) => ("idx_intel_items_run_id", "run_id=?"),
                None if by_type => ("idx_intel_items_item_type", "item_type=?"),
                None => ("", ""),
            };
            let covering = if filter.run_id.is_some() && by_type { "" } else { "COVERING " };
            assert!(step.contains(&format!("USING {covering}INDEX {index}")), "{step}");
            assert!(step.contains(equal), "{step}");
            if filter.run_id.is_some() || !by_type {
                let timed = filter.of_time().next().is_some();
                assert_eq!(step.contains("created_at>?") || step.contains("created_at<?"), timed, "{step}");
            }
        }
    }

    #[test]
    fn items_of_a_time_are_found_within_each_group() {
        let connection = with_items(0);
        for filter in times().into_iter().filter(|filter| filter.of_time().next().is_some()) {
            for decision in [None, Some(b"watch".to_vec())] {
                let group = Group { item_type: b"type".to_vec(), decision };
                let [step] = plan(&connection, &count_sql(&group.of_time(&filter))).try_into().unwrap();
                let index = "USING COVERING INDEX idx_intel_items_item_type (item_type=? AND decision=? AND created_at";
                assert!(step.contains(index), "{step}");
            }
        }
    }
}
