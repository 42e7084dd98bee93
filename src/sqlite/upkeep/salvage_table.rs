//! Reading a table that may be damaged, by ranges of rowids.
//!
//! A scan goes up until it meets damage, and another comes down from the end. What is left between them is halved, until
//! the parts are short. Then the rows that the key's index names, and last all rowids that are left, are looked up one
//! by one. A damaged tree may lead in circles: whatever does not rise (or fall) ends a scan, and the number of look-ups
//! is limited.

use crate::error::{ErrorKind, Result};
use crate::memory;
use crate::model::columns::Table;
use crate::sqlite::upkeep::readable::is_required;
use crate::sqlite::upkeep::salvage_copying::Copying;
use crate::sqlite::upkeep::salvage_report::Salvage;
use crate::sqlite::upkeep::salvage_source::{BATCH, Key, Read, columns, damage, gaps, read, read_keys};

/// How many rowids of a table are looked up one by one, at the most.
const MOST_LOOKED_UP: u64 = 2_000_000;

/// How far a scan came.
enum Scanned {
    Through,
    UpTo(i64),
}

/// Copy what can be read of a table; say how many rows, `None` where it has no such table.
pub(crate) fn copy(salvage: &mut Salvage, table: &'static Table) -> Result<Option<u64>> {
    let known = columns(&salvage.parts.target, table.name)?;
    let found = columns(&salvage.parts.source, table.name);
    let found = match found {
        Ok(found)
            if table
                .columns
                .iter()
                .all(|name| !is_required(name) || found.iter().any(|found| found == name)) =>
        {
            found
        }
        other => {
            let why = match other {
                Ok(_) => "it is not there as a store has it".to_owned(),
                Err(error) if error.kind == ErrorKind::OutOfMemory => return Err(error),
                Err(error) => damage(error)?.to_string(),
            };
            salvage.report.remarks.push(format!("nothing of the table {} is kept: {why}", table.name));
            return Ok(None);
        }
    };
    let (columns, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|name| known.contains(name));
    for other in others {
        let remark =
            format!("the column {other:?} of {} is no part of a store, and was not copied", table.name);
        salvage.report.remarks.push(remark);
    }
    let mut copying = Copying::new(salvage, table, columns);
    copying.run()?;
    Ok(Some(copying.kept))
}

impl Copying<'_, '_> {
    fn run(&mut self) -> Result<()> {
        self.read_all()?;
        self.place()
    }

    fn read_all(&mut self) -> Result<()> {
        if let Scanned::UpTo(low) = self.scan(i64::MIN, i64::MAX, true)? {
            let high = match self.scan(low, i64::MAX, false)? {
                Scanned::UpTo(high) => high,
                Scanned::Through => low,
            };
            let (first, last) = self.bounds()?;
            self.halve(low.max(first - 1), high.min(last.saturating_add(1)))?;
            let whole = self.look_up_keys()?;
            self.look_up_gaps(first, last)?;
            if !whole {
                self.remark(format_args!(
                    "neither the rows of {} nor its index could be read in order: there may have been more rows",
                    self.table.name
                ))?;
            }
            Ok(())
        } else {
            self.look_up_keys()?;
            let (first, last) = self.copied()?;
            self.look_up_gaps(first, last)
        }
    }

    /// Keep the rows between two rowids, upward or downward, as far as they can be read.
    fn scan(&mut self, low: i64, high: i64, up: bool) -> Result<Scanned> {
        let (mut low, mut high) = (low, high);
        let order = if up { "" } else { " DESC" };
        // The ends themselves can be rowids, too.
        let mut above = if low == i64::MIN { ">=" } else { ">" };
        let mut below = if high == i64::MAX { "<=" } else { "<" };
        loop {
            let condition =
                format!("rowid {above} ?1 AND rowid {below} ?2 ORDER BY rowid{order} LIMIT {BATCH}");
            let Read { rows, stray, error } = self.read(&condition, &[low, high], Some(up))?;
            let rowids: Vec<i64> = rows.iter().map(|row| row.rowid).collect();
            for row in rows {
                if up {
                    (low, above) = (row.rowid, ">");
                } else {
                    (high, below) = (row.rowid, "<");
                }
                self.keep(row, false)?;
            }
            let strayed = stray.is_some();
            stray.map_or(Ok(()), |row| self.keep(row, false))?;
            self.make_sure(&rowids, strayed || error.is_some())?;
            self.salvage.tell(self.kept)?;
            if strayed || error.is_some() {
                return Ok(Scanned::UpTo(if up { low } else { high }));
            }
            if rowids.len() < BATCH {
                return Ok(Scanned::Through);
            }
        }
    }

    /// Look up the rows of a scan that met damage, and else the last, from which on the next goes on: a row with the rowid
    /// of another may have come before it.
    fn make_sure(&mut self, rowids: &[i64], all: bool) -> Result<()> {
        let Some((last, others)) = rowids.split_last() else { return Ok(()) };
        let kept = self.kept;
        let is_sure = self.look_up(*last)? == Ok(true) && self.kept == kept;
        if all || !is_sure {
            for rowid in others {
                let _ = self.look_up(*rowid)?;
            }
        }
        Ok(())
    }

