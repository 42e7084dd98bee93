//! The fair queue for the one writer: first come, first served, without polling.
//!
//! A waiter either wants the turn itself (to open a transaction), or brings a job that the holder of the turn may do
//! for it. The state's lock is taken before a waiter's, never the other way round.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::error::{ErrorKind, Result, StoreError};
use crate::model::caller::Owner;
use crate::sqlite::file::fork;
use crate::sqlite::file::wait::Wait;
use crate::sync::{lock, wait};

/// The queue of writers. `J` is a job that can be done for another thread.
pub(crate) struct Queue<J> {
    state: Mutex<QueueState<J>>,
    /// The thread whose transaction holds the turn, or [`NOBODY`]: a forked child cannot count on getting the lock.
    transaction_of: AtomicU64,
    generation: u64,
}

/// No thread has this number.
const NOBODY: u64 = u64::MAX;

struct QueueState<J> {
    /// The thread that has the turn, or for which another thread has it.
    holder: Option<u64>,
    closed: bool,
    /// The owner of the transaction that holds the turn, if one does.
    owner: Option<Owner>,
    waiting: VecDeque<Arc<Waiter<J>>>,
}

struct Waiter<J> {
    thread: u64,
    phase: Mutex<Phase<J>>,
    woken: Condvar,
}

enum Phase<J> {
    /// In the queue, with a job if another may do it.
    Queued(Option<J>),
    /// Out of the queue: the turn is this waiter's, and its job is its own to do.
    Turn(Option<J>),
    /// Out of the queue: another thread is doing the job.
    Taken,
    /// The job is done, or the queue was closed.
    Done(Result<()>),
}

/// The result of waiting in the queue.
pub(crate) enum Admission<J> {
    /// The turn is the caller's, and so is the job that it brought.
    Turn(Turn<J>, Option<J>),
    /// Another thread has done the job.
    Done,
}

/// The right to write, until it is dropped.
pub(crate) struct Turn<J>(Arc<Queue<J>>);

/// Another thread's job, taken over. It must be answered; dropping it answers that it failed.
pub(crate) struct Taken<J> {
    /// The job.
    pub(crate) job: J,
    answer: Answer<J>,
}

struct Answer<J>(Option<Arc<Waiter<J>>>);

/// A place in the queue. A thread that panics there leaves it, and passes on a turn that it was given.
struct InLine<'a, J>(&'a Arc<Queue<J>>, Arc<Waiter<J>>);

impl<J> QueueState<J> {
    fn refuse_own(&self, thread: u64) -> Result<()> {
        if self.holder != Some(thread) && self.owner.is_none_or(|owner| owner.thread != thread) {
            return Ok(());
        }
        Err(StoreError::new(
            ErrorKind::StoreBusy,
            "this thread already holds the writer, in another task, greenlet or context or in an interrupted call, so that waiting could never end; nothing was changed; repeat it once that transaction or call is over",
        ))
    }
}

impl<J> Queue<J> {
    pub(crate) fn new() -> Self {
        let state = QueueState { holder: None, closed: false, owner: None, waiting: VecDeque::new() };
        Self {
            state: Mutex::new(state),
            transaction_of: AtomicU64::new(NOBODY),
            generation: fork::generation(),
        }
    }

    /// Wait for the turn, or until another thread has done `job`.
    ///
    /// Fails at once if the wait could never end: the turn is held by the thread that would wait, for a transaction of
    /// another of its tasks or greenlets, or because the call came from a signal handler or a finalizer.
    pub(crate) fn enter(
        self: &Arc<Self>,
        job: Option<J>,
        caller: Owner,
        wait_for: &Wait,
    ) -> Result<Admission<J>> {
        self.enter_and_tell(job, caller, wait_for, || ())
    }

    /// As [`Self::enter`], and call `in_line` once no later waiter can be served earlier.
    pub(crate) fn enter_and_tell(
        self: &Arc<Self>,
        job: Option<J>,
        caller: Owner,
        wait_for: &Wait,
        in_line: impl FnOnce(),
    ) -> Result<Admission<J>> {
        let waiter = {
            let mut state = lock(&self.state);
            if state.closed {
                return Err(StoreError::closed());
            }
            let thread = caller.thread;
            if state.holder.is_none() {
                state.holder = Some(thread);
                drop(state);
                let turn = Turn(Arc::clone(self));
                in_line();
                return Ok(Admission::Turn(turn, job));
            }
            state.refuse_own(thread)?;
            let waiter =
                Arc::new(Waiter { thread, phase: Mutex::new(Phase::Queued(job)), woken: Condvar::new() });
            state.waiting.push_back(Arc::clone(&waiter));
            waiter
        };
        let waiting = InLine(self, waiter);
        in_line();
        loop {
            let slice = match wait_for.slice() {
                Ok(slice) => Some(slice),
                Err(over) if self.withdraw(&waiting.1) => return Err(over),
                Err(_) => None,
            };
            if let Some(admission) = self.look(&waiting.1, slice) {
                return admission;
            }
        }
    }

