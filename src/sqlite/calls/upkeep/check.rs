//! Checking the file for problems.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::{ErrorKind, Result};
use crate::memory;
use crate::model::caller::Caller;
use crate::model::columns::TABLES;
use crate::model::time;
use crate::sqlite::calls::{Sql, Store};
use crate::sqlite::file::wait::Wait;
use crate::sqlite::upkeep::check::{self, Finding};

impl Store {
    /// Check the file's structure, its references and each cell that a read decodes, and find runs that are `running`
    /// without activity for `stale_after`, runs that a prune has hidden and cannot delete, and syncs of this store that
    /// failed and were not made up for. `is_json` returns the problem of a text that is not JSON; it is called with no
    /// lock held.
    ///
    /// # Errors
    /// [`ErrorKind::StoreBusy`], [`ErrorKind::StoreClosed`], [`ErrorKind::Interrupted`], and what `is_json` fails with.
    pub fn check(
        &self,
        caller: &Caller,
        stale_after: Duration,
        is_json: &dyn Fn(&[u8]) -> Result<Option<String>>,
    ) -> Result<Vec<Finding>> {
        self.look_for_faults(caller, stale_after, is_json).map_err(|error| error.during("check"))
    }

    fn look_for_faults(
        &self,
        caller: &Caller,
        stale_after: Duration,
        is_json: &dyn Fn(&[u8]) -> Result<Option<String>>,
    ) -> Result<Vec<Finding>> {
        let now = time::clock();
        let (since, now) = (time::before(now, stale_after), time::isoformat(now));
        let mut found = self.look_on_worker(caller, check::integrity)?;
        found.extend(self.connections()?.place.as_ref().and_then(|place| Finding::hard_link(place)));
        found.extend(self.look_on_worker(caller, check::orphans)?);
        let cells = self.look_at_cells(caller, is_json, &mut found);
        found.extend(or_found(cells.map(|()| Vec::new()))?);
        found.extend(self.look_on_worker(caller, |connection, stop| {
            check::stale_runs(connection, [&since, &now], stop)
        })?);
        found.extend(self.look_on_worker(caller, check::held_runs)?);
        if let Some(writer) = &self.connections()?.writer {
            found.extend(
                Some(writer.counters.open_failures()).filter(|failed| *failed > 0).map(Finding::sync),
            );
        }
        Ok(found)
    }

    fn look_on_worker(
        &self,
        caller: &Caller,
        look: impl Fn(&mut Connection, &Arc<AtomicBool>) -> Result<Vec<Finding>> + Send + Sync,
    ) -> Result<Vec<Finding>> {
        or_found(self.on_worker_until_closed("check", caller, |caller, stop| {
            self.read(caller, Sql::Ours, |connection| look(connection, stop))
        }))
    }

    fn look_at_cells(
        &self,
        caller: &Caller,
        is_json: &dyn Fn(&[u8]) -> Result<Option<String>>,
        found: &mut Vec<Finding>,
    ) -> Result<()> {
        let patience = Wait::new(*caller, Duration::MAX);
        for table in &TABLES {
            let mut after = Some(i64::MIN);
            while let Some(behind) = after {
                patience.slice()?;
                let (cells, last) =
                    self.read(caller, Sql::Ours, |connection| check::slice(connection, table, behind))?;
                for cell in &cells {
                    let fault = match &cell.json {
                        Ok(text) => is_json(text)?,
                        Err(what) => Some(what.clone()),
                    };
                    if let Some(why) = fault {
                        memory::push(found, Finding::cell(table.name, cell, &why))?;
                    }
                }
                after = last;
            }
        }
        Ok(())
    }
}

/// A file that is too damaged to be read is a finding.
fn or_found(result: Result<Vec<Finding>>) -> Result<Vec<Finding>> {
    match result {
        Err(error) if error.kind == ErrorKind::CorruptDatabase || error.is_of_schema() => {
            Ok(vec![Finding::integrity(error.to_string())])
        }
        other => other,
    }
}
