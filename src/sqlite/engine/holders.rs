//! Which threads of this process hold which file by a transaction: whoever waits for itself, by way of another store on
//! the same file, would wait for its whole timeout.

use std::sync::{Arc, Mutex, Weak};

use crate::error::{ErrorKind, Result, StoreError};
use crate::sqlite::file::fork;
use crate::sqlite::file::gate::FILES;
use crate::sqlite::file::platform::FileId;
use crate::sync::lock;

/// Locked only inside the fork's gate.
static HOLDERS: Mutex<Vec<Holder>> = Mutex::new(Vec::new());

struct Holder {
    file: FileId,
    thread: u64,
    /// A forked child holds nothing.
    generation: u64,
    open: Weak<()>,
}

/// Say that a thread's transaction holds a file, until what is returned is dropped.
pub(crate) fn hold(file: FileId, thread: u64) -> Arc<()> {
    let held = Arc::new(());
    let _gate = FILES.enter();
    let mut holders = lock(&HOLDERS);
    holders.retain(|holder| holder.open.strong_count() > 0);
    holders.push(Holder { file, thread, generation: fork::generation(), open: Arc::downgrade(&held) });
    held
}

/// Fail where a transaction of this very thread holds the file.
pub(crate) fn refuse_own(file: FileId, thread: u64) -> Result<()> {
    let _gate = FILES.enter();
    let is_own = |holder: &Holder| {
        (holder.file, holder.thread, holder.generation) == (file, thread, fork::generation())
            && holder.open.strong_count() > 0
    };
    if !lock(&HOLDERS).iter().any(is_own) {
        return Ok(());
    }
    Err(StoreError::new(
        ErrorKind::StoreBusy,
        "this thread already holds the file, by a transaction of another store on it, so that waiting could never end; nothing was changed; use one store, or repeat it once that transaction is over",
    ))
}