    /// Fail where a wait for the turn could never end.
    pub(crate) fn refuse_own(&self, caller: Owner) -> Result<()> {
        lock(&self.state).refuse_own(caller.thread)
    }

    /// Sleep until woken (for `slice` at most, if the job can still be withdrawn) and return the result.
    fn look(
        self: &Arc<Self>,
        waiter: &Waiter<J>,
        slice: Option<std::time::Duration>,
    ) -> Option<Result<Admission<J>>> {
        let mut phase = lock(&waiter.phase);
        if matches!(*phase, Phase::Queued(_) | Phase::Taken) {
            phase = wait(&waiter.woken, phase, slice.unwrap_or(std::time::Duration::from_secs(1)));
        }
        match std::mem::replace(&mut *phase, Phase::Taken) {
            Phase::Turn(job) => Some(Ok(Admission::Turn(Turn(Arc::clone(self)), job))),
            Phase::Done(result) => Some(result.map(|()| Admission::Done)),
            undecided => {
                *phase = undecided;
                None
            }
        }
    }

    /// Whether this process is a child of the one that made it. The locks may then be held by threads that do not exist.
    pub(crate) fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    /// In a forked child: whether a transaction of this thread held the turn at the fork.
    pub(crate) fn was_held_by_transaction_of(&self, thread: u64) -> bool {
        self.transaction_of.load(Ordering::Relaxed) == thread
    }

    /// Leave the queue; `false` when it is too late for that.
    fn withdraw(&self, waiter: &Arc<Waiter<J>>) -> bool {
        if self.is_inherited() {
            return true;
        }
        let mut state = lock(&self.state);
        let before = state.waiting.len();
        state.waiting.retain(|other| !Arc::ptr_eq(other, waiter));
        state.waiting.len() < before
    }

    /// Whether this owner's transaction holds the turn.
    pub(crate) fn is_owned_by(&self, owner: Owner) -> bool {
        lock(&self.state).owner == Some(owner)
    }

    /// Refuse new waiters, and fail all who wait.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        for waiter in waiting {
            waiter.answer(Err(StoreError::closed()));
        }
    }
}

impl<J> Turn<J> {
    /// Set the owner of the transaction that holds the turn.
    pub(crate) fn set_owner(&self, owner: Owner) {
        lock(&self.0.state).owner = Some(owner);
        self.0.transaction_of.store(owner.thread, Ordering::Relaxed);
    }

    /// Take over the job of the next waiter, if it brought one that `fits`.
    pub(crate) fn take_job(&self, fits: impl Fn(&J) -> bool) -> Option<Taken<J>> {
        let mut state = lock(&self.0.state);
        let next = Arc::clone(state.waiting.front()?);
        let mut phase = lock(&next.phase);
        match std::mem::replace(&mut *phase, Phase::Taken) {
            Phase::Queued(Some(job)) if fits(&job) => {
                drop(phase);
                state.waiting.pop_front();
                Some(Taken { job, answer: Answer(Some(next)) })
            }
            other => {
                *phase = other;
                None
            }
        }
    }
}

impl<J> Drop for Turn<J> {
    fn drop(&mut self) {
        if self.0.is_inherited() {
            return;
        }
        self.0.transaction_of.store(NOBODY, Ordering::Relaxed);
        let mut state = lock(&self.0.state);
        state.owner = None;
        let next = state.waiting.pop_front();
        state.holder = next.as_ref().map(|next| next.thread);
        let Some(next) = next else { return };
        let mut phase = lock(&next.phase);
        if let Phase::Queued(job) = std::mem::replace(&mut *phase, Phase::Taken) {
            *phase = Phase::Turn(job);
        }
        next.woken.notify_one();
    }
}

impl<J> Taken<J> {
    /// Give the thread that brought the job its result.
    pub(crate) fn answer(mut self, result: Result<()>) {
        if let Some(waiter) = self.answer.0.take() {
            waiter.answer(result);
        }
    }
}

impl<J> Drop for Answer<J> {
    fn drop(&mut self) {
        if let Some(waiter) = self.0.take() {
            waiter.answer(Err(StoreError::new(ErrorKind::Other, "the thread that was to write this failed")));
        }
    }
}

impl<J> Drop for InLine<'_, J> {
    fn drop(&mut self) {
        if !std::thread::panicking() || self.0.withdraw(&self.1) {
            return;
        }
        let phase = std::mem::replace(&mut *lock(&self.1.phase), Phase::Taken);
        if let Phase::Turn(_) = phase {
            drop(Turn(Arc::clone(self.0)));
        }
    }
}

