//! Brings the steps of many threads together, so that one pass through a model serves them all.
//!
//! There is no thread of its own: whoever arrives while nobody leads becomes the leader, waits a little for those that took
//! part in the pass before, runs the pass for all that came, and hands each its answer. A caller that is alone never
//! waits. [`Scheduler`] knows neither models nor tensors; `onnx/batch.rs` gives it a pass to run.
//!
//! - **Bounded waiting**: a pass begins at most [`BatchOptions::wait`] after its leader was ready.
//! - **No starvation**: where there are more members than places, those in the last pass stay for at most
//!   [`PASSES_IN_A_ROW`], and then places go to whoever has waited longest.
//! - **Faults stay where they are**: a pass that panics ends in its leader's thread, and the others are told
//!   ([`Abandoned`]). A member that left ([`Scheduler::leave`]) is not waited for.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Passes for which a member keeps its place although others wait for one: changing places costs copies.
const PASSES_IN_A_ROW: u32 = 16;

/// How steps of concurrent callers are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Longest time that a step waits for the callers of the last pass. Zero: steps are never brought together.
    pub wait: Duration,
    /// Most callers in one pass.
    pub rows_max: usize,
    /// Most bytes of keys and values in one pass, padding included; what does not fit runs alone.
    pub bytes_max: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions { wait: Duration::from_millis(5), rows_max: 8, bytes_max: 1 << 30 }
    }
}

impl BatchOptions {
    /// Every step runs alone.
    pub fn off() -> BatchOptions {
        BatchOptions { wait: Duration::ZERO, ..BatchOptions::default() }
    }

    /// Whether steps may be brought together.
    pub fn is_on(&self) -> bool {
        !self.wait.is_zero() && self.rows_max > 1
    }
}

/// Passes that were run so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchStats {
    /// Passes by the number of steps in them: the first is of passes with one.
    pub passes: Vec<u64>,
}

impl BatchStats {
    /// Steps in all.
    pub fn steps(&self) -> u64 {
        self.passes.iter().zip(1..).map(|(passes, size): (_, u64)| passes * size).sum()
    }
}

/// The pass that was to answer ended in a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// Who calls, from one step to the next.
pub(crate) type Member = u64;

/// Brings jobs `J` together and hands out answers `A`.
pub(crate) struct Scheduler<J, A> {
    options: BatchOptions,
    state: Mutex<State<J, A>>,
    /// Somebody came or left: the leader may look again.
    arrived: Condvar,
    /// A pass is done: callers may look for their answers, and for someone to lead.
    done: Condvar,
}

struct State<J, A> {
    /// In the order of arrival.
    waiting: Vec<Waiting<J>>,
    answers: HashMap<u64, Result<A, Abandoned>>,
    tickets: u64,
    is_led: bool,
    /// Members of the last pass, and how many passes in a row they have had.
    group: HashMap<Member, u32>,
    /// Those of them that have not come back yet.
    expected: HashSet<Member>,
    stats: BatchStats,
}

struct Waiting<J> {
    ticket: u64,
    member: Member,
    job: J,
}

impl<J, A> Scheduler<J, A> {
    pub(crate) fn new(options: BatchOptions) -> Self {
        let state = State {
            waiting: Vec::new(),
            answers: HashMap::new(),
            tickets: 0,
            is_led: false,
            group: HashMap::new(),
            expected: HashSet::new(),
            stats: BatchStats::default(),
        };
        Self { options, state: Mutex::new(state), arrived: Condvar::new(), done: Condvar::new() }
    }

