//! Lists and pages of items.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, Row, params_from_iter};

use crate::error::Result;
use crate::json::order_by::OrderBy;
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;
use crate::model::rows::{Fields, Items};
use crate::sqlite::file::wait::refuse_stopped;
use crate::sqlite::lists::clause::{Clause, only, values};
use crate::sqlite::lists::cursor::{self, Described, Position};
use crate::sqlite::lists::item_filter::{ItemFilter, RowFilter};
use crate::sqlite::lists::item_groups::{self, Group};
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::seek::{self, Rows};
use crate::sqlite::lists::unordered;
use crate::sqlite::tables::cells::{push_cell, text};

/// How many items are in one buffer: one is converted, and then freed, while the next are being read.
pub(crate) const BUFFER_ROWS: usize = 64;

/// The column behind those of [`Items`].
pub(crate) const ROWID: usize = ItemColumn::ALL.len();

/// A list of items.
#[derive(Debug, Clone)]
pub struct ItemList<'a> {
    /// Its name in messages.
    pub name: String,
    /// The filters of its items.
    pub filter: &'a ItemFilter,
    /// The columns that are read; the rest is NULL.
    pub fields: Fields,
    /// The number whose largest comes first, if they are ordered by one.
    pub order_by: Option<&'a OrderBy>,
    /// Which of them comes first, of those with the same number.
    pub order: Order,
    /// The most items that it has.
    pub limit: Option<NonZeroUsize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl ItemList<'_> {
    /// As its cursors know it.
    pub(crate) fn described(&self) -> Result<Described, OutOfMemory> {
        described(self.filter, self.order_by, self.order)
    }
}

