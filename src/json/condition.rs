//! Conditions on values inside JSON columns.
//!
//! They are evaluated here, on a column's text, and not by SQLite: its functions fail on text that Python reads, and
//! compare differently from Python.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::error::Result;
use crate::json::number::Number;
use crate::json::path::Path;
use crate::json::text::{Leaf, Value};
use crate::memory::{self, OutOfMemory};
use crate::model::columns::ItemColumn;

/// A condition on the value that a path leads to. If there is none, or the column's text is not JSON, only
/// [`Test::Exists`] of false holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    path: Path,
    test: Test,
}

/// A test of a value.
///
/// Numbers compare with numbers only, exactly; text with text, by code points; a bool equals a bool, null equals null.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It equals this.
    Equal(Scalar),
    /// It does not, whatever it is.
    NotEqual(Scalar),
    /// It is a number below this one, or a text before this one.
    Less(Scalar),
    /// It is such, or equal.
    AtMost(Scalar),
    /// It is a number above this one, or a text behind this one.
    Greater(Scalar),
    /// It is such, or equal.
    AtLeast(Scalar),
    /// It equals one of these.
    In(Vec<Scalar>),
    /// It is an array with an element that equals this, or a text with this text in it.
    Contains(Scalar),
    /// Whether it is there at all.
    Exists(bool),
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text in UTF-8, a lone surrogate encoded as if it were a character.
    Text(Vec<u8>),
}

impl Condition {
    /// A condition on what this path leads to.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidValue`] where the path is not understood.
    pub fn new(path: &[u8], test: Test) -> Result<Self> {
        Ok(Self { path: Path::parse(path)?, test })
    }

    /// Which column it is about.
    pub(crate) fn column(&self) -> ItemColumn {
        self.path.column
    }

    /// Whether it holds for a column of this text; `None` for one that is NULL.
    pub(crate) fn holds(&self, text: Option<&[u8]>) -> Result<bool, OutOfMemory> {
        match text.map_or(Ok(None), |text| self.path.find(text))? {
            Some(value) => self.test.passes(value),
            None => Ok(self.test == Test::Exists(false)),
        }
    }

    /// The same condition as text that is always the same for it.
    pub(crate) fn describe(&self) -> Result<String, OutOfMemory> {
        let one = |operand: &Scalar| Ok::<_, OutOfMemory>(vec![operand.describe()?]);
        let (operator, operands) = match &self.test {
            Test::Equal(operand) => ("=", one(operand)?),
            Test::NotEqual(operand) => ("!=", one(operand)?),
            Test::Less(operand) => ("<", one(operand)?),
            Test::AtMost(operand) => ("<=", one(operand)?),
            Test::Greater(operand) => (">", one(operand)?),
            Test::AtLeast(operand) => (">=", one(operand)?),
            Test::In(operands) => {
                let mut operands = memory::collect(operands.iter().map(Scalar::describe))?;
                // A set has no order.
                operands.sort_unstable();
                ("in", operands)
            }
            Test::Contains(operand) => ("contains", one(operand)?),
            Test::Exists(there) => ("exists", vec![there.to_string()]),
        };
        let mut text = memory::Formatted::default();
        write!(text, "{} {operator} ", self.path.describe()?)?;
        for (index, operand) in operands.iter().enumerate() {
            write!(text, "{}{operand}", if index > 0 { "," } else { "" })?;
        }
        Ok(text.0)
    }
}

impl Test {
    fn passes(&self, value: Value) -> Result<bool, OutOfMemory> {
        let found = value.leaf()?;
        let found = found.as_ref();
        let ordered = |operand: &Scalar, passes: fn(Ordering) -> bool| {
            found.and_then(|found| operand.compare(found)).is_some_and(passes)
        };
        Ok(match self {
            Self::Equal(operand) => operand.equals(found),
            Self::NotEqual(operand) => !operand.equals(found),
            Self::Less(operand) => ordered(operand, Ordering::is_lt),
            Self::AtMost(operand) => ordered(operand, Ordering::is_le),
            Self::Greater(operand) => ordered(operand, Ordering::is_gt),
            Self::AtLeast(operand) => ordered(operand, Ordering::is_ge),
            Self::In(operands) => operands.iter().any(|operand| operand.equals(found)),
            Self::Contains(operand) => operand.is_in(found, value)?,
            Self::Exists(wanted) => *wanted,
        })
    }
}

impl Scalar {
    fn equals(&self, found: Option<&Leaf>) -> bool {
        match (self, found) {
            (Self::Null, Some(Leaf::Null)) => true,
            (Self::Bool(wanted), Some(Leaf::Bool(found))) => wanted == found,
            (_, Some(found)) => self.compare(found) == Some(Ordering::Equal),
            (_, None) => false,
        }
    }

    /// How a value compares with this; `None` where it does not.
    fn compare(&self, found: &Leaf) -> Option<Ordering> {
        match (self, found) {
            (Self::Number(wanted), Leaf::Number(found)) => found.compare(wanted),
            (Self::Text(wanted), Leaf::Text(found)) => Some((**found).cmp(wanted)),
            _ => None,
        }
    }