impl<J> Waiter<J> {
    fn answer(&self, result: Result<()>) {
        *lock(&self.phase) = Phase::Done(result);
        self.woken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::model::caller::Caller;

    fn wait(millis: u64) -> Wait<'static> {
        Wait::new(Caller::thread(), Duration::from_millis(millis))
    }

    fn turn(queue: &Arc<Queue<u32>>) -> Turn<u32> {
        match queue.enter(None, Owner::thread(), &wait(10_000)) {
            Ok(Admission::Turn(turn, _)) => turn,
            _ => panic!("no turn"),
        }
    }

    fn waiting(queue: &Queue<u32>) -> usize {
        lock(&queue.state).waiting.len()
    }

    #[test]
    fn whoever_is_told_to_be_in_line_is_next() {
        let queue = Arc::new(Queue::new());
        let (told, in_line) = mpsc::channel();
        let first = turn(&queue);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let tell = || told.send(()).unwrap();
                let turn = queue.enter_and_tell(None, Owner::thread(), &wait(10_000), tell);
                (turn.is_ok(), waiting(&queue))
            });
            in_line.recv().unwrap();
            assert_eq!(waiting(&queue), 1);
            let third = scope.spawn(|| drop(turn(&queue)));
            while waiting(&queue) < 2 {
                std::thread::yield_now();
            }
            drop(first);
            assert_eq!(second.join().unwrap(), (true, 1));
            third.join().unwrap();
        });
    }

    #[test]
    fn turns_are_given_in_the_order_of_asking() {
        let queue = Arc::new(Queue::new());
        let (sender, order) = mpsc::channel();
        let first = turn(&queue);
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (theirs, sender) = (Arc::clone(&queue), sender.clone());
                let thread = std::thread::spawn(move || {
                    let _turn = turn(&theirs);
                    sender.send(number).unwrap();
                });
                while waiting(&queue) <= number {
                    std::thread::yield_now();
                }
                thread
            })
            .collect();
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_job_taken_over_is_answered_even_when_dropped() {
        let queue = Arc::new(Queue::new());
        let turn = turn(&queue);
        let theirs = Arc::clone(&queue);
        let thread = std::thread::spawn(move || theirs.enter(Some(7), Owner::thread(), &wait(10_000)).err());
        while waiting(&queue) == 0 {
            std::thread::yield_now();
        }
        assert!(turn.take_job(|job| *job > 7).is_none(), "a job that does not fit stays");
        let taken = turn.take_job(|_| true).unwrap();
        assert_eq!(taken.job, 7);
        drop(taken);
        assert_eq!(thread.join().unwrap().unwrap().kind, ErrorKind::Other);
    }

    #[test]
    fn a_wait_that_ends_leaves_the_queue() {
        let queue = Arc::new(Queue::<u32>::new());
        let _turn = turn(&queue);
        let error = queue.enter(Some(1), Owner { thread: 1, context: 0 }, &wait(5)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::StoreBusy);
        assert_eq!(waiting(&queue), 0);
    }

    /// Whether it was still waiting, or had the turn already.
    #[test]
    fn a_wait_that_panics_leaves_the_queue_and_hands_the_turn_on() {
        for has_turn in [false, true] {
            let queue = Arc::new(Queue::<u32>::new());
            let turn = Mutex::new(Some(turn(&queue)));
            let panics = || {
                if has_turn {
                    drop(lock(&turn).take());
                }
                panic!("on purpose")
            };
            let wait_for = Wait::new(Caller { interrupted: &panics, ..Caller::thread() }, Duration::MAX);
            let other = Owner { thread: 1, context: 0 };
            let enter = || queue.enter(None, other, &wait_for).map(|_| ());
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(enter)).unwrap_err();
            drop(lock(&turn).take());
            assert!(queue.enter(None, other, &wait(0)).is_ok(), "{has_turn}");
        }
    }

    #[test]
    fn a_task_never_waits_for_its_own_thread() {
        let queue = Arc::new(Queue::<u32>::new());
        let turn = turn(&queue);
        turn.set_owner(Owner { thread: 1, context: 1 });
        let error = queue.enter(None, Owner { thread: 1, context: 2 }, &wait(3_600_000)).err().unwrap();
        assert_eq!(error.kind, ErrorKind::StoreBusy);
    }

    #[test]
    fn closing_wakes_all_who_wait() {
        let queue = Arc::new(Queue::<u32>::new());
        let _turn = turn(&queue);
        let theirs = Arc::clone(&queue);
        let thread = std::thread::spawn(move || theirs.enter(None, Owner::thread(), &wait(3_600_000)).err());
        while waiting(&queue) == 0 {
            std::thread::yield_now();
        }
        queue.close();
        assert_eq!(thread.join().unwrap().unwrap().kind, ErrorKind::StoreClosed);
    }
}
