//! Lists and pages of items.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, Row};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::columns::ItemColumn;
use crate::model::rows::{Fields, Items};
use crate::sqlite::lists::cursor::{self, Described, Position};
use crate::sqlite::lists::item_filter::{ItemFilter, RowFilter};
use crate::sqlite::lists::item_groups::{self, MergedGroups};
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::seek::{bind, seeks};
use crate::sqlite::tables::cells::{push_cell, text};

/// How many items are in one buffer: the conversion frees one buffer after the other.
const BUFFER_ROWS: usize = 256;

/// The column behind those of [`Items`].
const ROWID: usize = ItemColumn::ALL.len();

/// A list of items.
#[derive(Debug, Clone)]
pub struct ItemList {
    /// Its name in messages.
    pub name: String,
    /// The filters of its items.
    pub filter: ItemFilter,
    /// The columns that are read; the rest is NULL.
    pub fields: Fields,
    /// Which of them comes first.
    pub order: Order,
    /// The most items that it has.
    pub limit: Option<NonZeroUsize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

/// What of a list is read at a time.
struct Part<'a> {
    filter: &'a ItemFilter,
    fields: Fields,
    order: Order,
    after: Option<&'a Position>,
    limit: usize,
    /// The most items that are scanned.
    max_scanned: usize,
}

/// Read a list in one snapshot, unless told to stop; and the cursor of the next page, if there is one.
pub(crate) fn list(
    connection: &Connection,
    wanted: &ItemList,
    stop: &AtomicBool,
) -> Result<(Vec<Items>, Option<String>)> {
    let list = Described::new(wanted.filter.describe("list_intel_items"), wanted.order, Order::Oldest);
    cursor::snapshot(connection, |store_id| {
        let after = wanted.cursor.as_ref().map(|cursor| list.decode(cursor, store_id)).transpose()?;
        let part = Part {
            filter: &wanted.filter,
            fields: wanted.fields,
            order: wanted.order,
            after: after.as_ref(),
            limit: wanted.limit.map_or(usize::MAX, NonZeroUsize::get),
            max_scanned: usize::MAX,
        };
        let (items, end) = read(connection, &part, stop)?;
        Ok((items, end.map(|end| end.encode(list.text(), store_id))))
    })
}

/// Read the next items, at most `limit`, and where they end; `None` where none are left. Where few are wanted it ends
/// after `max_scanned` rows, so that no read stays open for long.
pub(crate) fn page(
    connection: &Connection,
    filter: &ItemFilter,
    fields: Fields,
    order: Order,
    after: Option<&Position>,
    limit: usize,
    max_scanned: usize,
) -> Result<(Vec<Items>, Option<Position>)> {
    cursor::snapshot(connection, |_| {
        let part = Part { filter, fields, order, after, limit, max_scanned };
        let (items, end) = read(connection, &part, &AtomicBool::default())?;
        let goes_on = |end: &Position| after.is_none_or(|after| order.compare(end, after).is_gt());
        if end.as_ref().is_some_and(|end| !goes_on(end)) {
            // A reader that continued from there would never come to an end.
            let what = "an index of intel_items is not in order: the file is damaged";
            return Err(StoreError::new(ErrorKind::CorruptDatabase, what));
        }
        Ok((items, end))
    })
}

/// Whether a list may have more than so many items, by its run alone; at most one more is read.
pub(crate) fn may_have_more_than(connection: &Connection, filter: &ItemFilter, count: usize) -> Result<bool> {
    let of_run = if filter.run_id.is_some() { "WHERE run_id = :run_id" } else { "" };
    let sql = format!("SELECT 1 FROM intel_items {of_run} LIMIT 1 OFFSET :count");
    let mut statement = connection.prepare_cached(&sql)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    bind(&mut statement, &[(":run_id", &filter.run_id), (":count", &count)])?;
    Ok(statement.raw_query().next()?.is_some())
}

/// Read a part of a list; and where it ends, `None` where nothing is left behind it.
fn read(connection: &Connection, part: &Part, stop: &AtomicBool) -> Result<(Vec<Items>, Option<Position>)> {
    let (mut items, mut count, mut scanned) = (Vec::new(), 0, 0);
    let (mut end, mut more) = (None, false);
    scan(connection, part.filter, part.fields, part.order, part.after, &mut |row, kept| {
        if stop.load(Ordering::Relaxed) {
            return Err(StoreError::new(ErrorKind::Interrupted, "interrupted while reading"));
        }
        if kept && count == part.limit {
            more = true;
            return Ok(false);
        }
        scanned += 1;
        if kept {
            if count % BUFFER_ROWS == 0 {
                items.push(Items::new());
            }
            items.last_mut().map_or(Ok(()), |buffer| push(row, part.fields, buffer))?;
            count += 1;
        }
        more = scanned == part.max_scanned;
        if more || kept && count == part.limit {
            end = Some(Position {
                time: text(row, ItemColumn::CreatedAt as usize, "intel_items")?,
                rowid: row.get(ROWID)?,
            });
        }
        Ok(!more)
    })?;
    Ok((items, end.filter(|_| more)))
}

