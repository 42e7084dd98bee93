//! The first use of an inherited store in a forked child: fresh connections.

use std::sync::Arc;

use super::{Connections, Shared};
use crate::error::StoreError;
use crate::sqlite::engine::pool::Pool;
use crate::sqlite::engine::writer::Writer;
use crate::sqlite::engine::written_file::WrittenFile;
use crate::sqlite::file::fork;
use crate::sqlite::file::gate::{FILES, Inside};
use crate::sqlite::file::place::Place;
use crate::sqlite::file::trace::Trace;
use crate::sync::lock;

impl Shared {
    /// The connections of this process.
    pub(super) fn current(&self) -> Arc<Connections> {
        let gate = FILES.enter();
        let mut current = lock(&self.current);
        if current.is_inherited() {
            let fresh = Arc::new(self.start_over(&current, &gate));
            // It is left as the parent's threads had it at the fork.
            std::mem::forget(std::mem::replace(&mut *current, fresh));
        }
        Arc::clone(&current)
    }

    fn start_over(&self, inherited: &Connections, gate: &Inside) -> Connections {
        if let Some(pool) = &inherited.pool {
            pool.discard_inherited();
        }
        let trace = inherited.trace.inherited();
        let memory = inherited.writer.as_ref().and_then(|writer| writer.inherited());
        let memory = memory.and_then(|mut memory| trace.watch(&mut memory).is_ok().then_some(memory));
        let was_inside = inherited.writer.as_ref().is_some_and(|writer| {
            fork::forked_by(inherited.generation, gate)
                .is_some_and(|thread| writer.queue.was_held_by_transaction_of(thread))
        });
        let mut lost = inherited.lost.clone();
        if was_inside {
            lost = Some(fork::inside_transaction());
        } else if self.path.is_none() && memory.is_none() {
            lost = lost.or_else(|| Some(fork::no_copy()));
        }
        let place = inherited.place.as_ref().map(|place| Arc::new(place.inherited(trace.clone())));
        let file = place.clone().map(|place| WrittenFile::new(place, self.options.synchronous));
        let writer = inherited.writer.as_ref().map(|_| Writer::new(memory, file));
        let pool = inherited.pool.as_ref().map(|_| Pool::new(self.options.pool_size));
        Connections::new(place, writer, pool, lost, trace)
    }
}

impl Connections {
    /// Those of this process.
    pub(super) fn new(
        place: Option<Arc<Place>>,
        writer: Option<Writer>,
        pool: Option<Pool>,
        lost: Option<StoreError>,
        trace: Trace,
    ) -> Self {
        let panicked =
            writer.as_ref().map_or_else(Arc::default, |writer| Arc::clone(&writer.counters.panicked));
        Self {
            place,
            writer: writer.map(Arc::new),
            pool,
            lost,
            trace,
            panicked,
            generation: fork::generation(),
        }
    }

    /// Whether this process is a child of the one that made them.
    pub(super) fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }
}
