//! Steps of concurrent conversations in one pass.
//!
//! The [`Scheduler`] says who steps together, [`Rows`] holds their keys and values between passes, and this file puts the
//! two together with the graph. A pass that fails as a whole is run again one by one, and a row whose numbers are bad
//! leaves the batch, so that no conversation can hurt another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::decoder_graph::{DecoderGraph, Keep, Reading};
use super::error::GraphError;
use super::kept::{GRAPH, HeadShape, Slot, lost};
use super::rows::{Bounds, Rows};
use crate::model::Forward;
use crate::schedule::{BatchOptions, BatchStats, Member, Scheduler};

/// One more position of one sequence.
pub(super) struct Job {
    /// `[hidden]`: its input embedding.
    pub(super) row: Vec<f32>,
    pub(super) slot: Arc<Slot>,
    /// Positions before it; at least one.
    pub(super) len: usize,
}

type Answer = Result<Forward, GraphError>;

pub(super) struct Batch {
    options: BatchOptions,
    rows: Mutex<Rows>,
    scheduler: Scheduler<Job, Answer>,
    members: AtomicU64,
}

impl Batch {
    pub(super) fn new(shape: HeadShape, options: BatchOptions) -> Self {
        let bounds = Bounds { rows_max: options.rows_max, bytes_max: options.bytes_max };
        let (rows, scheduler) = (Mutex::new(Rows::new(shape, bounds)), Scheduler::new(options));
        Self { options, rows, scheduler, members: AtomicU64::new(0) }
    }

    pub(super) fn new_member(&self) -> Member {
        self.members.fetch_add(1, Ordering::Relaxed)
    }

    /// What `job` comes to, in a pass with whoever else wants a step now.
    pub(super) fn step(&self, graph: &DecoderGraph, member: Member, job: Job) -> Answer {
        self.scheduler
            .submit(member, job, |jobs| self.pass(graph, &jobs))
            .unwrap_or(Err(GraphError::Abandoned { graph: GRAPH }))
    }

    /// The member takes no more steps for now.
    pub(super) fn leave(&self, member: Member) {
        self.scheduler.leave(member);
    }

    /// Puts a sequence's keys and values back into its slot.
    pub(super) fn release(&self, slot: &Arc<Slot>) -> Result<(), GraphError> {
        self.rows.lock().release(slot)
    }

    /// Forgets a sequence that is no more.
    pub(super) fn vacate(&self, slot: &Arc<Slot>) {
        self.rows.lock().vacate(slot);
    }

    pub(super) fn stats(&self) -> BatchStats {
        self.scheduler.stats()
    }

    /// One more position of each of `jobs`, in one pass where they fit into one.
    pub(super) fn pass(&self, graph: &DecoderGraph, jobs: &[Job]) -> Vec<Answer> {
        let mut rows = self.rows.lock();
        let mut answers: Vec<Option<Answer>> =
            jobs.iter().map(|job| check(job, rows.len_of(&job.slot)).err().map(Err)).collect();
        // The longest makes the others' padding: if that is too much, it runs alone.
        let mut group: Vec<usize> = (0..jobs.len()).filter(|number| answers[*number].is_none()).collect();
        group.sort_by_key(|number| jobs[*number].len);
        let bytes = |group: &[usize], rows: &Rows| {
            group.last().map_or(0, |longest| group.len() * (jobs[*longest].len + 1) * rows.shape().bytes())
        };
        while group.len() > 1 && bytes(&group, &rows) > self.options.bytes_max {
            if let Some(longest) = group.pop() {
                answers[longest] = Some(alone(&mut rows, graph, &jobs[longest]));
            }
        }
        if group.is_empty() {
            return finished(answers);
        }
        match together(&mut rows, graph, &group.iter().map(|number| &jobs[*number]).collect::<Vec<_>>()) {
            Ok(found) => group.iter().zip(found).for_each(|(number, answer)| answers[*number] = Some(answer)),
            Err(error) if group.len() == 1 => answers[group[0]] = Some(Err(error)),
            Err(error) => {
                tracing::warn!(%error, steps = group.len(), "a pass failed; its steps run one by one");
                for number in group {
                    answers[number] = Some(alone(&mut rows, graph, &jobs[number]));
                }
            }
        }
        finished(answers)
    }
}

/// Whether the keys and values found are of the positions that were read.
fn check(job: &Job, found: Option<usize>) -> Result<(), GraphError> {
    if found == Some(job.len) { Ok(()) } else { Err(lost(job.len, found.unwrap_or(0))) }
}

fn finished(answers: Vec<Option<Answer>>) -> Vec<Answer> {
    answers.into_iter().map(|answer| answer.unwrap_or(Err(GraphError::Abandoned { graph: GRAPH }))).collect()
}

fn together(rows: &mut Rows, graph: &DecoderGraph, jobs: &[&Job]) -> Result<Vec<Answer>, GraphError> {
    let slots: Vec<Arc<Slot>> = jobs.iter().map(|job| job.slot.clone()).collect();
    let seats = rows.admit(&slots)?;
    let hidden = graph.hidden();
    let mut embeds = vec![0.0; rows.len() * hidden];
    for (seat, job) in seats.iter().zip(jobs) {
        embeds[seat * hidden..(seat + 1) * hidden].copy_from_slice(&job.row);
    }
    let past = rows.tensors().iter().map(Into::into).collect();
    let reading = Reading { rows: rows.len(), added: 1, cached: rows.total(), keep: Keep::Last };
    let read = graph.run(&embeds, rows.mask(&seats), past, reading)?;
    let mut answers: Vec<Option<Answer>> = read.forwards.into_iter().map(Some).collect();
    let answers: Vec<Answer> = seats.iter().filter_map(|seat| answers[*seat].take()).collect();
    let stepped: Vec<usize> =
        seats.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(seat, _)| *seat).collect();
    rows.advance(read.present, &stepped);
    for (slot, _) in slots.iter().zip(&answers).filter(|(_, answer)| answer.is_err()) {
        // The others have taken their step: nothing that fails from here on may run it again. A row that could not leave
        // stays, and is tried again at its next step.
        if let Err(error) = rows.release(slot) {
            tracing::warn!(%error, "a row whose numbers are bad stays in the batch");
        }
    }
    Ok(answers)
}

fn alone(rows: &mut Rows, graph: &DecoderGraph, job: &Job) -> Answer {
    rows.release(&job.slot)?;
    let mut own = job.slot.lock();
    graph.alone(&job.row, own.as_mut().ok_or_else(|| lost(job.len, 0))?, Keep::Last)
}
