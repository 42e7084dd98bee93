//! What finds the items of a filter's time behind a position.

use rusqlite::{Statement, ToSql};

use crate::error::Result;
use crate::sqlite::lists::cursor::Position;
use crate::sqlite::lists::item_filter::ItemFilter;

/// What finds the items of a time in the order of an index.
pub(crate) struct Seek<'a> {
    pub(crate) clause: String,
    pub(crate) time: Option<&'a str>,
    pub(crate) rowid: Option<i64>,
    pub(crate) until: Option<&'a str>,
}

/// What finds the items of a filter's time behind a position, one after the other.
pub(crate) fn seeks<'a>(filter: &'a ItemFilter, after: Option<&'a Position>) -> Vec<Seek<'a>> {
    let until = filter.until.as_deref();
    let seek = |beginning: Option<&str>, time| {
        let clauses: Vec<&str> = beginning.into_iter().chain(until.map(|_| "created_at < :until")).collect();
        let clause = if clauses.is_empty() { "TRUE".to_owned() } else { clauses.join(" AND ") };
        Seek { clause, time, rowid: None, until }
    };
    let Some(after) = after else {
        let since = filter.since.as_deref();
        return vec![seek(since.map(|_| "created_at >= :time"), since)];
    };
    // A whole batch has one time. Two seeks find the place within it, where comparing the pair would scan it.
    let same_time = Seek {
        clause: "created_at = :time AND rowid > :rowid".to_owned(),
        time: Some(&after.time),
        rowid: Some(after.rowid),
        until: None,
    };
    vec![same_time, seek(Some("created_at > :time"), Some(&after.time))]
}

/// Bind those of these values that the statement has parameters for.
pub(crate) fn bind(statement: &mut Statement, values: &[(&str, &dyn ToSql)]) -> Result<()> {
    for (name, value) in values {
        if let Some(parameter) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(parameter, value)?;
        }
    }
    Ok(())
}
