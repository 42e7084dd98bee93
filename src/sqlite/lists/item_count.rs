//! Counts of items, by an index if one fits.

use std::sync::atomic::AtomicBool;

use rusqlite::Connection;

use crate::error::Result;
use crate::model::rows::Fields;
use crate::sqlite::lists::cursor;
use crate::sqlite::lists::item_filter::ItemFilter;
use crate::sqlite::lists::item_groups::{self, Group};
use crate::sqlite::lists::items::scan_unordered;
use crate::sqlite::tables::cells::{Text, bind};
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
    if pruned::is_any_pruned(connection)? {
        // The indexes do not know which runs are pruned, and to look at the run of each item would take far longer.
        let mut of_run = filter.clone();
        for run_id in pruned::pruned(connection)? {
            if filter.run_id.as_ref().is_none_or(|wanted| *wanted == run_id) {
                of_run.run_id = Some(run_id);
                count = count.saturating_sub(count_rows(connection, &of_run)?);
            }
        }
    }
    Ok(count)
}

/// Count the items that a filter lets through, those of pruned runs too.
pub(crate) fn count_rows(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
    // The index has the items of one type and one decision in the order of their times, and no others.
    if filter.is_by_kind()
        && is_timed(filter)
        && let Some(groups) = item_groups::groups(connection, filter)?
    {
        return groups.iter().map(|group| count_by(connection, filter, &Kind::of_group(group))).sum();
    }
    let kind = Kind::of_filter(filter);
    let types = match filter {
        ItemFilter { run_id: None, item_type: None, decision: Some(_), .. } => {
            item_groups::item_types(connection)?
        }
        _ => None,
    };
    let Some(types) = types else { return count_by(connection, filter, &kind) };
    let of_type = |item_type| count_by(connection, filter, &Kind { item_type: Some(item_type), ..kind });
    types.iter().map(|item_type| of_type(item_type)).sum()
}

fn is_timed(filter: &ItemFilter) -> bool {
    filter.since.is_some() || filter.until.is_some()
}

/// What is counted by an index on it.
#[derive(Clone, Copy)]
pub(crate) struct Kind<'a> {
    item_type: Option<&'a [u8]>,
    /// The condition on the column, and the value that it compares with.
    decision: Option<(&'static str, Option<&'a [u8]>)>,
}

impl<'a> Kind<'a> {
    pub(crate) fn of_filter(filter: &'a ItemFilter) -> Self {
        let decision = filter.decision.as_ref();
        Self {
            item_type: filter.item_type.as_deref().map(str::as_bytes),
            decision: decision.map(|wanted| (wanted.clause(), wanted.value().map(str::as_bytes))),
        }
    }

    pub(crate) fn of_group(group: &'a Group) -> Self {
        let decision = Some(("decision IS :decision", group.decision.as_deref()));
        Self { item_type: Some(&group.item_type), decision }
    }
}

pub(crate) fn count_by(connection: &Connection, filter: &ItemFilter, kind: &Kind) -> Result<u64> {
    let mut statement = connection.prepare_cached(&count_sql(filter, kind))?;
    bind(
        &mut statement,
        &[
            (":run_id", &filter.run_id),
            (":item_type", &Text(kind.item_type)),
            (":decision", &Text(kind.decision.and_then(|(_, value)| value))),
            (":time", &filter.since),
            (":until", &filter.until),
        ],
    )?;
    let mut rows = statement.raw_query();
    let count: i64 = rows.next()?.map_or(Ok(0), |row| row.get(0))?;
    Ok(count.cast_unsigned())
}

fn count_sql(filter: &ItemFilter, kind: &Kind) -> String {
    format!("SELECT count(*) FROM intel_items{}", only(filter, kind))
}

/// What finds the items to count by an index. That of the runs is to be used where a run is given, which the plus sees
/// to.
pub(crate) fn only(filter: &ItemFilter, kind: &Kind) -> String {
    let other = if filter.run_id.is_some() { "+" } else { "" };
    let mut clauses = Vec::new();
    if filter.run_id.is_some() {
        clauses.push("run_id = :run_id".to_owned());
    }
    if kind.item_type.is_some() {
        clauses.push(format!("{other}item_type = :item_type"));
    }
    if let Some((decision, _)) = kind.decision {
        clauses.push(format!("{other}{decision}"));
    }
    if filter.since.is_some() {
        clauses.push("created_at >= :time".to_owned());
    }
    if filter.until.is_some() {
        clauses.push("created_at < :until".to_owned());
    }
    if clauses.is_empty() { String::new() } else { format!(" WHERE {}", clauses.join(" AND ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::lists::items::tests::{filters, plan, times, with_items};

    #[test]
    fn items_are_counted_in_an_index() {
        let connection = with_items(0);
        for filter in filters() {
            let has_type = filter.item_type.is_some() || filter.run_id.is_none() && filter.decision.is_some();
            let item_type = has_type.then_some(b"type".as_slice());
            let kind = Kind { item_type, ..Kind::of_filter(&filter) };
            let [step] = plan(&connection, &count_sql(&filter, &kind)).try_into().unwrap();
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
                let timed = filter.since.is_some() || filter.until.is_some();
                assert_eq!(step.contains("created_at>?") || step.contains("created_at<?"), timed, "{step}");
            }
        }
    }

    #[test]
    fn items_of_a_time_are_found_within_each_group() {
        let connection = with_items(0);
        for filter in times().into_iter().filter(is_timed) {
            for decision in [None, Some(b"watch".to_vec())] {
                let group = Group { item_type: b"type".to_vec(), decision };
                let sql = count_sql(&filter, &Kind::of_group(&group));
                let [step] = plan(&connection, &sql).try_into().unwrap();
                let index = "USING COVERING INDEX idx_intel_items_item_type (item_type=? AND decision=? AND created_at";
                assert!(step.contains(index), "{step}");
            }
        }
    }
}
