//! Items ordered by a number in their JSON: the best first, which is the largest.
//!
//! No index has these numbers. All items that the filter lets through are scanned, and of each a number and its place
//! are kept; only those that are wanted are then read, by rowid.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::iter;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::json::number::Number;
use crate::json::order_by::{OrderBy, number_of};
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;
use crate::model::rows::{Fields, Items};
use crate::sqlite::file::wait::refuse_stopped;
use crate::sqlite::lists::clause::{Clause, and, values};
use crate::sqlite::lists::cursor::{self, Position};
use crate::sqlite::lists::item_filter::{ItemFilter, RowFilter};
use crate::sqlite::lists::items::{BUFFER_ROWS, ItemList, ROWID, push, scan_unordered, select};
use crate::sqlite::lists::order::Order;
use crate::sqlite::tables::cells;

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

    /// Where it ends.
    pub(crate) fn end(&self, order: Order) -> Option<Position> {
        self.ranked.last().map(|last| last.position(order))
    }

    /// The rowids of some of them.
    pub fn rowids(&self, which: Range<usize>, order: Order) -> Vec<i64> {
        self.some(which).iter().map(|item| place(item.place, order)).collect()
    }

    fn some(&self, which: Range<usize>) -> &[Ranked] {
        self.ranked.get(which.start.min(self.len())..which.end.min(self.len())).unwrap_or_default()
    }
}

/// Finds those that come first of the items that it is given.
pub(crate) struct Ranker {
    order: Order,
    after: Option<Ranked>,
    most: usize,
    /// The last of those that come first is on top.
    first: BinaryHeap<Ranked>,
    is_more: bool,
}

impl Ranker {
    /// The first `most` of those that come after a position.
    pub(crate) fn new(order: Order, after: Option<&Position>, most: usize) -> Self {
        let after = after.map(|after| Ranked::at(after, order));
        Self { order, after, most, first: BinaryHeap::new(), is_more: false }
    }

    pub(crate) fn add(&mut self, number: Option<Number>, rowid: i64) -> Result<()> {
        let item = Ranked::new(number, rowid, self.order);
        if self.after.as_ref().is_some_and(|after| item <= *after) {
            return Ok(());
        }
        if self.first.len() < self.most {
            self.first.try_reserve(1).map_err(OutOfMemory::from)?;
            self.first.push(item);
            return Ok(());
        }
        self.is_more = true;
        if let Some(mut last) = self.first.peek_mut()
            && item < *last
        {
            *last = item;
        }
        Ok(())
    }

