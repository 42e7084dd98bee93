//! Items by type and by decision, found by the one index on both.
//!
//! The index has the items of one type and one decision in the order of their times: a group. An index on each of the two
//! columns would have whole lists in that order, and make a batch of new items a third slower.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::error::Result;
use crate::memory;
use crate::sqlite::file::migrations;
use crate::sqlite::lists::clause::Clause;
use crate::sqlite::lists::item_filter::{Decision, ItemFilter};
use crate::sqlite::tables::cells::Text;

/// The most groups that are merged. With more, finding and merging them costs more than a scan of all items, unless
/// hardly any item passes.
const MOST_GROUPS: usize = 50;

const NEXT_TYPE: &str = "SELECT item_type FROM intel_items WHERE item_type >= ? ORDER BY item_type LIMIT 1";
const NEXT_DECISION: &str =
    "SELECT decision FROM intel_items WHERE item_type = ? AND decision >= ? ORDER BY decision LIMIT 1";

/// The items of one type and one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) item_type: Vec<u8>,
    pub(crate) decision: Option<Vec<u8>>,
}

impl Group {
    /// What finds its items in the index, those of a filter's time.
    pub(crate) fn of_time<'a>(&'a self, filter: &'a ItemFilter) -> Vec<Clause<'a>> {
        let decision = self.decision.as_deref().map_or(ValueRef::Null, ValueRef::Text);
        let of_group = [("item_type = ?", ValueRef::Text(&self.item_type)), ("decision IS ?", decision)]
            .map(|(condition, value)| (condition, Some(ToSqlOutput::Borrowed(value))));
        of_group.into_iter().chain(filter.of_time()).collect()
    }
}

/// The groups that pass a filter on type or decision, or on both; `None` if there are too many, or if the file is an
/// older one without their index.
pub(crate) fn groups(connection: &Connection, filter: &ItemFilter) -> Result<Option<Vec<Group>>> {
    let types = match &filter.item_type {
        Some(item_type) if migrations::is_latest(connection)? => vec![memory::bytes(item_type.as_bytes())?],
        Some(_) => return Ok(None),
        None => match item_types(connection)? {
            Some(types) => types,
            None => return Ok(None),
        },
    };
    let mut groups = Vec::new();
    for item_type in types {
        let mut decisions = Vec::new();
        match &filter.decision {
            Some(Decision::Is(decision)) => decisions.push(Some(memory::bytes(decision.as_bytes())?)),
            Some(Decision::Undecided) => decisions.push(None),
            Some(Decision::Made) | None => {
                if filter.decision.is_none() {
                    decisions.push(None);
                }
                let made = distinct(connection, NEXT_DECISION, &[&item_type])?;
                decisions.extend(made.into_iter().map(Some));
            }
        }
        for decision in decisions {
            groups.push(Group { item_type: memory::bytes(&item_type)?, decision });
        }
        if groups.len() > MOST_GROUPS {
            return Ok(None);
        }
    }
    Ok(Some(groups))
}

/// The types that items have; `None` where there are too many, or where the file is an older one that has no index of
/// them.
pub(crate) fn item_types(connection: &Connection) -> Result<Option<Vec<Vec<u8>>>> {
    if !migrations::is_latest(connection)? {
        return Ok(None);
    }
    let types = distinct(connection, NEXT_TYPE, &[])?;
    Ok((types.len() <= MOST_GROUPS).then_some(types))
}

/// The different values of a column, each found by a seek behind the one before; no more than tell that there are too
/// many.
fn distinct(connection: &Connection, next: &str, within: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
    let mut statement = connection.prepare_cached(next)?;
    let (mut found, mut from) = (Vec::new(), Vec::new());
    while found.len() <= MOST_GROUPS {
        let values = within.iter().copied().chain([from.as_slice()]).map(|text| Text(Some(text)));
        let mut rows = statement.query(params_from_iter(values))?;
        let Some(row) = rows.next()? else { break };
        let value = memory::bytes(row.get_ref(0)?.as_bytes().unwrap_or_default())?;
        // No text is between one and the same with a NUL at its end.
        from.clear();
        memory::append(&mut from, &value)?;
        memory::append(&mut from, b"\0")?;
        found.push(value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::lists::items::tests::{plan, with_items};

    #[test]
    fn groups_are_found_by_seeks() {
        let connection = with_items(0);
        for sql in [NEXT_TYPE, NEXT_DECISION] {
            let [step] = plan(&connection, sql).try_into().unwrap();
            assert!(
                step.starts_with("SEARCH intel_items USING COVERING INDEX idx_intel_items_item_type ("),
                "{step}"
            );
        }
    }

    #[test]
    fn groups_are_those_that_there_are() {
        let connection = with_items(0);
        let insert = |item_type: &str, decision: Option<&str>| {
            connection
                .execute(
                    "INSERT INTO intel_items VALUES (?3, 'run', ?1, '', '', '', '', '', '', '', ?2, NULL, 'now', NULL)",
                    (item_type, decision, format!("{item_type:?} {decision:?}")),
                )
                .unwrap();
        };
        let all = |decision| {
            let filter = ItemFilter { decision: Some(decision), ..Default::default() };
            groups(&connection, &filter).unwrap().map(|groups| groups.len())
        };
        assert_eq!(all(Decision::Undecided), Some(0));
        for item_type in ["", "a", "a\0", "b"] {
            for decision in [None, Some(""), Some("x"), Some("x\0"), Some("é")] {
                insert(item_type, decision);
            }
        }
        assert_eq!(all(Decision::Undecided), Some(4));
        assert_eq!(all(Decision::Is("x".into())), Some(4));
        assert_eq!(all(Decision::Made), Some(16));
        let of_type = |item_type: &str| {
            let filter = ItemFilter { item_type: Some(item_type.into()), ..Default::default() };
            groups(&connection, &filter).unwrap().map(|groups| groups.len())
        };
        assert_eq!(of_type("a"), Some(5));
        (0..MOST_GROUPS - 5).for_each(|number| insert("a", Some(&number.to_string())));
        assert_eq!(of_type("a"), Some(MOST_GROUPS));
        insert("a", Some("one more"));
        assert_eq!(of_type("a"), None);
        assert_eq!(all(Decision::Made), None);
        connection
            .execute("UPDATE intel_items SET item_type = CAST('blob' AS BLOB) WHERE item_type = 'b'", [])
            .unwrap();
        assert_eq!(item_types(&connection).unwrap(), None);
    }
}
