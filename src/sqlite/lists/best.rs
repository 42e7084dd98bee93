//! Items ordered by a number in their JSON: the best first, which is the largest.
//!
//! No index has these numbers. All items that the filter lets through are scanned, and of each a number and its place
//! are kept; only those that are wanted are then read, by rowid.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{self, AtomicBool};

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::json::number::Number;
use crate::json::order_by::{OrderBy, number_of};
use crate::model::columns::ItemColumn;
use crate::model::rows::{Fields, Items};
use crate::sqlite::lists::cursor::{self, Position};
use crate::sqlite::lists::item_filter::{ItemFilter, RowFilter};
use crate::sqlite::lists::items::{BUFFER_ROWS, ItemList, ROWID, push, scan, select};
use crate::sqlite::lists::order::Order;
use crate::sqlite::lists::seek::bind;
use crate::sqlite::tables::cells;

/// The most items of a ranking that is read page by page: 12 MB.
const MOST_RANKED: usize = 500_000;

/// Items in their order, of which only the numbers and the places are known.
#[derive(Debug)]
pub struct Ranking {
    ranked: Vec<Ranked>,
    is_more: bool,
}

impl Ranking {
    /// How many items it has.
    pub fn len(&self) -> usize {
        self.ranked.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    /// Whether there are items behind its last.
    pub fn is_more(&self) -> bool {
        self.is_more
    }
}

/// An item of a ranking.
#[derive(Debug, Clone)]
struct Ranked {
    /// Never NaN. `None` where the item has no number.
    number: Option<Number>,
    /// Its rowid, from the end of the table where the newest come first.
    place: i64,
}

// As the documentation says.
const _: () = assert!(size_of::<Ranked>() == 24);

impl Ranked {
    fn new(number: Option<Number>, rowid: i64, order: Order) -> Self {
        Self { number, place: place(rowid, order) }
    }

    fn at(position: &Position, order: Order) -> Self {
        Self::new(number_of(&position.time), position.rowid, order)
    }

