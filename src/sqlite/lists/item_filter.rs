//! Filters of items.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::error::Result;
use crate::json::condition::Condition;
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;
use crate::model::rows::Fields;
use crate::sqlite::lists::clause::{Clause, given};
use crate::sqlite::lists::cursor;
use crate::sqlite::tables::cells::json_of_blob;
use crate::sqlite::tables::pruned;

/// The filters of a list or a count of items; an item must pass all that are given.
#[derive(Debug, Clone, Default)]
pub struct ItemFilter {
    /// The run that they were first recorded by.
    pub run_id: Option<String>,
    /// What kind of item they are.
    pub item_type: Option<String>,
    /// What was decided on them.
    pub decision: Option<Decision>,
    /// The earliest `created_at`.
    pub since: Option<String>,
    /// What `created_at` is before.
    pub until: Option<String>,
    /// What must hold, all of it, for their JSON.
    pub conditions: Arc<Vec<Condition>>,
}

/// What was decided on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This.
    Is(String),
    /// Something.
    Made,
    /// Nothing.
    Undecided,
}

impl Decision {
    /// The condition on the column `decision`. What is not NULL is text, and so not below the empty one, which an
    /// index can find where it cannot find NOT NULL.
    pub(crate) fn clause(&self) -> &'static str {
        match self {
            Self::Is(_) => "decision = ?",
            Self::Made => "decision >= ''",
            Self::Undecided => "decision IS NULL",
        }
    }

    /// The decision that the filter names, if it names one.
    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Self::Is(decision) => Some(decision),
            Self::Made | Self::Undecided => None,
        }
    }

    pub(crate) fn is(&self, found: Option<&[u8]>) -> bool {
        match self {
            Self::Is(decision) => found == Some(decision.as_bytes()),
            Self::Made => found.is_some(),
            Self::Undecided => found.is_none(),
        }
    }
}

impl ItemFilter {
    /// The items of one run.
    pub fn of_run(run_id: &str) -> Self {
        Self { run_id: Some(run_id.to_owned()), ..Self::default() }
    }

    /// The condition on the run.
    pub(crate) fn of_run_id(&self) -> impl Iterator<Item = Clause<'_>> {
        given([("run_id = ?", self.run_id.as_deref())])
    }

    /// The conditions on the time.
    pub(crate) fn of_time(&self) -> impl Iterator<Item = Clause<'_>> {
        given([("created_at >= ?", self.since.as_deref()), ("created_at < ?", self.until.as_deref())])
    }

    /// The conditions on type and decision.
    pub(crate) fn of_kind(&self) -> impl Iterator<Item = Clause<'_>> {
        let decision = self.decision.as_ref().map(|wanted| (wanted.clause(), wanted.value().map(Into::into)));
        given([("item_type = ?", self.item_type.as_deref())]).chain(decision)
    }

    /// The conditions on the run and the time.
    pub(crate) fn of_run_and_time(&self) -> Vec<Clause<'_>> {
        self.of_run_id().chain(self.of_time()).collect()
    }

    /// The conditions on all columns but those of JSON.
    pub(crate) fn clauses(&self) -> Vec<Clause<'_>> {
        self.of_run_id().chain(self.of_kind()).chain(self.of_time()).collect()
    }

    /// Whether the index on types and decisions finds the items, rather than one on runs or times.
    pub(crate) fn is_by_kind(&self) -> bool {
        self.run_id.is_none() && (self.item_type.is_some() || self.decision.is_some())
    }

    /// As [`cursor::describe`] wants it, for the list of this name.
    pub(crate) fn describe(&self, list: &str) -> Result<String, OutOfMemory> {
        let mut conditions = memory::collect(self.conditions.iter().map(Condition::describe))?;
        // A mapping has no order.
        conditions.sort_unstable();
        let conditions = memory::collect(conditions.iter().map(|each| Ok::<_, OutOfMemory>(each.as_str())))?;
        let undecided = match self.decision {
            Some(Decision::Undecided) => Some("true"),
            Some(Decision::Made) => Some("false"),
            Some(Decision::Is(_)) | None => None,
        };
        cursor::describe(
            list,
            &[
                ("run_id", self.run_id.as_deref().as_slice()),
                ("item_type", self.item_type.as_deref().as_slice()),
                ("decision", self.decision.as_ref().and_then(Decision::value).as_slice()),
                ("undecided", undecided.as_slice()),
                ("since", self.since.as_deref().as_slice()),
                ("until", self.until.as_deref().as_slice()),
                ("where", &conditions),
            ],
        )
    }
}

