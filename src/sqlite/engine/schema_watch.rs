//! Whether another program has changed the schema of a file that is open.
//!
//! SQLite prepares a statement again if the schema is another one by then, and asks the authorizer, which here only notes
//! it. So nothing is looked at where nothing was prepared, and nothing is committed that ran on a schema not looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rusqlite::Connection;
use rusqlite::hooks::{AuthContext, Authorization};

use crate::error::Result;
use crate::sqlite::file::migrations;
use crate::sqlite::file::schema;
use crate::sqlite::file::trace;

/// What is known of the schema of a file that is written.
pub(crate) struct SchemaWatch {
    /// A statement was prepared since the schema's version was compared.
    prepared: Arc<AtomicBool>,
    /// The version of the schema that was found to be ours (<https://www.sqlite.org/pragma.html#pragma_schema_version>).
    found: AtomicI64,
}

impl SchemaWatch {
    pub(crate) fn new() -> Self {
        Self { prepared: Arc::default(), found: AtomicI64::new(i64::MIN) }
    }

    /// Note what the writer's connection prepares.
    pub(crate) fn watch(&self, connection: &mut Connection) -> Result<()> {
        let prepared = Arc::clone(&self.prepared);
        connection.authorizer(Some(move |_: AuthContext<'_>| {
            prepared.store(true, Ordering::Relaxed);
            Authorization::Allow
        }))?;
        // What was prepared before may have been on another schema.
        self.prepared.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Take this version of the schema for ours.
    pub(crate) fn trust(&self, version: i64) {
        self.found.store(version, Ordering::Relaxed);
    }

    /// Before a commit: fail if the schema runs what is not ours.
    pub(crate) fn look(&self, connection: &Connection) -> Result<()> {
        if !self.prepared.load(Ordering::Relaxed) {
            return Ok(());
        }
        trace::untraced(|| {
            let version = schema::version(connection)?;
            if self.found.load(Ordering::Relaxed) != version {
                migrations::refuse_what_runs(connection)?;
                self.trust(version);
            }
            // By these statements themselves, too.
            self.prepared.store(false, Ordering::Relaxed);
            Ok(())
        })
    }
}