    fn position(&self, order: Order) -> Position {
        let time = self.number.as_ref().map(Number::text).unwrap_or_default();
        Position { time, rowid: place(self.place, order) }
    }
}

/// The place of a rowid, and the rowid of a place.
fn place(rowid: i64, order: Order) -> i64 {
    match order {
        Order::Oldest => rowid,
        Order::Newest => !rowid,
    }
}

impl Ord for Ranked {
    /// The one that comes first is the least.
    fn cmp(&self, other: &Self) -> Ordering {
        let best = match (&self.number, &other.number) {
            (Some(a), Some(b)) => b.compare(a).unwrap_or(Ordering::Equal),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        best.then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// Read a list in one snapshot, unless told to stop; and the cursor of the next page, if there is one.
pub(crate) fn list(
    connection: &Connection,
    wanted: &ItemList,
    by: &OrderBy,
    stop: &AtomicBool,
) -> Result<(Vec<Items>, Option<String>)> {
    let (list, order) = (wanted.described(), wanted.order);
    cursor::snapshot(connection, |store_id| {
        let after = wanted.cursor.as_ref().map(|cursor| list.decode(cursor, store_id)).transpose()?;
        let after = after.map(|after| Ranked::at(&after, order));
        let most = wanted.limit.map_or(usize::MAX, NonZeroUsize::get);
        let ranking = rank(connection, &wanted.filter, by, order, after.as_ref(), most, stop)?;
        let items = read(connection, &wanted.filter, wanted.fields, order, &ranking.ranked, stop)?;
        let last = ranking.ranked.last().filter(|_| ranking.is_more);
        Ok((items, last.map(|last| last.position(order).encode(list.text(), store_id))))
    })
}

/// Rank the items behind a ranking, or the first ones, unless told to stop.
pub(crate) fn rank_next(
    connection: &Connection,
    filter: &ItemFilter,
    by: &OrderBy,
    order: Order,
    after: Option<&Ranking>,
    stop: &AtomicBool,
) -> Result<Ranking> {
    let after = after.and_then(|after| after.ranked.last());
    cursor::snapshot(connection, |_| rank(connection, filter, by, order, after, MOST_RANKED, stop))
}

/// Read some items of a ranking as they are now: those that are gone, or that the filter no longer lets through, are
/// left out.
pub(crate) fn read_ranked(
    connection: &Connection,
    filter: &ItemFilter,
    fields: Fields,
    order: Order,
    ranking: &Ranking,
    which: Range<usize>,
) -> Result<Vec<Items>> {
    let which = which.start.min(ranking.len())..which.end.min(ranking.len());
    let ranked = ranking.ranked.get(which).unwrap_or_default();
    cursor::snapshot(connection, |_| {
        read(connection, filter, fields, order, ranked, &AtomicBool::default())
    })
}

/// Rank the first `most` of the items that come after one.
fn rank(
    connection: &Connection,
    filter: &ItemFilter,
    by: &OrderBy,
    order: Order,
    after: Option<&Ranked>,
    most: usize,
    stop: &AtomicBool,
) -> Result<Ranking> {
    // The last of those that come first is on top.
    let mut first = BinaryHeap::new();
    let mut is_more = false;
    scan(connection, filter, Fields::default().with(by.column()), Order::Oldest, None, &mut |row, kept| {
        refuse_stopped(stop)?;
        if !kept {
            return Ok(true);
        }
        let text = cells::json(row.get_ref(by.column() as usize)?);
        let item = Ranked::new(by.number(text), row.get(ROWID)?, order);
        if after.is_some_and(|after| item <= *after) {
            return Ok(true);
        }
        if first.len() < most {
            first.push(item);
        } else {
            is_more = true;
            if let Some(mut last) = first.peek_mut()
                && item < *last
            {
                *last = item;
            }
        }
        Ok(true)
    })?;
    let mut ranked = first.into_vec();
    ranked.sort_unstable();
    Ok(Ranking { ranked, is_more })
}

fn read(
    connection: &Connection,
    filter: &ItemFilter,
    fields: Fields,
    order: Order,
    ranked: &[Ranked],
    stop: &AtomicBool,
) -> Result<Vec<Items>> {
    let mut row_filter = RowFilter::new(connection, filter)?;
    let columns = fields | row_filter.columns() | Fields::default().with(ItemColumn::ItemId);
    let mut item = connection.prepare_cached(&item_sql(columns, filter))?;
    bind(
        &mut item,
        &[(":run_id", &filter.run_id), (":since", &filter.since), (":until", &filter.until)],
    )?;
    let mut items = Vec::<Items>::new();
    for ranked in ranked {
        refuse_stopped(stop)?;
        bind(&mut item, &[(":rowid", &place(ranked.place, order))])?;
        let mut rows = item.raw_query();
        if let Some(row) = rows.next()?
            && row_filter.keeps(row)?
        {
            if items.last().is_none_or(|buffer| buffer.len() == BUFFER_ROWS) {
                items.push(Items::new());
            }
            items.last_mut().map_or(Ok(()), |buffer| push(row, fields, buffer))?;
        }
    }
    Ok(items)
}

/// What reads an item of a rowid. By now it may be another's, of another run or time.
fn item_sql(columns: Fields, filter: &ItemFilter) -> String {
    let of_run = if filter.run_id.is_some() { " AND run_id = :run_id" } else { "" };
    let since = if filter.since.is_some() { " AND created_at >= :since" } else { "" };
    let until = if filter.until.is_some() { " AND created_at < :until" } else { "" };
    format!("{} WHERE rowid = :rowid{of_run}{since}{until}", select(columns))
}

fn refuse_stopped(stop: &AtomicBool) -> Result<()> {
    if stop.load(atomic::Ordering::Relaxed) {
        return Err(StoreError::new(ErrorKind::Interrupted, "interrupted while reading"));
    }
    Ok(())
}
