//! Which end of a list comes first.

use std::cmp::Ordering;

/// Which end of a list comes first, by the order of recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest row.
    Oldest,
    /// The newest row.
    Newest,
}

impl Order {
    /// Both, by their names.
    pub const ALL: [Self; 2] = [Self::Oldest, Self::Newest];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Newest => "newest",
        }
    }

    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Oldest => Self::Newest,
            Self::Newest => Self::Oldest,
        }
    }

    /// What it is in ORDER BY.
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Oldest => "ASC",
            Self::Newest => "DESC",
        }
    }

    /// What compares a rowid with one that it comes behind, and with one that it is not behind.
    pub(crate) const fn bounds(self) -> [&'static str; 2] {
        match self {
            Self::Oldest => [">", "<="],
            Self::Newest => ["<", ">="],
        }
    }

    /// The rowid so many steps behind another.
    pub(crate) const fn step(self, rowid: i64, steps: i64) -> i64 {
        match self {
            Self::Oldest => rowid.saturating_add(steps),
            Self::Newest => rowid.saturating_sub(steps),
        }
    }

    /// How two rows come, of which these are the places.
    pub(crate) fn compare<T: Ord>(self, a: &T, b: &T) -> Ordering {
        match self {
            Self::Oldest => a.cmp(b),
            Self::Newest => b.cmp(a),
        }
    }
}
