//! A scanner of JSON text: skips values, and reads scalars.
//!
//! Text counts as JSON exactly if `json.loads` accepts it: NaN and lone surrogates are JSON, integers of more digits
//! than Python reads are not.

use std::borrow::Cow;
use std::fmt::Write;

use crate::json::number::Number;
use crate::memory::{Formatted, OutOfMemory};

/// The most digits of an integer that Python reads, by default.
/// <https://docs.python.org/3/library/stdtypes.html#integer-string-conversion-length-limitation>
pub(crate) const MOST_DIGITS: usize = 4300;

/// The text of one value, known to be JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value<'a>(&'a [u8]);

/// A value that has no parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// What is known to be the text of one value.
    pub(crate) fn known(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// Its text.
    pub(crate) fn text(self) -> &'a [u8] {
        self.0
    }

    /// The value, unless it is an array or an object.
    pub(crate) fn leaf(self) -> Result<Option<Leaf<'a>>, OutOfMemory> {
        if let [b'"', text @ .., b'"'] = self.0 {
            return Ok(Some(Leaf::Text(unescape(text)?)));
        }
        Ok(self.short_leaf())
    }

    /// The value, if it is neither a text nor an array or an object.
    pub(crate) fn short_leaf(self) -> Option<Leaf<'a>> {
        Some(match self.0.first()? {
            b'[' | b'{' | b'"' => return None,
            b'n' => Leaf::Null,
            b't' => Leaf::Bool(true),
            b'f' => Leaf::Bool(false),
            _ => Leaf::Number(number(std::str::from_utf8(self.0).ok()?)?),
        })
    }

    /// The elements of an array; none of anything else.
    pub(crate) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut text = Text::new(self.0);
        let mut more = text.take(b'[');
        text.skip_space();
        more &= text.peek() != Some(b']');
        std::iter::from_fn(move || {
            if !more {
                return None;
            }
            text.skip_space();
            let element = text.skip_value();
            text.skip_space();
            more = text.take(b',');
            Some(Value(element))
        })
    }
}

fn number(text: &str) -> Option<Number> {
    Some(match text {
        "NaN" => Number::Float(f64::NAN),
        "Infinity" => Number::Float(f64::INFINITY),
        "-Infinity" => Number::Float(f64::NEG_INFINITY),
        _ if text.bytes().any(|byte| b".eE".contains(&byte)) => Number::Float(text.parse().ok()?),
        _ => Number::integer(text),
    })
}

/// JSON text, and how far it has been read.
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Go past the next byte if it is this one.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    pub(crate) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Skip a text, a number or a name; `None` if none follows.
    pub(crate) fn scalar(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'0'..=b'9' => self.number(),
            b'-' if self.bytes.get(self.at + 1) == Some(&b'I') => self.name("-Infinity"),
            b'-' => self.number(),
            b't' => self.name("true"),
            b'f' => self.name("false"),
            b'n' => self.name("null"),
            b'N' => self.name("NaN"),
            b'I' => self.name("Infinity"),
            _ => None,
        }
    }

    fn name(&mut self, name: &str) -> Option<()> {
        let there = self.bytes.get(self.at..)?.starts_with(name.as_bytes());
        self.at += name.len();
        there.then_some(())
    }

    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))? + 1;
            match self.bytes.get(self.at - 1)? {
                b'"' => return Some(()),
                b'\\' => {
                    let escape = self.peek()?;
                    self.at += 1;
                    match escape {
                        b'u' => {
                            hexadecimal(self.bytes.get(self.at..)?)?;
                            self.at += 4;
                        }
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        let starts_with_zero = self.peek() == Some(b'0');
        let digits = self.digits()?;
        let mut is_integer = true;
        if self.take(b'.') {
            self.digits()?;
            is_integer = false;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
            is_integer = false;
        }
        let understood = (digits == 1 || !starts_with_zero) && (!is_integer || digits <= MOST_DIGITS);
        understood.then_some(())
    }

    /// Go past one digit or more, and say how many.
    fn digits(&mut self) -> Option<usize> {
        let rest = self.bytes.get(self.at..)?;
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        (count > 0).then_some(count)
    }

    /// Go past a value that is known to be one.
    pub(crate) fn skip_value(&mut self) -> &'a [u8] {
        let start = self.at;
        self.go_past_value();
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    fn go_past_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return,
                Some(b'[' | b'{') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b']' | b'}') => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(_) => {
                    if self.scalar().is_none() {
                        return;
                    }
                }
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// The number that four hexadecimal digits stand for.
fn hexadecimal(text: &[u8]) -> Option<u32> {
    text.get(..4)?.iter().try_fold(0, |sum, digit| Some(sum << 4 | char::from(*digit).to_digit(16)?))
}

/// What is between the quotes of a string, with nothing escaped.
pub(crate) fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, OutOfMemory> {
    if !text.contains(&b'\\') {
        return Ok(Cow::Borrowed(text));
    }
    let (mut plain, mut rest) = (Vec::new(), text);
    // Nothing is longer without its escapes.
    plain.try_reserve_exact(text.len())?;
    while let Some(length) = rest.iter().position(|byte| *byte == b'\\') {
        plain.extend_from_slice(&rest[..length]);
        let escape = rest.get(length + 1).copied().unwrap_or_default();
        rest = rest.get(length + 2..).unwrap_or_default();
        plain.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                rest = push_escaped(&mut plain, rest);
                continue;
            }
            itself => itself,
        });
    }
    plain.extend_from_slice(rest);
    Ok(Cow::Owned(plain))
}

