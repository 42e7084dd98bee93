//! The Python binding, the only room that uses pyo3. It converts, detaches from the interpreter, and maps errors.

mod batch;
mod calls;
mod convert;
mod copying;
mod errors;
mod gil;
mod names;
mod open;
mod options;
mod owner;
mod salvage;
mod signals;
mod transaction;
mod warnings;
mod wire;
mod wire_batch;
mod wire_lists;
mod wire_scan;

use pyo3::prelude::*;

/// The native core. Use it through `StateStore`; the names here may change.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::PyTypeInfo;
    use pyo3::prelude::*;
    use pyo3::types::{PyMapping, PySequence};

    #[pymodule_export]
    use super::calls::Store;
    #[pymodule_export]
    use super::calls::best::Ranking;
    #[pymodule_export]
    use super::convert::item_selection::ItemSelection;
    #[pymodule_export]
    use super::copying::{Snapshot, locate, rename_new};
    #[pymodule_export]
    use super::salvage::salvage;
    #[pymodule_export]
    use super::transaction::Transaction;
    #[pymodule_export]
    use super::wire::{Arguments, Caller, Rows};
    #[pymodule_export]
    use super::wire_batch::ItemBatch;
    #[pymodule_export]
    use super::wire_lists::RunSelection;
    #[pymodule_export]
    use super::wire_scan::{ItemReader, ItemTally, Ranker};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::check_sqlite_version()
            .map_err(|error| pyo3::exceptions::PyImportError::new_err(error.to_string()))?;
        crate::sqlite::file::fork::watch();
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // It is raised as MemoryError.
            if !crate::sqlite::file::control::is_of_memory(panic.payload()) {
                tell(panic);
            }
        }));
        // PyO3 looks each up once, and others wait meanwhile: in a child that is forked just then, for ever.
        PyMapping::type_object(module.py());
        PySequence::type_object(module.py());
        module.add("SQLITE_VERSION", crate::sqlite_version())?;
        module.add("DEBUG_BUILD", cfg!(debug_assertions))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
