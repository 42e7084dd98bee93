//! The number inside a JSON column that items are ordered by.

use crate::error::Result;
use crate::json::number::Number;
use crate::json::path::Path;
use crate::json::text::{Leaf, Value};
use crate::memory::OutOfMemory;
use crate::model::columns::ItemColumn;

/// What items are ordered by: the number that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    path: Path,
}

impl OrderBy {
    /// The number that this path leads to.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidValue`] where the path is not understood.
    pub fn new(path: &[u8]) -> Result<Self> {
        Ok(Self { path: Path::parse(path)? })
    }

    /// Which column it is in.
    pub(crate) fn column(&self) -> ItemColumn {
        self.path.column
    }

    /// The number in a column of this text; `None` where there is none that compares, such as NaN.
    pub(crate) fn number(&self, text: Option<&[u8]>) -> Result<Option<Number>, OutOfMemory> {
        let found = text.map_or(Ok(None), |text| self.path.find(text))?;
        Ok(found.and_then(comparable))
    }

    /// The same as text that is always the same for it.
    pub(crate) fn describe(&self) -> Result<String, OutOfMemory> {
        self.path.describe()
    }
}

/// The number that [`Number::text`] made this text of.
pub(crate) fn number_of(text: &str) -> Option<Number> {
    comparable(Value::known(text.as_bytes()))
}

fn comparable(value: Value) -> Option<Number> {
    match value.short_leaf()? {
        Leaf::Number(Number::Float(number)) if number.is_nan() => None,
        Leaf::Number(number) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_has_none() {
        let by = OrderBy::new(b"scores_json.a").unwrap();
        let number = |json: &str| by.number(Some(format!("{{\"a\": {json}}}").as_bytes())).unwrap();
        for json in ["null", "true", "false", "\"1\"", "[1]", "{\"a\": 1}", "NaN", "1}, {\"a\": 2", "1 2"] {
            assert_eq!(number(json), None, "{json}");
        }
        assert_eq!(by.number(None), Ok(None));
        assert_eq!(number("7"), Some(Number::Small(7)));
        assert_eq!(number("1, \"a\": 2.5"), Some(Number::Float(2.5)));
        assert_eq!(number("-Infinity"), Some(Number::Float(f64::NEG_INFINITY)));
    }

    #[test]
    fn the_text_of_a_number_is_of_that_number() {
        for json in
            ["0", "-7", "9223372036854775808", "0.1", "-0.0", "1e300", "5e-324", "Infinity", "-Infinity"]
        {
            let number = number_of(json).unwrap();
            assert_eq!(number_of(&number.text()), Some(number), "{json}");
        }
        assert_eq!(number_of(""), None);
    }
}
