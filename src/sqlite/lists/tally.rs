//! How often each value of a column came.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::memory::{self, OutOfMemory};

/// A value of a column, `None` for NULL.
type Value<'a> = Option<&'a [u8]>;

/// Is told that a value came so often.
pub(crate) type Counted<'a> = dyn FnMut(Value<'_>, u64) -> Result<(), OutOfMemory> + 'a;

/// How often each value of a column came, NULL among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    texts: HashMap<Vec<u8>, u64>,
    nulls: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, value: Value, count: u64) -> Result<(), OutOfMemory> {
        match value {
            None => self.nulls += count,
            Some(text) => match self.texts.get_mut(text) {
                Some(known) => *known += count,
                None => {
                    self.texts.try_reserve(1)?;
                    self.texts.insert(memory::bytes(text)?, count);
                }
            },
        }
        Ok(())
    }

    pub(crate) fn subtract(&mut self, value: Value, count: u64) {
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
    ///
    /// # Errors
    /// Memory ran out.
    pub fn sorted(&self) -> Result<Vec<(Value<'_>, u64)>, OutOfMemory> {
        let texts = self.texts.iter().map(|(text, count)| (Some(text.as_slice()), *count));
        let counts = texts.chain([(None, self.nulls)]).filter(|(_, count)| *count > 0);
        let mut sorted = memory::collect(counts.map(Ok::<_, OutOfMemory>))?;
        sorted.sort_unstable_by_key(|(value, count)| (Reverse(*count), value.is_none(), *value));
        Ok(sorted)
    }
}
