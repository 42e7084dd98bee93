//! Copying what can be read of a damaged file into a new one.
//!
//! The file itself is not touched, nor is what belongs to it ([`salvage_opening`]). Each table is read by ranges of rowids ([`salvage_table`]), and a row that can be read is
//! kept. What of it no store could decode is mended, and reported.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Caller;
use crate::model::columns::TABLES;
use crate::sqlite::file::connection;
use crate::sqlite::file::creation;
use crate::sqlite::file::fork::Own;
use crate::sqlite::file::migrations;
use crate::sqlite::file::place::Place;
use crate::sqlite::file::platform;
use crate::sqlite::file::sizes;
use crate::sqlite::file::trace::Trace;
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::backup::{Destination, Partial};
use crate::sqlite::upkeep::salvage_opening;
use crate::sqlite::upkeep::salvage_report::{Callbacks, Loss, Parts, Salvage, Salvaged};
use crate::sqlite::upkeep::salvage_table;

/// What SQLite itself needs rows of: of its schema, for one.
const LEAST_ROW_BYTES: i64 = 1 << 20;

/// Copy what can be read of the file at `path` into a new file `dest`. `path` is never written to, and `dest` is whole or
/// not there.
///
/// # Errors
/// [`ErrorKind::CannotOpen`] where `path` cannot be read, or `dest` is there or cannot be created;
/// [`ErrorKind::NotADatabase`], [`ErrorKind::CorruptDatabase`] and [`ErrorKind::ForeignDatabase`] where nothing of
/// a store can be found in it; [`ErrorKind::StoreBusy`] where somebody writes to it meanwhile;
/// [`ErrorKind::DiskFull`], [`ErrorKind::StorageIO`], [`ErrorKind::Interrupted`], and what a callback fails with.
pub fn salvage<'a>(
    caller: &Caller<'a>,
    path: &Path,
    dest: &Path,
    callbacks: Callbacks<'a>,
) -> Result<Salvaged> {
    run(caller, path, dest, callbacks).map_err(|error| error.during(format!("salvage {}", path.display())))
}

fn run<'a>(caller: &Caller<'a>, path: &Path, dest: &Path, callbacks: Callbacks<'a>) -> Result<Salvaged> {
    let path =
        platform::resolve(path).and_then(|path| path.canonicalize()).map_err(StoreError::cannot_open)?;
    let file = fs::metadata(&path).map_err(StoreError::cannot_open)?;
    sizes::refuse_irregular(&path)?;
    let of_dest = |error: StoreError| error.during(format!("dest {}", dest.display()));
    let source = Place::new(path.clone(), Trace::default())?;
    let dest = Destination::find(dest, &source, false, "choose another name").map_err(of_dest)?;
    let wait = Wait::new(*caller, Duration::MAX);
    let partial = Partial::create(&dest.path, salvage_opening::MODE).map_err(of_dest)?;
    let opened =
        salvage_opening::open(&path, &dest.path).map_err(|error| creation::explain(error, &path, true))?;
    let remark = opened.remark.clone();
    let mut target = connection::open_copy(&partial.path, &Trace::default())?;
    connection::shape_new_file(&target)?;
    migrations::migrate(&mut target)?;
    target.pragma_update(None, "foreign_keys", false)?;
    target.execute_batch("BEGIN")?;
    let bytes = i64::try_from(file.len() + sizes::size(&path, "-wal")).unwrap_or(i64::MAX);
    connection::limit_row_bytes(&opened.source, bytes.max(LEAST_ROW_BYTES))?;
    let report = Salvaged { remarks: opened.remark.into_iter().collect(), ..Salvaged::default() };
    let parts = Own::new(Parts { source: opened.source, target });
    let mut salvage = Salvage { parts, callbacks, wait, report, bytes };
    salvage.copy().map_err(|error| match remark {
        Some(remark) if error.kind == ErrorKind::ForeignDatabase => error.note(remark),
        _ => error,
    })?;
    let Salvage { parts, report, .. } = salvage;
    parts.target.execute_batch("COMMIT")?;
    drop(parts);
    opened.still.map_or(Ok(()), |still| still.confirm(&path))?;
    partial.publish(&dest)?;
    Ok(report)
}

impl Salvage<'_> {
    fn copy(&mut self) -> Result<()> {
        let mut found = false;
        for table in &TABLES {
            let kept = salvage_table::copy(self, table)?;
            found |= kept.is_some();
            self.report.kept.push((table.name, kept.unwrap_or_default()));
        }
        if !found {
            let what = "no table of a store can be found in it";
            return Err(StoreError::new(ErrorKind::ForeignDatabase, what));
        }
        self.stand_in()?;
        self.name_others()
    }

    /// Have a run stand in for each that items or telemetry name, and that is not there: they could not be asked for.
    fn stand_in(&mut self) -> Result<()> {
        let mut statement = self.parts.target.prepare(
            "INSERT INTO runs(run_id, run_type, started_at, status, settings_snapshot_json, notes)
             SELECT run_id, 'salvaged', min(created_at), 'lost', '{}', 'stands in for a run that could not be read'
             FROM (SELECT run_id, created_at FROM intel_items UNION ALL SELECT run_id, created_at FROM telemetry)
             WHERE run_id NOT IN (SELECT run_id FROM runs) GROUP BY run_id RETURNING run_id",
        )?;
        let run_ids =
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        self.report.mended.extend(run_ids.into_iter().map(|run_id| Loss {
            table: "runs",
            rowid: None,
            id: Some(run_id),
            column: None,
            why: "items or telemetry of it are kept, but the run could not be read: one of status 'lost' stands in for it".into(),
        }));
        Ok(())
    }

    /// Tables of somebody's own are left where they are.
    fn name_others(&mut self) -> Result<()> {
        let names =
            self.parts.source.prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table'").and_then(
                |mut names| names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>(),
            );
        let ours = |name: &str| TABLES.iter().any(|table| table.name == name) || name == "store_identity";
        for name in names.unwrap_or_default() {
            if !ours(&name) && !name.starts_with("sqlite_") {
                self.report
                    .remarks
                    .push(format!("the table {name:?} is no part of a store, and was not copied"));
            }
        }
        Ok(())
    }
}
