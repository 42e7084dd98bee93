//! What finds the items of a filter's time behind a position.

use rusqlite::{Statement, ToSql};

use crate::error::Result;
use crate::sqlite::lists::cursor::Position;
use crate::sqlite::lists::item_filter::ItemFilter;
use crate::sqlite::lists::order::Order;

/// What finds the items of a time in the order of an index.
pub(crate) struct Seek<'a> {
    pub(crate) clause: String,
    pub(crate) time: Option<&'a str>,
    pub(crate) rowid: Option<i64>,
    pub(crate) until: Option<&'a str>,
}

/// What finds the items of a filter's time behind a position, one after the other.
pub(crate) fn seeks<'a>(filter: &'a ItemFilter, order: Order, after: Option<&'a Position>) -> Vec<Seek<'a>> {
    let between = |from: Option<(&'static str, &'a str)>, until: Option<&'a str>| {
        let clauses: Vec<&str> =
            from.map(|(clause, _)| clause).into_iter().chain(until.map(|_| "created_at < :until")).collect();
        let clause = if clauses.is_empty() { "TRUE".to_owned() } else { clauses.join(" AND ") };
        Seek { clause, time: from.map(|(_, time)| time), rowid: None, until }
    };
    let since = filter.since.as_deref().map(|since| ("created_at >= :time", since));
    let until = filter.until.as_deref();
    let Some(after) = after else { return vec![between(since, until)] };
    let (rowid, rest) = match order {
        Order::Oldest => ("rowid > :rowid", between(Some(("created_at > :time", &after.time)), until)),
        Order::Newest => ("rowid < :rowid", between(since, Some(&after.time))),
    };
    // A whole batch has one time. Two seeks find the place within it, where comparing the pair would scan it.
    let same_time = Seek {
        clause: format!("created_at = :time AND {rowid}"),
        time: Some(&after.time),
        rowid: Some(after.rowid),
        until: None,
    };
    vec![same_time, rest]
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
