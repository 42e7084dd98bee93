//! Cursors: where a page of a list ended, as opaque text in which every change is detected.
//!
//! Programs keep cursors, so that one outlives the process and the version that made it: it is hexadecimal digits and
//! FNV-1a checksums, which no release of Rust changes. The checksums find mistakes. They need not be secret: a forged
//! cursor is only another position.

use std::fmt::Write as _;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError};
use crate::memory::{self, OutOfMemory};
use crate::model::time::now;
use crate::sqlite::lists::order::Order;
use crate::sqlite::tables::cells;

/// Where a page of a list ended: the next one continues after it, whatever was written meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The last row's time, which tells whether its rowid was given again.
    pub time: String,
    /// The last row's place in the order of recording.
    pub rowid: i64,
}

impl Position {
    /// The rowid behind which a list of this table goes on.
    ///
    /// SQLite gives the rowid of the last row again once that is deleted. So a row of the position's rowid that is of
    /// another time is a new one, and so are those before it that are of a later time than the position.
    pub(crate) fn behind(
        &self,
        connection: &Connection,
        table: &str,
        time: &str,
        order: Order,
    ) -> Result<i64> {
        if order == Order::Newest {
            return Ok(self.rowid);
        }
        let before = format!("SELECT rowid, {time} FROM {table} WHERE rowid <= ? ORDER BY rowid DESC");
        let mut before = connection.prepare_cached(&before)?;
        let mut before = before.query([self.rowid])?;
        let now = now();
        let mut is_given_again = false;
        while let Some(row) = before.next()? {
            let (rowid, time): (i64, _) = (row.get(0)?, row.get_ref(1)?.as_bytes().unwrap_or_default());
            let is_new = if rowid == self.rowid {
                time != self.time.as_bytes()
            } else {
                let is_later = self.time.as_bytes() < time && time <= now.as_bytes();
                is_later && (is_given_again || !is_more(connection, table, self.rowid)?)
            };
            if !is_new {
                return Ok(if is_given_again { rowid } else { self.rowid });
            }
            is_given_again = true;
        }
        Ok(if is_given_again { i64::MIN } else { self.rowid })
    }

    /// The position as text, for the list that [`describe`] describes, of the file with this `store_id`.
    pub(crate) fn encode(&self, list: &str, store_id: &str) -> String {
        let mut bytes = Vec::new();
        for mark in [checksum(list.as_bytes()), checksum(store_id.as_bytes()), self.rowid.to_be_bytes()] {
            bytes.extend(mark);
        }
        bytes.extend(self.time.as_bytes());
        bytes.extend(checksum(&bytes));
        hexadecimal(&bytes)
    }

    /// The position that [`Self::encode`] made text of, for the same list and file.
    pub(crate) fn decode(text: &str, list: &str, store_id: &str) -> Result<Self> {
        let (of_list, of_store, position) = parts(text)
            .ok_or_else(|| refusal("the cursor is invalid or was changed: pass next_cursor as it is"))?;
        if of_store != checksum(store_id.as_bytes()) {
            return Err(refusal(
                "the cursor belongs to another file: take next_cursor from the same call on this one",
            ));
        }
        if of_list != checksum(list.as_bytes()) {
            return Err(refusal(
                "the cursor belongs to another list: take next_cursor from the same call with the same filters and order",
            ));
        }
        Ok(position)
    }
}

/// A list of one order, as its cursors know it.
pub(crate) struct Described {
    text: String,
    /// The same list from the other end.
    reversed: String,
    order: Order,
}

impl Described {
    /// The list that [`describe`] describes, in this order; the `usual` one is not mentioned.
    pub(crate) fn new(list: String, order: Order, usual: Order) -> Result<Self, OutOfMemory> {
        let unusual = memory::format(format_args!("{list} in order {}", usual.other().name()))?;
        let (text, reversed) = if order == usual { (list, unusual) } else { (unusual, list) };
        Ok(Self { text, reversed, order })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The position that [`Position::encode`] made text of, for the same list and file.
    pub(crate) fn decode(&self, cursor: &str, store_id: &str) -> Result<Position> {
        Position::decode(cursor, &self.text, store_id).map_err(|error| {
            match Position::decode(cursor, &self.reversed, store_id) {
                Ok(_) => refusal(&format!(
                    "the cursor belongs to this list with order={:?}, not {:?}: take next_cursor from the same call with the same order",
                    self.order.other().name(),
                    self.order.name()
                )),
                Err(_) => error,
            }
        })
    }
}

/// The checksums of the list and of the file in a whole cursor, and the position.
fn parts(text: &str) -> Option<([u8; 8], [u8; 8], Position)> {
    let digits = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes = (0..text.len()).step_by(2).map(digits).collect::<Option<Vec<u8>>>()?;
    let (body, sum) = bytes.split_last_chunk()?;
    // Each byte has one form, so that no change goes unnoticed.
    if *sum != checksum(body) || hexadecimal(&bytes) != text {
        return None;
    }
    let (list, rest) = body.split_first_chunk()?;
    let (store, rest) = rest.split_first_chunk()?;
    let (rowid, time) = rest.split_first_chunk()?;
    let time = String::from_utf8(time.to_vec()).ok()?;
    Some((*list, *store, Position { time, rowid: i64::from_be_bytes(*rowid) }))
}

/// A list, as its cursors know it: the method and the values of each filter that is given, all but the limit. Two
/// lists that differ have different texts, whatever the values hold.
pub(crate) fn describe(method: &str, filters: &[(&str, &[&str])]) -> Result<String, OutOfMemory> {
    let mut text = memory::Formatted::default();
    write!(text, "{method}")?;
    for (filter, values) in filters.iter().filter(|(_, values)| !values.is_empty()) {
        write!(text, " {filter}")?;
        for value in *values {
            write!(text, " {}:{value}", value.len())?;
        }
    }
    Ok(text.0)
}

/// Do `read`, given the file's `store_id`, so that all its statements see the file as of one moment.
pub(crate) fn snapshot<T>(connection: &Connection, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    // A statement that is not at its end keeps SQLite's read transaction open; readers may not BEGIN one.
    let mut open = connection
        .prepare_cached("SELECT (SELECT store_id FROM store_identity), EXISTS(SELECT 1 FROM runs)")?;
    let mut rows = open.query([])?;
    // It only has to be the same each time: whatever another program made of it, lists go on.
    let store_id = match rows.next()? {
        Some(row) => cells::nearest(row.get_ref(0)?)?.unwrap_or_default(),
        None => String::new(),
    };
    read(&store_id)
}

/// Whether a table has rows behind this one.
fn is_more(connection: &Connection, table: &str, rowid: i64) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {table} WHERE rowid > ?");
    Ok(connection.prepare_cached(&sql)?.exists([rowid])?)
}

