//! Counts of items: a short one in one go, a long one in two halves at the same time.
//!
//! A count reads the pages of an index, a microsecond each where the operating system has them at hand, and goes
//! through their rows at ten nanoseconds each. Two threads with a reader each do it in half the time. That pays from
//! half a millisecond on, and which counts take so long is found out by beginning.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, OptionalExtension, ffi};

use crate::error::Result;
use crate::model::rows::Fields;
use crate::sqlite::engine::pool::Spare;
use crate::sqlite::file::connection;
use crate::sqlite::lists::cursor;
use crate::sqlite::lists::item_filter::ItemFilter;
use crate::sqlite::lists::item_groups::{self, Group};
use crate::sqlite::lists::items::scan;
use crate::sqlite::lists::seek::{bind, seeks};
use crate::sqlite::tables::cells::Text;
use crate::sqlite::tables::pruned;

/// How many steps of SQLite's machine go between two looks at whether a count takes long, and how many such looks find
/// that it does not. A row takes two or three steps.
const STEPS: i32 = 10_000;
const LOOKS: usize = 4;

/// How many items a count of all takes long for. It is a single step, however many there are.
const MANY: i64 = 50_000;

const EXTENT: &str = "SELECT (SELECT max(rowid) FROM intel_items) - (SELECT min(rowid) FROM intel_items)";

/// Whether there is another core. It is found out once, which takes some microseconds; without a lock, in which a forked
/// child could get stuck.
fn has_two_cores() -> bool {
    static CORES: AtomicUsize = AtomicUsize::new(0);
    match CORES.load(Ordering::Relaxed) {
        0 => {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            CORES.store(cores, Ordering::Relaxed);
            cores > 1
        }
        cores => cores > 1,
    }
}

/// Count the items that a filter lets through.
pub(crate) fn count(connection: &mut Connection, spare: Option<&Spare>, filter: &ItemFilter) -> Result<u64> {
    // Two halves are more work than the whole: it has to be by a core that has nothing else to do.
    let is_worth_it =
        |spare: &&Spare| filter.conditions.is_empty() && spare.has_the_pool_alone() && has_two_cores();
    if let Some(spare) = spare.filter(is_worth_it) {
        if let Some(count) = count_unless_long(connection, filter)? {
            return Ok(count);
        }
        if let Some(count) = spare.lend(|second| count_in_two(connection, second, filter)) {
            return count;
        }
    }
    count_alone(connection, filter)
}

fn count_alone(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
    cursor::snapshot(connection, |_| count_now(connection, filter))
}

/// Count the items that a filter lets through, unless it turns out that this takes long.
fn count_unless_long(connection: &mut Connection, filter: &ItemFilter) -> Result<Option<u64>> {
    let is_of_all = !filter.is_by_kind() && !is_timed(filter) && filter.run_id.is_none();
    if is_of_all && extent(connection)? > MANY {
        return Ok(None);
    }
    let mut looks = 0;
    let is_long = move || {
        looks += 1;
        looks > LOOKS
    };
    connection.progress_handler(STEPS, Some(is_long))?;
    let count = count_alone(connection, filter);
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match count {
        Err(error) if error.sqlite_code == Some(ffi::SQLITE_INTERRUPT) => Ok(None),
        count => count.map(Some),
    }
}

/// How many items there are at the most.
fn extent(connection: &Connection) -> Result<i64> {
    let extent: Option<i64> = connection.prepare_cached(EXTENT)?.query_row([], |row| row.get(0))?;
    Ok(extent.map_or(0, |extent| extent.saturating_add(1)))
}

