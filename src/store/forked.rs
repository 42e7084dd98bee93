//! What a forked child does with a store that it inherited.

use std::sync::Arc;

use super::{Connections, Shared};
use crate::fork::{self, Exclusive, Forkable};
use crate::pool::Pool;
use crate::sync::lock;
use crate::wait::Owner;
use crate::writer::{File, Inherited, Writer};

impl Forkable for Shared {
    fn start_over(&self, alone: &Exclusive) {
        let mut current = lock(&self.current);
        if let Some(pool) = &current.pool {
            pool.discard_inherited(alone);
        }
        let mut lost = current.lost.clone();
        let mut memory = None;
        match current.writer.as_ref().map(|writer| writer.inherited(alone)) {
            Some(Inherited::Closed) => return,
            Some(Inherited::Spilled) => {
                lost = Some(fork::lost_file());
                if let Some(place) = &current.place {
                    fork::lose(place.id, alone);
                }
            }
            Some(Inherited::Connection { connection, owner }) => {
                if owner == Some(Owner::thread().thread) {
                    lost = Some(fork::inside_transaction());
                }
                match self.path {
                    None => memory = Some(connection),
                    Some(_) => fork::discard(connection, alone),
                }
            }
            Some(Inherited::Nothing) | None => {}
        }
        let place = current.place.as_ref().map(|place| Arc::new(place.inherited()));
        let file = place.clone().map(|place| File::new(place, self.options.synchronous));
        let writer = current.writer.as_ref().map(|_| Writer::new(memory, file));
        let pool = current.pool.as_ref().map(|_| Pool::new(self.options.pool_size));
        let fresh = Connections { place, writer: writer.map(Arc::new), pool, lost };
        let inherited = std::mem::replace(&mut *current, Arc::new(fresh));
        // Its locks may be held by threads that do not exist here.
        std::mem::forget(inherited);
    }
}
