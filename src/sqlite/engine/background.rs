//! A background thread of a store, which exists while there is work for it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::sqlite::engine::worker::Panicked;
use crate::sync::{lock, wait};

/// The thread, and the state that it shares with its users.
pub(crate) struct Background<S> {
    name: &'static str,
    state: Mutex<BackgroundState<S>>,
    /// The state has changed: wakes the thread, and those who wait for it.
    changed: Condvar,
    panicked: Arc<Panicked>,
}

/// The shared state.
pub(crate) struct BackgroundState<S> {
    of: S,
    thread: Option<JoinHandle<()>>,
    stopped: bool,
}

/// The next step of the thread.
pub(crate) enum Next<T> {
    /// This, at once.
    Do(T),
    /// Nothing for so long.
    Wait(Duration),
    /// End. The next use starts another thread.
    End,
}

impl<S: Send + 'static> Background<S> {
    /// No thread yet.
    pub(crate) fn new(name: &'static str, of: S, panicked: Arc<Panicked>) -> Arc<Self> {
        let state = Mutex::new(BackgroundState { of, thread: None, stopped: false });
        Arc::new(Self { name, state, changed: Condvar::new(), panicked })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, BackgroundState<S>> {
        lock(&self.state)
    }

    /// Change the state, and wake the thread and those who wait for it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut BackgroundState<S>) -> R) -> R {
        let changed = change(&mut self.state());
        self.changed.notify_all();
        changed
    }

    /// Wait for `slice` at the most until the state is changed, or the thread is gone.
    pub(crate) fn wait(&self, state: MutexGuard<'_, BackgroundState<S>>, slice: Duration) {
        drop(wait(&self.changed, state, slice));
    }

    /// Wake the thread; it is started unless it exists or was stopped. `next` is given how long the thread was idle,
    /// and `work` does what it returns. If no thread can be started nothing is done, and `false` returned.
    pub(crate) fn wake<T>(
        self: &Arc<Self>,
        state: &mut BackgroundState<S>,
        mut next: impl FnMut(&mut S, Duration) -> Next<T> + Send + 'static,
        mut work: impl FnMut(T) + Send + 'static,
    ) -> bool {
        if state.stopped || state.thread.is_some() {
            self.changed.notify_all();
            return true;
        }
        let this = Arc::clone(self);
        let run = move || {
            let worked = this.panicked.noticed(this.name, || {
                while let Some(due) = this.next(&mut next) {
                    work(due);
                }
            });
            if worked.is_none() {
                this.change(|state| state.thread = None);
            }
        };
        state.thread = std::thread::Builder::new().name(self.name.into()).spawn(run).ok();
        state.thread.is_some()
    }

    fn next<T>(&self, next: &mut impl FnMut(&mut S, Duration) -> Next<T>) -> Option<T> {
        let began = Instant::now();
        let mut state = self.state();
        loop {
            match if state.stopped { Next::End } else { next(&mut state.of, began.elapsed()) } {
                Next::Do(due) => return Some(due),
                Next::Wait(time) => state = wait(&self.changed, state, time),
                Next::End => {
                    state.thread = None;
                    return None;
                }
            }
        }
    }

    /// Stop the thread, and wait until it is gone.
    pub(crate) fn stop(&self) {
        let thread = self.change(|state| {
            state.stopped = true;
            state.thread.take()
        });
        // It panics no more.
        thread.map(JoinHandle::join);
    }
}

impl<S> BackgroundState<S> {
    /// Whether the thread is there.
    pub(crate) fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// Whether the thread was told to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }
}

impl<S> Deref for BackgroundState<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.of
    }
}

impl<S> DerefMut for BackgroundState<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.of
    }
}