    /// Scan the halves of a range that cannot be read as a whole, and so on.
    fn halve(&mut self, low: i64, high: i64) -> Result<()> {
        let mut ranges = vec![(low, high)];
        let mut scans = 0;
        while let Some((low, high)) = ranges.pop() {
            if high.saturating_sub(low) <= BATCH as i64 || scans > MOST_LOOKED_UP / 8 {
                continue;
            }
            let middle = low + (high - low) / 2;
            for (low, high) in [(low, middle), (middle - 1, high)] {
                scans += 1;
                let Scanned::UpTo(from) = self.scan(low, high, true)? else { continue };
                let Scanned::UpTo(to) = self.scan(from, high, false)? else { continue };
                ranges.push((from, to));
            }
        }
        Ok(())
    }

    /// Between which rowids there can be rows: what the key's index names, or else as many as fit into the file.
    fn bounds(&mut self) -> Result<(i64, i64)> {
        let (mut first, mut last) = self.copied()?;
        let mut named = false;
        let whole = self.keys(|_, Key { rowid, .. }| {
            named = true;
            (first, last) = (first.min(rowid), last.max(rowid));
            Ok(())
        })?;
        if !whole || !named {
            (first, last) = (first.min(1), last.max(0).saturating_add(self.salvage.bytes / 8));
        }
        Ok((first, last))
    }

    /// Go through what the index of the key names, from both ends as far as it can be read; whether that was all.
    fn keys(&mut self, mut look: impl FnMut(&mut Self, Key) -> Result<()>) -> Result<bool> {
        for up in [true, false] {
            let mut last: Option<Vec<u8>> = None;
            loop {
                let (found, broken) = read_keys(&self.salvage.parts.source, self.table, last.as_deref(), up)?;
                let count = found.len();
                for key in found {
                    last = Some(memory::bytes(&key.text)?);
                    look(self, key)?;
                }
                self.salvage.tell(self.kept)?;
                if broken {
                    break;
                }
                if count < BATCH {
                    return Ok(up);
                }
            }
        }
        Ok(false)
    }

    /// Look up the rows that the index of the key names and that are not there yet; whether it was read to its end.
    fn look_up_keys(&mut self) -> Result<bool> {
        self.keys(|copying, Key { text, rowid }| {
            if copying.settled.contains(&rowid) || copying.key_at(rowid)?.is_some_and(|key| key == text) {
                return Ok(());
            }
            let found = copying.look_up(rowid)?;
            // It may have been found elsewhere.
            if copying.has_key(&text)? || copying.settled.contains(&rowid) {
                return Ok(());
            }
            let why = match found {
                Ok(true) => "its index names it, but another row is in its place".to_owned(),
                Ok(false) => "its index names it, but it is not in the table".to_owned(),
                Err(why) => why,
            };
            copying.settle(rowid)?;
            copying.lose(rowid, Some(memory::lossy(&text)?), None, why)
        })
    }

    /// Look up each rowid that is not there yet, the shortest gaps first.
    fn look_up_gaps(&mut self, first: i64, last: i64) -> Result<()> {
        let mut gaps = gaps(&self.salvage.parts.target, self.table, first, last)?;
        gaps.sort_unstable_by_key(|(from, to)| (to.saturating_sub(*from), *from));
        let (mut left, mut damaged) = (MOST_LOOKED_UP, Vec::<(i64, i64)>::new());
        'gaps: for (number, (from, to)) in gaps.iter().copied().enumerate() {
            for rowid in from..=to {
                if left == 0 {
                    if !damaged.is_empty() {
                        self.remark(format_args!(
                            "rowids {rowid} to {to} of {}, and {} longer gaps, were not looked up one by one",
                            self.table.name,
                            gaps.len() - number - 1
                        ))?;
                    }
                    break 'gaps;
                }
                left -= 1;
                if left.is_multiple_of(1024) {
                    self.salvage.tell(self.kept)?;
                }
                if self.settled.contains(&rowid) || self.look_up(rowid)?.is_ok() {
                    continue;
                }
                match damaged.last_mut() {
                    Some((_, last)) if *last + 1 == rowid => *last = rowid,
                    _ => memory::push(&mut damaged, (rowid, rowid))?,
                }
            }
        }
        damaged.sort_unstable();
        // That an index was read to its end does not say that it names all rows that there were.
        for (from, to) in damaged {
            self.remark(format_args!(
                "rowids {from} to {to} of {} cannot be read: up to {} rows that no index names",
                self.table.name,
                to - from + 1
            ))?;
        }
        Ok(())
    }

    fn remark(&mut self, remark: std::fmt::Arguments<'_>) -> Result<()> {
        let remark = memory::format(remark)?;
        Ok(memory::push(&mut self.salvage.report.remarks, remark)?)
    }

    /// Keep the row of this rowid; whether there is one, or why it cannot be read.
    fn look_up(&mut self, rowid: i64) -> Result<Result<bool, String>> {
        let Read { rows, error, .. } = self.read("rowid = ?1", &[rowid], None)?;
        let found = !rows.is_empty();
        for row in rows {
            self.keep(row, true)?;
        }
        Ok(if found { Ok(true) } else { error.map_or(Ok(false), |error| Err(error.to_string())) })
    }

    fn read(&self, condition: &str, values: &[i64], up: Option<bool>) -> Result<Read> {
        read(&self.salvage.parts.source, self.table, &self.columns, condition, values, up)
    }
}