/// A list of items as its cursors know it.
pub(crate) fn described(
    filter: &ItemFilter,
    order_by: Option<&OrderBy>,
    order: Order,
) -> Result<Described, OutOfMemory> {
    let mut list = filter.describe("list_intel_items")?;
    if let Some(by) = order_by {
        list = memory::format(format_args!("{list} by {}", by.describe()?))?;
    }
    Described::new(list, order, Order::Oldest)
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

/// Read a list in one snapshot, unless told to stop, and hand it on as it is read, first of all a `None`; return the cursor
/// of the next page, if there is one.
pub(crate) fn list(
    connection: &Connection,
    wanted: &ItemList,
    stop: &AtomicBool,
    hand_on: &dyn Fn(Option<Items>),
) -> Result<Option<String>> {
    let list = wanted.described()?;
    cursor::snapshot(connection, |store_id| {
        let after = wanted.cursor.as_ref().map(|cursor| list.decode(cursor, store_id)).transpose()?;
        let part = Part {
            filter: wanted.filter,
            fields: wanted.fields,
            order: wanted.order,
            after: after.as_ref(),
            limit: wanted.limit.map_or(usize::MAX, NonZeroUsize::get),
            max_scanned: usize::MAX,
        };
        hand_on(None);
        let end = read(connection, &part, stop, &mut |items| hand_on(Some(items)))?;
        Ok(end.map(|end| end.encode(list.text(), store_id)))
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
        let mut items = Vec::new();
        let end = read(connection, &part, &AtomicBool::default(), &mut |buffer| items.push(buffer))?;
        Ok((items, end))
    })
}

/// Whether a list may have more than so many items, by its run alone; at most one more is read.
pub(crate) fn may_have_more_than(connection: &Connection, filter: &ItemFilter, count: usize) -> Result<bool> {
    let of_run: Vec<Clause> = filter.of_run_id().collect();
    let sql = format!("SELECT 1 FROM intel_items{} LIMIT 1 OFFSET ?", only(&of_run));
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    Ok(connection.prepare_cached(&sql)?.exists(params_from_iter(values(&of_run).chain([count.into()])))?)
}

/// Read a part of a list, and hand it on by buffers; return where it ends, `None` where nothing is left behind it.
fn read(
    connection: &Connection,
    part: &Part,
    stop: &AtomicBool,
    hand_on: &mut dyn FnMut(Items),
) -> Result<Option<Position>> {
    let (mut items, mut count, mut scanned) = (Items::new(), 0, 0);
    let (mut end, mut more) = (None, false);
    let most = part.limit.min(part.max_scanned);
    let wanted = (most < usize::MAX).then(|| most.saturating_add(1));
    scan(connection, part.filter, part.fields, part.order, part.after, wanted, &mut |row, kept| {
        refuse_stopped(stop)?;
        if kept && count == part.limit {
            more = true;
            return Ok(false);
        }
        scanned += 1;
        if kept {
            push(row, part.fields, &mut items)?;
            count += 1;
            if items.len() == BUFFER_ROWS {
                hand_on(std::mem::take(&mut items));
            }
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
    hand_on(items);
    Ok(end.filter(|_| more))
}

/// Append a row. Its id is there whether or not it is wanted, for messages about the rest.
pub(crate) fn push(row: &Row, fields: Fields, items: &mut Items) -> Result<()> {
    for column in ItemColumn::ALL {
        if fields.has(*column) {
            push_cell(row, *column as usize, items, "intel_items")?;
        } else if *column == ItemColumn::ItemId {
            items.push_option(row.get_ref(*column as usize)?.as_bytes().ok())?;
        } else {
            items.push_null()?;
        }
    }
    Ok(())
}

/// Scan the items that an index finds for a filter, in their order, and give each, and whether it passes the filter,
/// to the caller, until no more are `wanted`: as many as the caller is likely to take, or all.
pub(crate) fn scan(
    connection: &Connection,
    filter: &ItemFilter,
    fields: Fields,
    order: Order,
    after: Option<&Position>,
    wanted: Option<usize>,
    look: &mut dyn FnMut(&Row, bool) -> Result<bool>,
) -> Result<()> {
    let mut row_filter = RowFilter::new(connection, filter)?;
    if row_filter.lets_nothing_through()? {
        return Ok(());
    }
    let columns = fields
        | row_filter.columns()
        | Fields::default().with(ItemColumn::ItemId).with(ItemColumn::CreatedAt);
    let groups = groups(connection, filter)?;
    let rows = rows(filter, groups.as_deref(), columns);
    seek::scan(connection, &rows, order, after, wanted, &mut |row| {
        let kept = row_filter.keeps(row)?;
        look(row, kept)
    })
}

/// Scan the items that an index finds for a filter, in no order, and give each that passes it to the caller.
pub(crate) fn scan_unordered(
    connection: &Connection,
    filter: &ItemFilter,
    fields: Fields,
    stop: &AtomicBool,
    look: &mut dyn FnMut(&Row) -> Result<()>,
) -> Result<()> {
    let mut row_filter = RowFilter::new(connection, filter)?;
    if row_filter.lets_nothing_through()? {
        return Ok(());
    }
    let groups = groups(connection, filter)?;
    let rows = rows(filter, groups.as_deref(), fields | row_filter.columns());
    unordered::scan(connection, &rows, &mut |row| {
        refuse_stopped(stop)?;
        if row_filter.keeps(row)? { look(row) } else { Ok(()) }
    })
}

/// The groups by which an index finds the items of a filter, if it does.
fn groups(connection: &Connection, filter: &ItemFilter) -> Result<Option<Vec<Group>>> {
    if filter.is_by_kind() { item_groups::groups(connection, filter) } else { Ok(None) }
}

/// The items that an index finds for a filter, by these groups if it has some.
fn rows<'a>(filter: &'a ItemFilter, groups: Option<&'a [Group]>, columns: Fields) -> Rows<'a> {
    let part = filter.of_run_and_time();
    let parts = match groups {
        Some(groups) => Some(groups.iter().map(|group| group.of_time(filter)).collect()),
        None if part.is_empty() => None,
        None => Some(vec![part.clone()]),
    };
    Rows {
        columns: select(columns),
        rowid: ROWID,
        table: "intel_items",
        time: "created_at",
        shown: "TRUE",
        conditions: part.into_iter().chain(filter.of_kind().filter(|_| filter.is_by_kind())).collect(),
        one_of: ("run_id", Vec::new()),
        parts,
        by: None,
    }
}

/// The columns of [`Items`], NULL for those that are not wanted, and the rowid.
pub(crate) fn select(columns: Fields) -> String {
    let names =
        ItemColumn::ALL.iter().map(|column| if columns.has(*column) { column.name() } else { "NULL" });
    format!("{}, rowid", names.collect::<Vec<_>>().join(", "))
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
    fn lists_are_found_by_the_best_index_or_in_the_table() {
        let connection = with_items(0);
        let group = Group { item_type: b"type 1".to_vec(), decision: None };
        for filter in filters() {
            let groups = filter.is_by_kind().then(|| vec![group.clone()]);
            let timed = filter.since.is_some() || filter.until.is_some();
            let rows = rows(&filter, groups.as_deref(), Fields::ALL);
            let (index, equal) = match (&filter.run_id, &groups) {
                (Some(_), _) => ("idx_intel_items_run_id", "run_id=?"),
                (None, Some(_)) => ("idx_intel_items_item_type", "item_type=? AND decision=?"),
                (None, None) => ("idx_intel_items_created_at", ""),
            };
            assert_eq!(rows.parts.is_none(), !filter.is_by_kind() && filter.run_id.is_none() && !timed);
            for step in rows.plans(|sql| plan(&connection, sql)) {
                let sought = step.strip_prefix(&format!("SEARCH intel_items USING COVERING INDEX {index} ("));
                let sought = sought.unwrap_or_else(|| panic!("{filter:?}: {step}"));
                assert!(sought.starts_with(equal), "{step}");
                assert_eq!(sought.contains("created_at"), timed, "{step}");
            }
            for part in rows.parts.iter().flatten() {
                let [step] = plan(&connection, &unordered::part_sql(&rows, part)).try_into().unwrap();
                assert!(
                    step.starts_with(&format!("SEARCH intel_items USING INDEX {index} ({equal}")),
                    "{step}"
                );
                assert_eq!(step.contains("created_at>?") || step.contains("created_at<?"), timed, "{step}");
            }
        }
    }

    #[test]
    fn a_list_is_prepared_once() {
        let connection = with_items(10);
        let filter = ItemFilter::of_run("run");
        for _ in 0..5 {
            page(&connection, &filter, Fields::ALL, Order::Oldest, None, 5, 1000).unwrap();
        }
        let sql = rows(&filter, None, Fields::ALL).walk_sql(Order::Oldest, true, true);
        let statement = connection.prepare_cached(&sql).unwrap();
        assert_eq!(statement.get_status(StatementStatus::Run), 5);
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn pages_and_counts_have_what_the_filter_lets_through_each_once_and_in_order() {
        let connection = with_items(100);
        // Far apart all are found by an index; next to each other, in the table.
        let combinations = [1, 1000].map(|apart| filters().into_iter().map(move |filter| (apart, filter)));
        for (apart, filter) in combinations.into_iter().flatten() {
            let sql = "UPDATE intel_items SET rowid = rowid * ?1 WHERE rowid % 1000";
            connection.execute(sql, [apart]).unwrap();
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
                 ORDER BY rowid",
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
