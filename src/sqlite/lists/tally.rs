//! How often each value of a column came.

use std::cmp::Reverse;
use std::collections::HashMap;

/// How often each value of a column came, NULL among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    texts: HashMap<Vec<u8>, u64>,
    nulls: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, value: Option<&[u8]>, count: u64) {
        match value {
            None => self.nulls += count,
            Some(text) => match self.texts.get_mut(text) {
                Some(known) => *known += count,
                None => {
                    self.texts.insert(text.to_vec(), count);
                }
            },
        }
    }

    pub(crate) fn subtract(&mut self, value: Option<&[u8]>, count: u64) {
        let known = match value {
            None => Some(&mut self.nulls),
            Some(text) => self.texts.get_mut(text),
        };
        if let Some(known) = known {
            *known = known.saturating_sub(count);
        }
    }

    /// The values that came, the most frequent first, and of those that came as often by their names; NULL, `None`,
    /// behind all names.
    pub fn sorted(&self) -> Vec<(Option<&[u8]>, u64)> {
        let texts = self.texts.iter().map(|(text, count)| (Some(text.as_slice()), *count));
        let mut sorted: Vec<_> = texts.chain([(None, self.nulls)]).filter(|(_, count)| *count > 0).collect();
        sorted.sort_unstable_by_key(|(value, count)| (Reverse(*count), value.is_none(), *value));
        sorted
    }
}