/// The row filter: evaluates the filters that no index covers.
pub(crate) struct RowFilter<'a> {
    filter: &'a ItemFilter,
    connection: &'a Connection,
    /// Whether a run is being pruned: then each row's run has to be looked up.
    pruning: bool,
    /// The run that was looked up last, and whether it is one.
    last_run: Option<(Vec<u8>, bool)>,
}

impl<'a> RowFilter<'a> {
    pub(crate) fn new(connection: &'a Connection, filter: &'a ItemFilter) -> Result<Self> {
        Ok(Self { filter, connection, pruning: pruned::is_any_pruned(connection)?, last_run: None })
    }

    /// Whether the filter is on a run that is being pruned.
    pub(crate) fn lets_nothing_through(&mut self) -> Result<bool> {
        match &self.filter.run_id {
            Some(run_id) if self.pruning => self.is_pruned(run_id.as_bytes()),
            _ => Ok(false),
        }
    }

    /// The columns that have to be there.
    pub(crate) fn columns(&self) -> Fields {
        let mut columns = Fields::default();
        if self.filter.item_type.is_some() {
            columns = columns.with(ItemColumn::ItemType);
        }
        if self.filter.decision.is_some() {
            columns = columns.with(ItemColumn::Decision);
        }
        if self.pruning {
            columns = columns.with(ItemColumn::RunId);
        }
        self.filter.conditions.iter().fold(columns, |columns, condition| columns.with(condition.column()))
    }

    /// Whether a row, its columns in the order of [`crate::Items`], is one that the filter lets through. That it is of
    /// the right run and time is taken for granted.
    pub(crate) fn keeps(&mut self, row: &Row) -> Result<bool> {
        let text = |column: ItemColumn| -> Result<Option<&[u8]>> {
            match row.get_ref(column as usize)? {
                ValueRef::Text(text) => Ok(Some(text)),
                ValueRef::Blob(json) if ItemColumn::JSON.contains(&column) => Ok(Some(json_of_blob(json))),
                // Another program can have put what is no text there, which is nothing that a filter knows.
                _ => Ok(None),
            }
        };
        if let Some(item_type) = &self.filter.item_type
            && text(ItemColumn::ItemType)? != Some(item_type.as_bytes())
        {
            return Ok(false);
        }
        if let Some(decision) = &self.filter.decision
            && !decision.is(text(ItemColumn::Decision)?)
        {
            return Ok(false);
        }
        if self.pruning && self.is_pruned(text(ItemColumn::RunId)?.unwrap_or_default())? {
            return Ok(false);
        }
        for condition in self.filter.conditions.iter() {
            if !condition.holds(text(condition.column())?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_pruned(&mut self, run_id: &[u8]) -> Result<bool> {
        if let Some((last, pruned)) = &self.last_run
            && last == run_id
        {
            return Ok(*pruned);
        }
        let pruned = pruned::is_pruned(self.connection, run_id)?;
        self.last_run = Some((memory::bytes(run_id)?, pruned));
        Ok(pruned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::condition::{Scalar, Test};

    #[test]
    fn filters_that_differ_are_of_different_lists() {
        let condition = |path: &str| Condition::new(path.as_bytes(), Test::Equal(Scalar::Null)).unwrap();
        let filters = [
            ItemFilter::default(),
            ItemFilter::of_run("a"),
            ItemFilter { item_type: Some("a".into()), ..Default::default() },
            ItemFilter { decision: Some(Decision::Is("a".into())), ..Default::default() },
            ItemFilter { decision: Some(Decision::Is("true".into())), ..Default::default() },
            ItemFilter { decision: Some(Decision::Made), ..Default::default() },
            ItemFilter { decision: Some(Decision::Undecided), ..Default::default() },
            ItemFilter { since: Some("a".into()), ..Default::default() },
            ItemFilter { until: Some("a".into()), ..Default::default() },
            ItemFilter { conditions: vec![condition("scores_json.a")].into(), ..Default::default() },
            ItemFilter { conditions: vec![condition("scores_json.b")].into(), ..Default::default() },
            ItemFilter {
                conditions: vec![condition("scores_json.a"), condition("scores_json.b")].into(),
                ..Default::default()
            },
        ];
        let texts: std::collections::HashSet<_> =
            filters.iter().map(|filter| filter.describe("list").unwrap()).collect();
        assert_eq!(texts.len(), filters.len(), "{texts:?}");
        let conditions = vec![condition("scores_json.b"), condition("scores_json.a")];
        assert_eq!(
            ItemFilter { conditions: conditions.into(), ..Default::default() }.describe("list").unwrap(),
            filters[11].describe("list").unwrap()
        );
    }
}