    fn is_in(&self, found: Option<&Leaf>, value: Value) -> Result<bool, OutOfMemory> {
        Ok(match (self, found) {
            (Self::Text(wanted), Some(Leaf::Text(found))) => {
                wanted.is_empty() || found.windows(wanted.len()).any(|part| part == wanted.as_slice())
            }
            (_, Some(_)) => false,
            (_, None) => {
                for element in value.elements() {
                    if self.equals(element.leaf()?.as_ref()) {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }

    fn describe(&self) -> Result<String, OutOfMemory> {
        match self {
            Self::Null => memory::text("null"),
            Self::Bool(value) => memory::format(format_args!("{value}")),
            Self::Number(Number::Small(value)) => memory::format(format_args!("{value}")),
            Self::Number(Number::Large(digits)) => memory::text(digits),
            Self::Number(Number::Float(value)) => memory::format(format_args!("{value:?}")),
            Self::Text(text) => memory::format(format_args!("\"{}\"", text.escape_ascii())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    fn number(digits: &str) -> Scalar {
        Scalar::Number(Number::integer(digits))
    }

    fn holds(json: &str, test: Test) -> bool {
        Condition::new(b"scores_json.a", test)
            .unwrap()
            .holds(Some(format!("{{\"a\": {json}}}").as_bytes()))
            .unwrap()
    }

    #[test]
    fn what_is_of_another_kind_is_never_equal_and_never_in_order() {
        let kinds = [
            ("null", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("1", number("1")),
            ("\"1\"", text("1")),
            ("[1]", text("[1]")),
            ("{}", text("{}")),
        ];
        for (i, (json, _)) in kinds.iter().enumerate() {
            for (j, (_, operand)) in kinds.iter().enumerate() {
                let same = i == j && i < 4;
                assert_eq!(holds(json, Test::Equal(operand.clone())), same, "{json} {operand:?}");
                assert_eq!(holds(json, Test::NotEqual(operand.clone())), !same, "{json} {operand:?}");
                assert_eq!(holds(json, Test::In(vec![operand.clone()])), same);
                // The last two operands are texts that are not valid JSON.
                let ordered = (i, j) == (2, 2) || i == 3 && j >= 3;
                assert_eq!(holds(json, Test::AtMost(operand.clone())), ordered, "{json} {operand:?}");
            }
        }
    }

    #[test]
    fn numbers_and_texts_are_ordered() {
        assert!(holds("79.5", Test::Less(number("80"))));
        assert!(!holds("80.0", Test::Less(number("80"))));
        assert!(holds("80.0", Test::AtMost(number("80"))));
        assert!(holds("80.0", Test::AtLeast(number("80"))));
        assert!(!holds("80.0", Test::Greater(number("80"))));
        assert!(holds("\"b\"", Test::Greater(text("a"))));
        assert!(holds("\"\\uffff\"", Test::Less(text("😀"))));
        assert!(holds("NaN", Test::NotEqual(number("1"))));
        assert!(!holds("NaN", Test::AtLeast(number("1"))));
    }

    #[test]
    fn an_array_contains_its_elements_and_a_text_its_parts() {
        assert!(holds("[1, \"x\", null]", Test::Contains(text("x"))));
        assert!(holds("[1, \"x\", null]", Test::Contains(Scalar::Null)));
        assert!(holds("[1.0]", Test::Contains(number("1"))));
        assert!(!holds("[[1], true]", Test::Contains(number("1"))));
        assert!(holds("\"unverified\"", Test::Contains(text("verif"))));
        assert!(holds("\"\"", Test::Contains(text(""))));
        assert!(!holds("\"1\"", Test::Contains(number("1"))));
        assert!(!holds("{\"x\": 1}", Test::Contains(text("x"))));
    }

    #[test]
    fn what_is_not_there_matches_only_that_it_is_not() {
        for json in [None, Some("no JSON"), Some("{}"), Some("{\"a\": 1")] {
            let condition = |test| {
                Condition::new(b"scores_json.a", test).unwrap().holds(json.map(str::as_bytes)).unwrap()
            };
            assert!(condition(Test::Exists(false)));
            assert!(!condition(Test::Exists(true)));
            assert!(!condition(Test::NotEqual(Scalar::Null)));
            assert!(!condition(Test::In(vec![Scalar::Null])));
        }
        assert!(holds("null", Test::Exists(true)));
        assert!(!holds("null", Test::Exists(false)));
    }

    #[test]
    fn conditions_that_differ_are_described_differently() {
        let describe = |test| Condition::new(b"scores_json.a", test).unwrap().describe().unwrap();
        let same = [Test::In(vec![text("a"), text("b")]), Test::In(vec![text("b"), text("a")])].map(describe);
        assert_eq!(same[0], same[1]);
        let texts = [
            Test::Equal(text("1")),
            Test::Equal(number("1")),
            Test::Equal(Scalar::Number(Number::Float(1.0))),
            Test::NotEqual(number("1")),
            Test::In(vec![text("a,b")]),
            Test::In(vec![text("a"), text("b")]),
            Test::In(vec![text("a\",\"b")]),
            Test::Exists(true),
            Test::Equal(Scalar::Bool(true)),
        ]
        .map(describe);
        assert_eq!(texts.iter().collect::<std::collections::HashSet<_>>().len(), texts.len(), "{texts:?}");
    }
}
