//! Buffers that grow with data. Where memory runs out these fail; what std has for it would abort the process.

use std::collections::TryReserveError;
use std::fmt;

/// Memory ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl From<TryReserveError> for OutOfMemory {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

/// Append an element.
pub(crate) fn push<T>(to: &mut Vec<T>, element: T) -> Result<(), OutOfMemory> {
    to.try_reserve(1)?;
    to.push(element);
    Ok(())
}

/// Append bytes.
#[inline]
pub(crate) fn append(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), OutOfMemory> {
    to.try_reserve(bytes.len())?;
    to.extend_from_slice(bytes);
    Ok(())
}

/// A copy of bytes.
pub(crate) fn bytes(of: &[u8]) -> Result<Vec<u8>, OutOfMemory> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(of.len())?;
    copy.extend_from_slice(of);
    Ok(copy)
}

/// A copy of a text.
pub(crate) fn text(of: &str) -> Result<String, OutOfMemory> {
    let mut copy = String::new();
    copy.try_reserve_exact(of.len())?;
    copy.push_str(of);
    Ok(copy)
}

/// A formatted text.
pub(crate) fn format(of: fmt::Arguments<'_>) -> Result<String, OutOfMemory> {
    let mut text = Formatted::default();
    fmt::Write::write_fmt(&mut text, of)?;
    Ok(text.0)
}

/// The text that comes nearest to these bytes.
pub(crate) fn lossy(of: &[u8]) -> Result<String, OutOfMemory> {
    let mut text = String::new();
    for chunk in of.utf8_chunks() {
        text.try_reserve(chunk.valid().len() + char::REPLACEMENT_CHARACTER.len_utf8())?;
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Ok(text)
}

/// All of these, or the first error.
pub(crate) fn collect<T, E: From<OutOfMemory>>(
    of: impl IntoIterator<Item = Result<T, E>>,
) -> Result<Vec<T>, E> {
    let of = of.into_iter();
    let mut all = Vec::new();
    all.try_reserve_exact(of.size_hint().0).map_err(OutOfMemory::from)?;
    for each in of {
        push(&mut all, each?)?;
    }
    Ok(all)
}

/// All of these.
pub(crate) fn all<T>(of: impl IntoIterator<Item = T>) -> Result<Vec<T>, OutOfMemory> {
    collect(of.into_iter().map(Ok))
}

/// Text that is written bit by bit.
#[derive(Default)]
pub(crate) struct Formatted(pub(crate) String);

impl fmt::Write for Formatted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

/// Nothing but the text that is written to fails.
impl From<fmt::Error> for OutOfMemory {
    fn from(_: fmt::Error) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_can_be_is_an_error() {
        let mut bytes = vec![0_u8; 9];
        assert_eq!(OutOfMemory::from(bytes.try_reserve(usize::MAX).unwrap_err()), OutOfMemory);
        let endless = (0..).map(Ok::<_, OutOfMemory>);
        assert_eq!(collect(endless.chain((0..).map(Ok))).map(|all| all.len()), Err(OutOfMemory));
    }

    #[test]
    fn what_is_no_text_is_replaced_as_std_does_it() {
        for bytes in [b"".as_slice(), b"a\xc3\xa9", b"\xff", b"a\xe2\x82b\xf0\x9f\x98", b"\xed\xa0\xbd"] {
            assert_eq!(lossy(bytes).unwrap(), String::from_utf8_lossy(bytes));
        }
    }
}
