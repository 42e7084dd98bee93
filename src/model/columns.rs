//! The columns of items and of runs, in the order of the documented API.

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
