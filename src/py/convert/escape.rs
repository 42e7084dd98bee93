//! Text for an engine that stores no NUL, as PostgreSQL does not. U+10FFFF, which hardly anyone writes, begins an escape.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::memory::{self, OutOfMemory};

/// What begins an escape: the last character that there is.
const ESCAPE: &str = "\u{10ffff}";

/// As Python's text.
pub(in crate::py) fn escaped<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
    PyString::from_bytes(py, &escape(text)?)
}

/// As bytes of UTF-8.
pub(in crate::py) fn unescaped<'a>(text: &'a Bound<'_, PyString>) -> PyResult<Cow<'a, [u8]>> {
    Ok(unescape(text.to_str()?.as_bytes())?)
}

/// UTF-8 without NUL. What begins with a text still begins with it.
pub(in crate::py) fn escape(text: &[u8]) -> Result<Cow<'_, [u8]>, OutOfMemory> {
    if !text.contains(&0) && !has_escape(text) {
        return Ok(text.into());
    }
    let mut escaped = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(ESCAPE.as_bytes()) {
            memory::append(&mut escaped, ESCAPE.as_bytes())?;
            memory::push(&mut escaped, b'1')?;
            rest = behind;
            continue;
        }
        match first {
            0 => {
                memory::append(&mut escaped, ESCAPE.as_bytes())?;
                memory::push(&mut escaped, b'0')?;
            }
            byte => memory::push(&mut escaped, *byte)?,
        }
        rest = behind;
    }
    Ok(escaped.into())
}

/// What [`escape`] made this of. What it has not made stays as it is.
pub(in crate::py) fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, OutOfMemory> {
    if !has_escape(text) {
        return Ok(text.into());
    }
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let (byte, behind) = match rest.strip_prefix(ESCAPE.as_bytes()) {
            Some([b'0', behind @ ..]) => (0, behind),
            Some([b'1', behind @ ..]) => {
                memory::append(&mut plain, ESCAPE.as_bytes())?;
                rest = behind;
                continue;
            }
            _ => (*first, behind),
        };
        memory::push(&mut plain, byte)?;
        rest = behind;
    }
    Ok(plain.into())
}

fn has_escape(text: &[u8]) -> bool {
    // Its first byte is rare.
    text.contains(&ESCAPE.as_bytes()[0]) && text.windows(4).any(|some| some == ESCAPE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_has_no_nul_meanwhile() {
        for text in [
            "",
            "a",
            "\0",
            "\u{10ffff}",
            "\u{10ffff}0",
            "\0\u{10ffff}1\0a",
            "\u{10fffe}é\0",
            "\u{10ffff}\u{10ffff}",
        ] {
            let escaped = escape(text.as_bytes()).unwrap();
            assert!(!escaped.contains(&0), "{text:?}");
            assert_eq!(unescape(&escaped).unwrap(), text.as_bytes(), "{text:?}");
            assert!(std::str::from_utf8(&escaped).is_ok());
        }
        assert_eq!(unescape("\u{10ffff}".as_bytes()).unwrap(), "\u{10ffff}".as_bytes());
        assert_eq!(unescape("\u{10ffff}2".as_bytes()).unwrap(), "\u{10ffff}2".as_bytes());
    }
}