    /// The answer to `job`, from a pass that this thread or another one runs. `run` answers each job, in order; it is called
    /// by the leader alone, so never twice at once.
    ///
    /// # Errors
    /// [`Abandoned`] when the pass panicked in another thread.
    pub(crate) fn submit(&self, member: Member, job: J, run: impl Fn(Vec<J>) -> Vec<A>) -> Result<A, Abandoned> {
        let mut state = self.state.lock();
        let ticket = state.enter(member, job);
        self.arrived.notify_one();
        loop {
            if let Some(answer) = state.answers.remove(&ticket) {
                return answer;
            }
            if state.is_led {
                self.done.wait(&mut state);
                continue;
            }
            state.is_led = true;
            self.gather(&mut state);
            let (tickets, jobs) = state.take(self.options.rows_max);
            let mut pass = Pass { scheduler: self, own: ticket, tickets, answers: Vec::new() };
            MutexGuard::unlocked(&mut state, || {
                pass.answers = run(jobs);
                drop(pass);
            });
        }
    }

    /// This member sends no more steps for now; nobody waits for it.
    pub(crate) fn leave(&self, member: Member) {
        let mut state = self.state.lock();
        state.group.remove(&member);
        if state.expected.remove(&member) {
            self.arrived.notify_one();
        }
    }

    pub(crate) fn stats(&self) -> BatchStats {
        self.state.lock().stats.clone()
    }

    /// Waits until all who are expected have come, the pass is full, or the time is up.
    fn gather(&self, state: &mut MutexGuard<'_, State<J, A>>) {
        let deadline = Instant::now() + self.options.wait;
        while !state.expected.is_empty() && state.waiting.len() < self.options.rows_max {
            if self.arrived.wait_until(state, deadline).timed_out() {
                break;
            }
        }
        // Who did not come in time is not waited for again until it does.
        state.expected.clear();
    }
}

impl<J, A> State<J, A> {
    fn enter(&mut self, member: Member, job: J) -> u64 {
        let ticket = self.tickets;
        self.tickets += 1;
        self.expected.remove(&member);
        self.waiting.push(Waiting { ticket, member, job });
        ticket
    }

    /// Whether the member keeps its place before those that wait longer.
    fn stays(&self, member: Member) -> bool {
        self.group.get(&member).is_some_and(|passes| *passes < PASSES_IN_A_ROW)
    }

    /// At most `rows_max` of the waiting, who become the group of the next pass.
    fn take(&mut self, rows_max: usize) -> (Vec<u64>, Vec<J>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() > rows_max {
            waiting.sort_by_key(|w| (!self.stays(w.member), w.ticket));
            self.waiting = waiting.split_off(rows_max);
            self.waiting.sort_by_key(|w| w.ticket);
        }
        let passes = |member| if self.stays(member) { self.group[&member] + 1 } else { 1 };
        self.group = waiting.iter().map(|w| (w.member, passes(w.member))).collect();
        self.expected = self.group.keys().copied().collect();
        if self.stats.passes.len() < waiting.len() {
            self.stats.passes.resize(waiting.len(), 0);
        }
        self.stats.passes[waiting.len() - 1] += 1;
        waiting.into_iter().map(|w| (w.ticket, w.job)).unzip()
    }
}

/// A pass that is being run: however it ends, everyone in it gets an answer, and somebody else can lead.
struct Pass<'s, J, A> {
    scheduler: &'s Scheduler<J, A>,
    /// The leader's.
    own: u64,
    tickets: Vec<u64>,
    answers: Vec<A>,
}

impl<J, A> Drop for Pass<'_, J, A> {
    fn drop(&mut self) {
        let mut state = self.scheduler.state.lock();
        let answers = std::mem::take(&mut self.answers).into_iter().map(Ok);
        let answers = answers.chain(std::iter::repeat_with(|| Err(Abandoned)));
        state.answers.extend(self.tickets.drain(..).zip(answers));
        if std::thread::panicking() {
            // The leader will neither fetch an answer nor want another pass.
            state.answers.remove(&self.own);
            state.waiting.retain(|w| w.ticket != self.own);
        }
        state.is_led = false;
        self.scheduler.done.notify_all();
    }
}

#[cfg(test)]
mod tests;