/// Count the earlier half on a second connection meanwhile, if it sees the file in the same state.
///
/// Both do if nobody commits between the two beginnings. That is known from the first connection's data version, which
/// differs between two looks once anyone else has committed between them (it never commits itself): one look is before
/// either begins to read, the other within the first one's own read, once the second has begun: both beginnings are
/// between the two looks. <https://www.sqlite.org/pragma.html#pragma_data_version>
///
/// Neither thread waits for one that has gone: who fails drops his ends of the channels.
fn count_in_two(first: &Connection, second: &mut Connection, filter: &ItemFilter) -> Result<u64> {
    let (begun, has_begun) = mpsc::channel();
    let (hand_over, handed_over) = mpsc::channel::<Half>();
    let count_earlier = move || {
        connection::scan_backwards(second, true)?;
        let count = cursor::snapshot(second, |_| {
            let half = begun.send(()).ok().and_then(|()| handed_over.recv().ok());
            half.map_or(Ok(0), |half| half.count(second))
        });
        connection::scan_backwards(second, false)?;
        count
    };
    let before = data_version(first)?;
    thread::scope(|scope| {
        let other = thread::Builder::new().name("count".into()).spawn_scoped(scope, count_earlier);
        let has_begun = other.is_ok() && has_begun.recv().is_ok();
        let ours = cursor::snapshot(first, move |_| {
            let is_same_state = has_begun && data_version(first)? == before;
            let halves = if is_same_state { halves(first, filter)? } else { None };
            let later = halves.and_then(|(earlier, later)| hand_over.send(earlier).ok().map(|()| later));
            drop(hand_over);
            later.map_or_else(|| count_now(first, filter), |later| later.count(first))
        });
        let others = other
            .map_or(Ok(0), |other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        Ok(ours? + others?)
    })
}

/// A number that changes with each commit of another connection, as of now or of the read that is open.
fn data_version(connection: &Connection) -> Result<i64> {
    Ok(connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

/// A part of what a filter lets through: what `of` does, and `but_for` does not.
struct Half {
    of: ItemFilter,
    but_for: Option<ItemFilter>,
}

impl Half {
    fn count(&self, connection: &Connection) -> Result<u64> {
        let others = self.but_for.as_ref().map_or(Ok(0), |others| count_now(connection, others))?;
        Ok(count_now(connection, &self.of)?.saturating_sub(others))
    }

    fn go_on_beyond_since(&mut self) {
        if let Some(since) = self.of.since.take() {
            self.but_for = Some(ItemFilter { until: Some(since), ..self.of.clone() });
        }
    }

    fn go_on_beyond_until(&mut self) {
        if let Some(until) = self.of.until.take() {
            self.but_for = Some(ItemFilter { since: Some(until), ..self.of.clone() });
        }
    }
}

/// The items of a filter in two halves by time, in the order of which an index has them; `None` where it cannot be.
/// That both are about as large is likely, as items are mostly recorded in the order of their times. That each item is
/// in one of them is sure: no time is null.
fn halves(connection: &Connection, filter: &ItemFilter) -> Result<Option<(Half, Half)>> {
    if filter.is_by_kind() && item_groups::groups(connection, filter)?.is_none() {
        return Ok(None);
    }
    let Some((first, last)) = ends(connection, filter)? else { return Ok(None) };
    let middle = time_of(connection, first.midpoint(last))?.filter(|middle| is_within(filter, middle));
    let Some(middle) = middle else { return Ok(None) };
    let half = |of| Half { of, but_for: None };
    let mut earlier = half(ItemFilter { until: Some(middle.clone()), ..filter.clone() });
    let mut later = half(ItemFilter { since: Some(middle), ..filter.clone() });
    // To compare each row with where a half ends takes half as long again. Where few items are beyond, it is quicker to
    // go on through these, and to count them once more.
    let few = last.saturating_sub(first) / 4;
    if let Some((first_of_all, last_of_all)) = ends(connection, &ItemFilter::default())?
        && filter.run_id.is_none()
        && !filter.is_by_kind()
    {
        if first.saturating_sub(first_of_all) < few {
            earlier.go_on_beyond_since();
        }
        if last_of_all.saturating_sub(last) < few {
            later.go_on_beyond_until();
        }
    }
    Ok(Some((earlier, later)))
}

fn is_within(filter: &ItemFilter, time: &String) -> bool {
    filter.since.as_ref().is_none_or(|since| since <= time)
        && filter.until.as_ref().is_none_or(|until| time <= until)
}

/// The time of the item that was recorded as this one or, if it is gone, next.
fn time_of(connection: &Connection, rowid: i64) -> Result<Option<String>> {
    let mut statement = connection
        .prepare_cached("SELECT created_at FROM intel_items WHERE rowid >= ? ORDER BY rowid LIMIT 1")?;
    let time = statement
        .query_row([rowid], |row| Ok(row.get_ref(0)?.as_str().ok().map(str::to_owned)))
        .optional()?;
    Ok(time.flatten())
}

/// The first and the last item of a filter's run and time.
fn ends(connection: &Connection, filter: &ItemFilter) -> Result<Option<(i64, i64)>> {
    let first = end(connection, filter, "ASC")?;
    Ok(first.zip(end(connection, filter, "DESC")?))
}

fn end(connection: &Connection, filter: &ItemFilter, order: &str) -> Result<Option<i64>> {
    let mut statement = connection.prepare_cached(&end_sql(filter, order))?;
    bind(
        &mut statement,
        &[(":run_id", &filter.run_id), (":time", &filter.since), (":until", &filter.until)],
    )?;
    let mut rows = statement.raw_query();
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}

fn end_sql(filter: &ItemFilter, order: &str) -> String {
    let of_run = if filter.run_id.is_some() { "run_id = :run_id AND " } else { "" };
    let times: Vec<String> = seeks(filter, None).into_iter().map(|seek| seek.clause).collect();
    format!(
        "SELECT rowid FROM intel_items WHERE {of_run}{} ORDER BY created_at {order} LIMIT 1",
        times.join(" AND ")
    )
}

/// Count the items that a filter lets through in the state that the connection is reading.
fn count_now(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
    if !filter.conditions.is_empty() {
        let mut count = 0;
        scan(connection, filter, Fields::default(), None, &mut |_, kept| {
            count += u64::from(kept);
            Ok(true)
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
fn count_rows(connection: &Connection, filter: &ItemFilter) -> Result<u64> {
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
struct Kind<'a> {
    item_type: Option<&'a [u8]>,
    /// The condition on the column, and the value that it compares with.
    decision: Option<(&'static str, Option<&'a [u8]>)>,
}

impl<'a> Kind<'a> {
    fn of_filter(filter: &'a ItemFilter) -> Self {
        let decision = filter.decision.as_ref();
        Self {
            item_type: filter.item_type.as_deref().map(str::as_bytes),
            decision: decision.map(|wanted| (wanted.clause(), wanted.value().map(str::as_bytes))),
        }
    }

    fn of_group(group: &'a Group) -> Self {
        let decision = Some(("decision IS :decision", group.decision.as_deref()));
        Self { item_type: Some(&group.item_type), decision }
    }
}

fn count_by(connection: &Connection, filter: &ItemFilter, kind: &Kind) -> Result<u64> {
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

/// What counts items by an index. That of the runs is to be used where a run is given, which the plus sees to.
fn count_sql(filter: &ItemFilter, kind: &Kind) -> String {
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
    let only = if clauses.is_empty() { String::new() } else { format!(" WHERE {}", clauses.join(" AND ")) };
    format!("SELECT count(*) FROM intel_items{only}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::model::caller::Caller;
    use crate::sqlite::engine::pool::Pool;
    use crate::sqlite::file::connection::Synchronous;
    use crate::sqlite::file::place::Place;
    use crate::sqlite::file::wait::Wait;
    use crate::sqlite::lists::items::tests::{filters, plan, times, with_items};

    /// A file of the items of [`with_items`], their times as given, and its writer.
    fn file(folder: &Path, items: usize, time: &str) -> (std::path::PathBuf, Connection) {
        let path = folder.join("store.db");
        let memory = with_items(items);
        memory.execute(&format!("UPDATE intel_items SET created_at = {time}"), []).unwrap();
        memory.execute("VACUUM INTO ?", [path.to_str()]).unwrap();
        let writer = connection::open_file(&path).unwrap();
        connection::configure_writer(&writer, Synchronous::Normal).unwrap();
        (path, writer)
    }

    /// More items of one type and time, recorded as a whole.
    fn add(writer: &Connection, count: i64, time: &str) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO intel_items SELECT ?2 || i, 'run', 'type 0', '', '', '', '', '', '', '', NULL, NULL, ?2, NULL
             FROM n";
        writer.execute(sql, (count, time)).unwrap();
    }

    /// Filters of which some begin or end within the file, at its ends and beyond.
    fn more_filters() -> Vec<ItemFilter> {
        let mut filters = filters();
        let times = ["", "2026-", "2026-002", "2026-050", "2026-098", "2027"];
        let times = times.iter().flat_map(|since| times.iter().map(move |until| (since, until)));
        filters.extend(times.map(|(since, until)| ItemFilter {
            since: Some((*since).into()),
            until: Some((*until).into()),
            ..Default::default()
        }));
        filters
    }

    fn of_type(item_type: &str) -> ItemFilter {
        ItemFilter { item_type: Some(item_type.into()), ..Default::default() }
    }

    #[test]
    fn two_halves_are_the_whole() {
        let (mut split, mut counted_twice) = (0, 0);
        let times = [
            "created_at",
            "'2026-01'",
            "printf('2026-%03d', rowid)",
            "printf('2026-%03d', 1000 - rowid)",
            "iif(rowid = 50, '', printf('2026-%03d', rowid))",
        ];
        for (items, time) in times.map(|time| (100, time)).into_iter().chain([(0, "''"), (1, "''")]) {
            let folder = tempfile::tempdir().unwrap();
            let (path, writer) = file(folder.path(), items, time);
            let first = connection::open_reader(&path).unwrap();
            let mut second = connection::open_reader(&path).unwrap();
            for filter in more_filters() {
                let whole = count_alone(&writer, &filter).unwrap();
                assert_eq!(count_in_two(&first, &mut second, &filter).unwrap(), whole, "{time}, {filter:?}");
                if let Some((earlier, later)) = halves(&writer, &filter).unwrap() {
                    let counts = (earlier.count(&writer).unwrap(), later.count(&writer).unwrap());
                    assert_eq!(counts.0 + counts.1, whole, "{time}, {filter:?}");
                    split += usize::from(counts.0 > 0 && counts.1 > 0);
                    counted_twice += usize::from(earlier.but_for.is_some() && later.but_for.is_some());
                }
            }
        }
        assert!(split > 100 && counted_twice > 10, "{split} {counted_twice}");
    }

    #[test]
    fn a_commit_between_the_two_beginnings_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = file(folder.path(), 100, "printf('2026-%03d', rowid)");
        let first = connection::open_reader(&path).unwrap();
        let mut second = connection::open_reader(&path).unwrap();
        let whole = count_alone(&writer, &ItemFilter::default()).unwrap();
        // The first step of the second connection after its beginning.
        let mut writer = Some(writer);
        let commit = move || {
            if let Some(writer) = writer.take() {
                writer.execute_batch("BEGIN").unwrap();
                add(&writer, 10, "2025");
                add(&writer, 10, "2027");
                writer.execute_batch("COMMIT").unwrap();
            }
            false
        };
        second.progress_handler(1, Some(commit)).unwrap();
        assert_eq!(count_in_two(&first, &mut second, &ItemFilter::default()).unwrap(), whole + 20);
        assert_eq!(count_in_two(&first, &mut second, &ItemFilter::default()).unwrap(), whole + 20);
    }

    #[test]
    fn the_data_version_tells_of_others_commits_within_a_read_too() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = file(folder.path(), 1, "''");
        let reader = connection::open_reader(&path).unwrap();
        let before = data_version(&reader).unwrap();
        let within = || cursor::snapshot(&reader, |_| data_version(&reader)).unwrap();
        assert_eq!(within(), before);
        let after = cursor::snapshot(&reader, |_| {
            add(&writer, 1, "2026");
            data_version(&reader)
        });
        assert_eq!(after.unwrap(), before);
        assert_ne!(within(), before);
    }

    #[test]
    fn a_count_that_takes_long_is_known_by_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = file(folder.path(), 10, "''");
        add(&writer, 50_000, "2026");
        let mut reader = connection::open_reader(&path).unwrap();
        let by_time = ItemFilter { since: Some("2026".into()), ..Default::default() };
        for filter in [ItemFilter::default(), by_time, of_type("type 0"), ItemFilter::of_run("run")] {
            assert_eq!(count_unless_long(&mut reader, &filter).unwrap(), None, "{filter:?}");
            assert!(count_alone(&reader, &filter).unwrap() >= 50_000);
        }
        assert_eq!(count_unless_long(&mut reader, &of_type("type 1")).unwrap(), Some(2));
        writer.execute("DELETE FROM intel_items WHERE rowid > 10000", []).unwrap();
        assert_eq!(count_unless_long(&mut reader, &ItemFilter::default()).unwrap(), Some(9_998));
        assert_eq!(count_unless_long(&mut reader, &ItemFilter::of_run("run")).unwrap(), Some(9_998));
    }

    #[test]
    fn a_long_count_does_without_a_second_reader_that_is_not_free() {
        let folder = tempfile::tempdir().unwrap();
        let (path, writer) = file(folder.path(), 0, "''");
        add(&writer, 60_000, "2026");
        for size in [1, 2] {
            let pool = Pool::new(size);
            let place = Place::new(path.clone()).unwrap();
            let mut wait = Wait::new(Caller::thread(), Duration::from_secs(1));
            let counted = pool.read(&place, &mut wait, |connection, spare| {
                count(connection, spare, &ItemFilter::default())
            });
            assert_eq!(counted.unwrap(), 60_000);
        }
    }

    #[test]
    fn no_row_of_a_half_is_compared_with_where_it_ends() {
        let steps = |connection: &Connection, filter: &ItemFilter| -> Vec<String> {
            let sql = format!("EXPLAIN {}", count_sql(filter, &Kind::of_filter(filter)));
            let mut statement = connection.prepare(&sql).unwrap();
            statement.raw_query().mapped(|row| row.get("opcode")).collect::<rusqlite::Result<_>>().unwrap()
        };
        let connection = with_items(0);
        let compares = |steps: &[String]| steps.iter().any(|step| step.starts_with("Idx"));
        let later = ItemFilter { since: Some("2026".into()), ..Default::default() };
        assert!(!compares(&steps(&connection, &later)));
        let earlier = ItemFilter { until: Some("2026".into()), ..Default::default() };
        assert!(compares(&steps(&connection, &earlier)));
        connection::scan_backwards(&connection, true).unwrap();
        assert!(!compares(&steps(&connection, &earlier)));
    }

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
