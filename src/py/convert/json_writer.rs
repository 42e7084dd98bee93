//! JSON text as it is encoded: a buffer that fails where memory runs out, or Ctrl-C comes.

use std::io;

use pyo3::prelude::*;

use crate::memory::{self, OutOfMemory};
use crate::py::signals;

/// How many bytes are encoded between two looks for Ctrl-C.
const LOOK_EVERY: usize = 1 << 20;

/// Writes to the end of a buffer.
pub(super) struct Writer<'a, 'py> {
    py: Python<'py>,
    text: &'a mut Vec<u8>,
    /// From which length on to look for Ctrl-C again.
    look_at: usize,
}

impl<'a, 'py> Writer<'a, 'py> {
    pub(super) fn new(py: Python<'py>, text: &'a mut Vec<u8>) -> Self {
        Self { py, look_at: text.len().saturating_add(LOOK_EVERY), text }
    }

    #[cold]
    fn look(&mut self) -> io::Result<()> {
        self.look_at = self.text.len().saturating_add(LOOK_EVERY);
        if signals::is_pending(self.py) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

impl io::Write for Writer<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// Most of what comes is one byte, which is stored without a call where this is inlined.
    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.text.len() >= self.look_at {
            self.look()?;
        }
        memory::append(self.text, bytes).map_err(|OutOfMemory| io::ErrorKind::OutOfMemory.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