/// Append the code point of which `text` has the digits, and what is behind them. Two surrogates that belong together
/// are one code point.
fn push_escaped<'a>(plain: &mut Vec<u8>, text: &'a [u8]) -> &'a [u8] {
    let mut code = hexadecimal(text).unwrap_or_default();
    let mut rest = text.get(4..).unwrap_or_default();
    if (0xd800..0xdc00).contains(&code)
        && let Some(low) = rest.strip_prefix(b"\\u").and_then(hexadecimal)
        && (0xdc00..0xe000).contains(&low)
    {
        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        rest = rest.get(6..).unwrap_or_default();
    }
    match char::from_u32(code) {
        Some(character) => plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        // A lone surrogate: three bytes, as a character of its number would have.
        None => plain.extend([
            0xe0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3f) as u8,
            0x80 | (code & 0x3f) as u8,
        ]),
    }
    rest
}

/// A JSON array of these texts.
pub(crate) fn array(of: &[String]) -> Result<String, OutOfMemory> {
    let mut array = Formatted("[".to_owned());
    for (index, text) in of.iter().enumerate() {
        array.write_str(if index == 0 { "\"" } else { ",\"" })?;
        for character in text.chars() {
            match character {
                '"' | '\\' => write!(array, "\\{character}")?,
                ..' ' => write!(array, "\\u{:04x}", u32::from(character))?,
                _ => array.write_char(character)?,
            }
        }
        array.write_char('"')?;
    }
    array.write_char(']')?;
    Ok(array.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_without_parts_are_what_they_are() {
        let leaf = |text: &'static str| Value(text.as_bytes()).leaf().unwrap();
        assert_eq!(leaf("null"), Some(Leaf::Null));
        assert_eq!(leaf("true"), Some(Leaf::Bool(true)));
        assert_eq!(leaf("false"), Some(Leaf::Bool(false)));
        assert_eq!(leaf("-12"), Some(Leaf::Number(Number::Small(-12))));
        assert_eq!(leaf("9223372036854775808"), Some(Leaf::Number(Number::integer("9223372036854775808"))));
        assert_eq!(leaf("1e400"), Some(Leaf::Number(Number::Float(f64::INFINITY))));
        assert_eq!(leaf("-Infinity"), Some(Leaf::Number(Number::Float(f64::NEG_INFINITY))));
        assert!(matches!(leaf("NaN"), Some(Leaf::Number(Number::Float(nan))) if nan.is_nan()));
        assert_eq!(leaf("[]"), None);
        assert_eq!(leaf("{}"), None);
        let text = |escaped: &'static str| match leaf(escaped) {
            Some(Leaf::Text(text)) => text.into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(r#""\b\f\n\r\t\"\\\/\u00e9\ud83d\ude00é""#), "\u{8}\u{c}\n\r\t\"\\/é😀é".as_bytes());
        assert_eq!(text(r#""\ud83d""#), b"\xed\xa0\xbd");
        assert_eq!(text(r#""\ud83d\ud83d\ude00\udc00""#), b"\xed\xa0\xbd\xf0\x9f\x98\x80\xed\xb0\x80");
        assert_eq!(text(r#""\ud83dx""#), b"\xed\xa0\xbdx");
    }

    #[test]
    fn elements_are_those_of_an_array() {
        let elements = |text: &'static str| {
            Value(text.as_bytes())
                .elements()
                .map(|value| std::str::from_utf8(value.0).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            elements(r#"[ 1 , [2, "]"],{"a": [3]} ,"x"]"#),
            ["1", r#"[2, "]"]"#, r#"{"a": [3]}"#, "\"x\""]
        );
        assert!(elements("[ ]").is_empty());
        assert!(elements("{\"a\": 1}").is_empty());
        assert!(elements("\"[1]\"").is_empty());
    }

    #[test]
    fn texts_in_an_array_are_escaped() {
        assert_eq!(array(&[]).unwrap(), "[]");
        let texts = ["", "a\"b\\", "\0\n\u{1f} \u{7f}é"].map(str::to_owned);
        assert_eq!(array(&texts).unwrap(), "[\"\",\"a\\\"b\\\\\",\"\\u0000\\u000a\\u001f \u{7f}é\"]");
    }
}