    /// What it has found. It begins anew then.
    pub(crate) fn ranking(&mut self) -> Ranking {
        let mut ranked = std::mem::take(&mut self.first).into_vec();
        ranked.sort_unstable();
        Ranking { ranked, is_more: self.is_more }
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
    let (list, order) = (wanted.described()?, wanted.order);
    cursor::snapshot(connection, |store_id| {
        let after = wanted.cursor.as_ref().map(|cursor| list.decode(cursor, store_id)).transpose()?;
        let most = wanted.limit.map_or(usize::MAX, NonZeroUsize::get);
        let ranking = rank(connection, wanted.filter, by, order, after.as_ref(), most, stop)?;
        let items = read(connection, wanted.filter, wanted.fields, order, &ranking.ranked, stop)?;
        let end = ranking.end(order).filter(|_| ranking.is_more);
        Ok((items, end.map(|end| end.encode(list.text(), store_id))))
    })
}

/// Rank the next `most` items behind a ranking, or the first ones, unless told to stop.
pub(crate) fn rank_next(
    connection: &Connection,
    filter: &ItemFilter,
    by: &OrderBy,
    order: Order,
    after: Option<&Ranking>,
    most: usize,
    stop: &AtomicBool,
) -> Result<Ranking> {
    let after = after.and_then(|after| after.end(order));
    cursor::snapshot(connection, |_| rank(connection, filter, by, order, after.as_ref(), most, stop))
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
    let ranked = ranking.some(which);
    cursor::snapshot(connection, |_| read(connection, filter, fields, order, ranked, &AtomicBool::default()))
}

/// Rank the first `most` of the items that come after one.
fn rank(
    connection: &Connection,
    filter: &ItemFilter,
    by: &OrderBy,
    order: Order,
    after: Option<&Position>,
    most: usize,
    stop: &AtomicBool,
) -> Result<Ranking> {
    let mut ranker = Ranker::new(order, after, most);
    scan_unordered(connection, filter, Fields::default().with(by.column()), stop, &mut |row| {
        let text = cells::json(row.get_ref(by.column() as usize)?);
        ranker.add(by.number(text)?, row.get(ROWID)?)?;
        Ok(())
    })?;
    Ok(ranker.ranking())
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
    let part = filter.of_run_and_time();
    let mut item = connection.prepare_cached(&item_sql(columns, &part))?;
    let mut items = Vec::<Items>::new();
    for ranked in ranked {
        refuse_stopped(stop)?;
        let rowid = place(ranked.place, order).into();
        let mut rows = item.query(params_from_iter(iter::once(rowid).chain(values(&part))))?;
        if let Some(row) = rows.next()?
            && row_filter.keeps(row)?
        {
            if items.last().is_none_or(|buffer| buffer.len() == BUFFER_ROWS) {
                memory::push(&mut items, Items::new())?;
            }
            items.last_mut().map_or(Ok(()), |buffer| push(row, fields, buffer))?;
        }
    }
    Ok(items)
}

/// What reads an item of a rowid. By now it may be another's, of another run or time.
fn item_sql(columns: Fields, part: &[Clause]) -> String {
    format!("SELECT {} FROM intel_items WHERE rowid = ?{}", select(columns), and(part, |_| true))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::error::ErrorKind;
    use crate::sqlite::lists::item_count;
    use crate::sqlite::lists::items::tests::{filters, plan, with_items};

    // As the documentation says.
    const _: () = assert!(size_of::<Ranked>() == 24);

    fn by(path: &str) -> OrderBy {
        OrderBy::new(format!("scores_json{path}").as_bytes()).unwrap()
    }

    fn ids(items: &[Items]) -> Vec<String> {
        let rows = items.iter().flat_map(|part| (0..part.len()).map(move |row| (part, row)));
        rows.map(|(items, row)| {
            String::from_utf8(items.get(row, ItemColumn::ItemId).unwrap().to_vec()).unwrap()
        })
        .collect()
    }

    /// A hundred items, some with equal numbers, some with large ones, and some with none.
    fn with_numbers() -> Connection {
        let connection = with_items(100);
        let sql = "UPDATE intel_items SET scores_json = CASE rowid % 7
            WHEN 0 THEN '{\"n\": null}' WHEN 1 THEN 'no JSON' WHEN 2 THEN '{\"n\": 9223372036854775808}'
            ELSE json_object('n', rowid % 5) END";
        connection.execute(sql, []).unwrap();
        connection
    }

    #[test]
    fn an_item_is_found_by_its_rowid_whatever_the_filter() {
        let connection = with_items(0);
        for filter in filters() {
            let sql = item_sql(Fields::ALL, &filter.of_run_and_time());
            assert_eq!(
                plan(&connection, &sql),
                ["SEARCH intel_items USING INTEGER PRIMARY KEY (rowid=?)"],
                "{sql}"
            );
        }
    }

    #[test]
    fn no_more_are_kept_than_are_wanted_and_each_comes_once() {
        let connection = with_numbers();
        let go_on = AtomicBool::default();
        let fields = Fields::default();
        for (filter, order) in
            filters().into_iter().flat_map(|filter| Order::ALL.map(|order| (filter.clone(), order)))
        {
            let whole = rank_next(&connection, &filter, &by(".n"), order, None, usize::MAX, &go_on).unwrap();
            assert!(!whole.is_more());
            assert!(whole.ranked.is_sorted());
            let whole =
                ids(&read_ranked(&connection, &filter, fields, order, &whole, 0..usize::MAX).unwrap());
            let count = item_count::count(&connection, &filter).unwrap();
            assert_eq!(whole.len() as u64, count, "{filter:?}");
            for most in [1, 7, 99] {
                let (mut found, mut last) = (Vec::new(), None);
                loop {
                    let ranking =
                        rank_next(&connection, &filter, &by(".n"), order, last.as_ref(), most, &go_on)
                            .unwrap();
                    assert!(ranking.len() <= most && ranking.ranked.capacity() <= 2 * most.max(4));
                    for start in (0..ranking.len()).step_by(3) {
                        let which = start..start + 3;
                        found.extend(ids(
                            &read_ranked(&connection, &filter, fields, order, &ranking, which).unwrap()
                        ));
                    }
                    assert!(found.len() <= whole.len(), "{filter:?}, {order:?}, {most}");
                    if !ranking.is_more() {
                        break;
                    }
                    last = Some(ranking);
                }
                assert_eq!(found, whole, "{filter:?}, {order:?}, {most}");
            }
        }
    }

    #[test]
    fn a_rowid_that_is_anothers_by_now_is_left_out() {
        let connection = with_items(10);
        let filter = ItemFilter::of_run("run");
        let ranking =
            rank_next(&connection, &filter, &by(".n"), Order::Oldest, None, 1, &AtomicBool::default())
                .unwrap();
        let read = || {
            ids(&read_ranked(&connection, &filter, Fields::default(), Order::Oldest, &ranking, 0..9).unwrap())
        };
        assert_eq!(read(), ["item 8"]);
        connection.execute_batch("INSERT INTO runs SELECT 'other', run_type, started_at, finished_at, status, settings_snapshot_json, notes, NULL, NULL, NULL FROM runs LIMIT 1; UPDATE intel_items SET run_id = 'other' WHERE item_id = 'item 8'").unwrap();
        assert_eq!(read(), [""; 0]);
    }

    #[test]
    fn ranking_ends_when_it_is_told_to() {
        let connection = with_items(1);
        let filter = ItemFilter::default();
        let stopped =
            rank_next(&connection, &filter, &by(".n"), Order::Oldest, None, 1, &AtomicBool::new(true));
        assert_eq!(stopped.unwrap_err().kind, ErrorKind::Interrupted);
    }

    #[test]
    fn what_a_position_says_comes_back() {
        for order in Order::ALL {
            for number in [None, number_of("-0.5"), number_of("9223372036854775808"), number_of("Infinity")] {
                let ranked = Ranked::new(number, 7, order);
                let position = ranked.position(order);
                assert_eq!((position.rowid, Ranked::at(&position, order)), (7, ranked));
            }
        }
    }
}