/// Append a row. Its id is there whether or not it is wanted, for messages about the rest.
fn push(row: &Row, fields: Fields, items: &mut Items) -> Result<()> {
    for column in ItemColumn::ALL {
        if fields.has(*column) {
            push_cell(row, *column as usize, items, "intel_items")?;
        } else if *column == ItemColumn::ItemId {
            items.push_option(row.get_ref(*column as usize)?.as_bytes().ok());
        } else {
            items.push_null();
        }
    }
    Ok(())
}

/// Scan the items that an index finds for a filter, in their order, and give each, and whether it passes the filter,
/// to the caller, until no more are wanted.
pub(crate) fn scan(
    connection: &Connection,
    filter: &ItemFilter,
    fields: Fields,
    order: Order,
    after: Option<&Position>,
    look: &mut dyn FnMut(&Row, bool) -> Result<bool>,
) -> Result<()> {
    let mut row_filter = RowFilter::new(connection, filter)?;
    if row_filter.lets_nothing_through()? {
        return Ok(());
    }
    let columns = fields
        | row_filter.columns()
        | Fields::default().with(ItemColumn::ItemId).with(ItemColumn::CreatedAt);
    if filter.is_by_kind()
        && let Some(groups) = item_groups::groups(connection, filter)?
    {
        let mut item = connection.prepare_cached(&item_sql(columns))?;
        let mut merge = MergedGroups::new(connection, filter, groups, order, after);
        while let Some(rowid) = merge.next()? {
            bind(&mut item, &[(":rowid", &rowid)])?;
            let mut rows = item.raw_query();
            if let Some(row) = rows.next()? {
                let kept = row_filter.keeps(row)?;
                if !look(row, kept)? {
                    break;
                }
            }
        }
        return Ok(());
    }
    for seek in seeks(filter, order, after) {
        let mut items = connection.prepare_cached(&list_sql(columns, filter, order, &seek.clause))?;
        bind(
            &mut items,
            &[
                (":run_id", &filter.run_id),
                (":time", &seek.time),
                (":rowid", &seek.rowid),
                (":until", &seek.until),
            ],
        )?;
        let mut rows = items.raw_query();
        while let Some(row) = rows.next()? {
            let kept = row_filter.keeps(row)?;
            if !look(row, kept)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The columns of [`Items`], NULL for those that are not wanted, and the rowid.
fn select(columns: Fields) -> String {
    let names =
        ItemColumn::ALL.iter().map(|column| if columns.has(*column) { column.name() } else { "NULL" });
    format!("SELECT {}, rowid FROM intel_items", names.collect::<Vec<_>>().join(", "))
}

fn list_sql(columns: Fields, filter: &ItemFilter, order: Order, seek: &str) -> String {
    let order = order.sql();
    let of_run = if filter.run_id.is_some() { "run_id = :run_id AND " } else { "" };
    format!("{} WHERE {of_run}{seek} ORDER BY created_at {order}, rowid {order}", select(columns))
}

fn item_sql(columns: Fields) -> String {
    format!("{} WHERE rowid = :rowid", select(columns))
}

#[cfg(test)]
pub(crate) mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;
    use crate::sqlite::lists::item_count::count;
    use crate::sqlite::lists::item_filter::Decision;

    /// A database with so many items of three types and two runs, of which one is being pruned.
    pub(crate) fn with_items(count: usize) -> Connection {
        let mut connection = connection::open_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json, pruned_at)
                 VALUES ('run', 'daily', 'now', 'running', '{}', NULL), ('pruned', 'daily', 'now', 'failed', '{}', 'now')",
            )
            .unwrap();
        for number in 0..count {
            let run_id = if number % 5 == 4 { "pruned" } else { "run" };
            let decision = [None, Some("watch"), Some("drop")][number / 3 % 3];
            connection
                .execute(
                    "INSERT INTO intel_items VALUES
                     (?1, ?2, ?3, '', '', '[]', '[]', json_object('n', ?4), '[]', '[]', ?5, NULL, ?6, NULL)",
                    (
                        format!("item {number}"),
                        run_id,
                        format!("type {}", number % 3),
                        i64::try_from(number).unwrap(),
                        decision,
                        format!("2026-0{}", 1 + number / 7 % 2),
                    ),
                )
                .unwrap();
        }
        connection
    }

    pub(crate) fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        statement.raw_query().mapped(|row| row.get("detail")).collect::<rusqlite::Result<_>>().unwrap()
    }

    pub(crate) fn position() -> Position {
        Position { time: "2026-01".into(), rowid: 7 }
    }

    pub(crate) fn times() -> Vec<ItemFilter> {
        let time = |given: bool, time: &str| given.then(|| time.to_owned());
        (0..4)
            .map(|bits| ItemFilter {
                since: time(bits & 1 == 1, "2026-01"),
                until: time(bits & 2 == 2, "2026-02"),
                ..Default::default()
            })
            .collect()
    }

    pub(crate) fn filters() -> Vec<ItemFilter> {
        let mut filters = Vec::new();
        for times in times() {
            for run_id in [None, Some("run".to_owned()), Some("pruned".to_owned())] {
                for item_type in [None, Some("type 1".to_owned())] {
                    for decision in [
                        None,
                        Some(Decision::Is("watch".into())),
                        Some(Decision::Made),
                        Some(Decision::Undecided),
                    ] {
                        filters.push(ItemFilter {
                            run_id: run_id.clone(),
                            item_type: item_type.clone(),
                            decision,
                            ..times.clone()
                        });
                    }
                }
            }
        }
        filters
    }

    #[test]
    fn lists_are_found_in_their_order_by_the_best_index() {
        let connection = with_items(0);
        for filter in filters() {
            let (index, equal) = match &filter.run_id {
                Some(_) => ("idx_intel_items_run_id", "run_id=?"),
                None => ("idx_intel_items_created_at", ""),
            };
            for (after, order) in [None, Some(position())]
                .into_iter()
                .flat_map(|after| Order::ALL.map(|order| (after.clone(), order)))
            {
                for seek in seeks(&filter, order, after.as_ref()) {
                    let sql = list_sql(Fields::ALL, &filter, order, &seek.clause);
                    let [step] = plan(&connection, &sql).try_into().unwrap();
                    let (by, sought) = step.split_once(" (").unwrap_or((&step, ""));
                    assert!(by.ends_with(&format!(" intel_items USING INDEX {index}")), "{step}");
                    assert!(sought.starts_with(equal), "{step}");
                    assert_eq!(
                        sought.contains("created_at"),
                        seek.time.is_some() || seek.until.is_some(),
                        "{step}"
                    );
                    let tied = ["rowid>?", "rowid<?"][order as usize];
                    assert_eq!(sought.contains(tied), seek.rowid.is_some(), "{step}");
                }
            }
        }
        let [step] = plan(&connection, &item_sql(Fields::ALL)).try_into().unwrap();
        assert_eq!(step, "SEARCH intel_items USING INTEGER PRIMARY KEY (rowid=?)");
    }

    #[test]
    fn a_list_is_prepared_once() {
        let connection = with_items(10);
        let filter = ItemFilter::of_run("run");
        for _ in 0..5 {
            page(&connection, &filter, Fields::ALL, Order::Oldest, None, 5, 1000).unwrap();
        }
        let statement =
            connection.prepare_cached(&list_sql(Fields::ALL, &filter, Order::Oldest, "TRUE")).unwrap();
        assert_eq!(statement.get_status(StatementStatus::Run), 5);
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn pages_and_counts_have_what_the_filter_lets_through_each_once_and_in_order() {
        let connection = with_items(100);
        for filter in filters() {
            let clauses = |text: &Option<String>, clause: &str| match text {
                Some(text) => format!("{clause} '{text}'"),
                None => "TRUE".to_owned(),
            };
            let decision = match &filter.decision {
                None => "TRUE",
                Some(Decision::Is(_)) => "decision = 'watch'",
                Some(Decision::Made) => "decision IS NOT NULL",
                Some(Decision::Undecided) => "decision IS NULL",
            };
            let sql = format!(
                "SELECT item_id FROM intel_items WHERE run_id <> 'pruned' AND {} AND {} AND {} AND {} AND {decision}
                 ORDER BY created_at, rowid",
                clauses(&filter.run_id, "run_id ="),
                clauses(&filter.item_type, "item_type ="),
                clauses(&filter.since, "created_at >="),
                clauses(&filter.until, "created_at <"),
            );
            let wanted: Vec<String> = connection
                .prepare(&sql)
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            assert_eq!(count(&connection, &filter).unwrap(), wanted.len() as u64, "{filter:?}");
            let reversed: Vec<String> = wanted.iter().rev().cloned().collect();
            let limits = [(1, 1000), (7, 1000), (7, 3), (1000, 1), (1000, 1000)];
            for (limit, max_scanned, order) in
                limits.into_iter().flat_map(|(limit, most)| Order::ALL.map(|order| (limit, most, order)))
            {
                let wanted = if order == Order::Oldest { &wanted } else { &reversed };
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let (items, end) = page(
                        &connection,
                        &filter,
                        Fields::default().with(ItemColumn::ItemId),
                        order,
                        after.as_ref(),
                        limit,
                        max_scanned,
                    )
                    .unwrap();
                    let rows = || items.iter().flat_map(|part| (0..part.len()).map(move |row| (part, row)));
                    assert!(rows().count() <= limit.min(max_scanned));
                    found.extend(rows().map(|(items, row)| {
                        assert_eq!(items.get(row, ItemColumn::CreatedAt), None);
                        String::from_utf8(items.get(row, ItemColumn::ItemId).unwrap().to_vec()).unwrap()
                    }));
                    if max_scanned == 1000 {
                        assert_eq!(end.is_none(), found.len() == wanted.len(), "{filter:?}");
                    }
                    after = end;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(&found, wanted, "{filter:?}, {order:?}, limit {limit}, max_scanned {max_scanned}");
            }
        }
    }
}
