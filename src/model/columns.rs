//! The columns of items and of runs, in the order of the documented API; and all tables that are read.

/// An enum of columns, with the name of each.
macro_rules! columns {
    ($(#[$doc:meta])* $columns:ident { $($column:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $columns {
            $(#[doc = concat!("`", $name, "`")] $column),*
        }

        impl $columns {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$column),*];

            /// Their names.
            pub(crate) const NAMES: &'static [&'static str] = &[$($name),*];

            /// The column's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$column => $name),* }
            }

            /// The names of some of them, with commas between.
            pub(crate) fn names(columns: &[Self]) -> String {
                columns.iter().map(|column| column.name()).collect::<Vec<_>>().join(", ")
            }
        }

        impl From<$columns> for usize {
            fn from(column: $columns) -> Self {
                column as Self
            }
        }
    };
}

columns! {
    /// A column of [`crate::Items`].
    ItemColumn {
        ItemId = "item_id",
        RunId = "run_id",
        ItemType = "item_type",
        Title = "title",
        Summary = "summary",
        Claims = "claims_json",
        Evidence = "evidence_json",
        Scores = "scores_json",
        RiskFlags = "risk_flags_json",
        Explainability = "explainability_json",
        Decision = "decision",
        DecisionReason = "decision_reason",
        CreatedAt = "created_at",
    }
}

impl ItemColumn {
    /// Those that an item comes with.
    pub const NEW: &'static [Self] = match Self::ALL {
        [new @ .., Self::CreatedAt] => new,
        all => all,
    };

    /// The one of [`Self::NEW`] that is most like `name`; `None` if none is like it.
    #[must_use]
    pub fn nearest(name: &str) -> Option<Self> {
        if name.len() > 64 {
            return None;
        }
        let to = |known: &str| distance(&name.to_lowercase(), known);
        let near = |column: &Self| {
            let known = column.name();
            let steps = to(known).min(to(known.trim_end_matches("_json")));
            (steps <= (known.len() / 3).max(2)).then_some((steps, *column))
        };
        Self::NEW.iter().filter_map(near).min_by_key(|(steps, _)| *steps).map(|(_, column)| column)
    }

    /// Those that hold JSON.
    pub(crate) const JSON: [Self; 5] =
        [Self::Claims, Self::Evidence, Self::Scores, Self::RiskFlags, Self::Explainability];
}

columns! {
    /// A column of [`crate::Runs`].
    RunColumn {
        RunId = "run_id",
        RunType = "run_type",
        StartedAt = "started_at",
        Status = "status",
        SettingsSnapshot = "settings_snapshot_json",
        FinishedAt = "finished_at",
        Notes = "notes",
        HeartbeatAt = "heartbeat_at",
    }
}

/// A table, and its columns, the key first.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [&'static str],
}

/// All tables whose rows are read.
pub(crate) const TABLES: [Table; 3] = [
    Table { name: "runs", columns: RunColumn::NAMES },
    Table { name: "intel_items", columns: ItemColumn::NAMES },
    Table { name: "telemetry", columns: &["run_id", "telemetry_json", "created_at"] },
];

/// How many characters must be put in, left out or replaced to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, character) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        row[0] = left;
        for (cell, &opposite) in row[1..].iter_mut().zip(&other) {
            left = (diagonal + usize::from(character != opposite)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, left);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_column_is_the_one_that_was_meant() {
        for (name, meant) in [
            ("titel", Some("title")),
            ("Title", Some("title")),
            ("itemid", Some("item_id")),
            ("claim_json", Some("claims_json")),
            ("claims", Some("claims_json")),
            ("score", Some("scores_json")),
            ("riskflags_json", Some("risk_flags_json")),
            ("explainabilty", Some("explainability_json")),
            ("decison", Some("decision")),
            ("decision_resaon", Some("decision_reason")),
            ("type", None),
            ("url", None),
            ("", None),
            ("é\u{1f600}", None),
        ] {
            assert_eq!(ItemColumn::nearest(name).map(ItemColumn::name), meant, "{name}");
        }
        assert_eq!(ItemColumn::nearest(&"title".repeat(1000)), None);
    }

    #[test]
    fn distance_counts_the_edits() {
        for (one, other, edits) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, other), edits, "{one} {other}");
        }
    }
}
