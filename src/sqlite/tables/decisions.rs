//! Decisions on items, changed without rewriting the items.

use rusqlite::Connection;

use crate::error::{ErrorKind, Result, StoreError, excerpt};
use crate::sqlite::tables::pruned::ITEM_PRUNED;

/// A decision on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDecision {
    /// The item.
    pub item_id: String,
    /// The decision; `None` undoes the one before.
    pub decision: Option<String>,
    /// Why, if that is said.
    pub reason: Option<String>,
}

/// Set an item's decision. `updated_at` says when a run last saw the item, which this is not.
pub(crate) fn decide(connection: &Connection, decision: &NewDecision) -> Result<()> {
    let decided = connection
        .prepare_cached(&format!(
            "UPDATE intel_items SET decision = ?, decision_reason = ? WHERE item_id = ? AND NOT {ITEM_PRUNED}"
        ))?
        .execute((&decision.decision, &decision.reason, &decision.item_id))?;
    if decided == 0 {
        let what = format!("there is no item {}; nothing was changed", excerpt(&decision.item_id));
        return Err(StoreError::new(ErrorKind::IntelItemNotFound, what));
    }
    Ok(())
}