fn refusal(message: &str) -> StoreError {
    StoreError::new(ErrorKind::InvalidValue, message)
}

/// FNV-1a of 64 bits: two texts of which one byte differs never have the same.
/// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>
fn checksum(bytes: &[u8]) -> [u8; 8] {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(BASIS, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(PRIME)).to_be_bytes()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::connection;
    use crate::sqlite::file::migrations;
    use crate::sqlite::file::trace::Trace;

    fn position(time: &str, rowid: i64) -> Position {
        Position { time: time.into(), rowid }
    }

    fn refused(text: &str) -> String {
        let error = Position::decode(text, "list", "file").unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidValue);
        error.to_string()
    }

    #[test]
    fn what_a_cursor_says_comes_back() {
        for position in
            [position("", 0), position("2026-01-01T00:00:00+00:00", i64::MAX), position("\0é😀", i64::MIN)]
        {
            assert_eq!(Position::decode(&position.encode("list", "file"), "list", "file").unwrap(), position);
        }
    }

    #[test]
    fn the_form_of_cursors_stays_as_it_is() {
        let kept = "bf779aad69748141aad01178f02a6a230000000000000007323032362d323a8193ea94ddef";
        assert_eq!(position("2026-", 7).encode("list", "file"), kept);
    }

    #[test]
    fn a_cursor_that_was_changed_is_refused() {
        let text = position("2026-01-01T00:00:00+00:00", 7).encode("list", "file");
        for (at, found) in text.char_indices() {
            for other in "0123456789abcdefA+/ é".chars().filter(|other| *other != found) {
                let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert!(refused(&changed).contains("was changed"), "{changed}");
            }
            assert!(refused(&text[..at]).contains("was changed"));
            assert!(refused(&text[at + 1..]).contains("was changed"));
        }
        assert!(refused(&text.to_uppercase()).contains("was changed"));
        assert!(refused(&format!("{text}00")).contains("was changed"));
    }

    #[test]
    fn a_cursor_of_another_list_or_file_is_refused() {
        assert!(refused(&position("t", 1).encode("other list", "file")).contains("belongs to another list"));
        assert!(refused(&position("t", 1).encode("list", "other file")).contains("belongs to another file"));
    }

    #[test]
    fn a_cursor_of_the_other_order_is_refused_by_name() {
        let list = |order| Described::new("list".to_owned(), order, Order::Oldest).unwrap();
        for order in Order::ALL {
            let cursor = position("t", 1).encode(list(order).text(), "file");
            assert_eq!(list(order).decode(&cursor, "file").unwrap(), position("t", 1));
            let error = list(order.other()).decode(&cursor, "file").unwrap_err().to_string();
            assert!(error.contains(&format!("with order={:?}, not", order.name())), "{error}");
            let error = list(order).decode(&cursor, "other file").unwrap_err().to_string();
            assert!(error.contains("belongs to another file"), "{error}");
        }
        assert_eq!(list(Order::Oldest).text(), "list", "cursors of earlier versions go on");
    }

    #[test]
    fn lists_that_differ_have_different_texts() {
        let texts = [
            describe("list", &[("a", &[]), ("b", &[])]),
            describe("list", &[("a", &["x"]), ("b", &[])]),
            describe("list", &[("a", &[]), ("b", &["x"])]),
            describe("list", &[("a", &["x b 1:y"])]),
            describe("list", &[("a", &["x"]), ("b", &["y"])]),
            describe("list", &[("a", &["x", "y"])]),
            describe("list", &[("a", &["x 1:y"])]),
            describe("list", &[("a", &[""])]),
            describe("lists", &[]),
        ];
        let texts = texts.map(std::result::Result::unwrap);
        let different: std::collections::HashSet<_> = texts.iter().collect();
        assert_eq!(different.len(), texts.len(), "{texts:?}");
    }

    #[test]
    fn a_snapshot_is_of_one_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::write(&path, b"").unwrap();
        let mut writer = connection::open_file(&path, &Trace::default()).unwrap();
        connection::configure_writer(&writer, connection::Synchronous::Normal).unwrap();
        migrations::migrate(&mut writer).unwrap();
        let reader = connection::open_reader(&path, &Trace::default()).unwrap();
        let runs = || -> i64 { reader.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap() };
        snapshot(&reader, |store_id| {
            assert_eq!(store_id.len(), 16);
            writer.execute_batch("INSERT INTO runs VALUES ('r', 't', 's', '', '', '{}', '', '', '', '')")?;
            assert_eq!(runs(), 0);
            Ok(())
        })
        .unwrap();
        assert_eq!(runs(), 1);
    }
}
