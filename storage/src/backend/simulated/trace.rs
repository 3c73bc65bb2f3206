//! The record of a run, played back event by event, with the disks that a crash at each point would leave.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::SimulatedDisk;
use super::loss::{CatalogLoss, Loss, lose_power};
use super::platter::{Event, Platter};
use super::tree::ROOT;

/// Everything that happened on a disk since it was made.
#[derive(Debug, Clone)]
pub struct Trace {
    pub(super) start: Platter,
    pub(super) events: Vec<Event>,
}

impl Trace {
    /// Events of the run.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Stands before the first event.
    pub fn replay(&self) -> Replay<'_> {
        Replay { trace: self, at: 0, marks: 0, platter: self.start.clone() }
    }
}

/// A point in a run.
#[derive(Debug, Clone)]
pub struct Replay<'a> {
    trace: &'a Trace,
    at: usize,
    marks: u64,
    platter: Platter,
}

impl Replay<'_> {
    /// Goes on to after the next event that changes the disk; false at the end.
    pub fn step(&mut self) -> bool {
        while let Some(event) = self.trace.events.get(self.at) {
            self.at += 1;
            self.platter.step(event);
            if !matches!(event, Event::Mark) {
                self.pass_marks();
                return true;
            }
            self.marks += 1;
        }
        false
    }

    /// Marks up to here: what the user of the disk was told is done.
    pub fn marks(&self) -> u64 {
        self.marks
    }

    /// Changes that are not synced here.
    pub fn unsynced(&self) -> usize {
        self.platter.pending.len()
    }

    /// A disk as it is found when the power goes here.
    pub fn power_lost(&self, loss: Loss, catalog: CatalogLoss) -> SimulatedDisk {
        SimulatedDisk::on(lose_power(&self.platter, loss, catalog))
    }

    /// The disk as the next process finds it when this one is killed here: what was written is seen, and what was not
    /// synced can still be lost.
    pub fn killed(&self) -> SimulatedDisk {
        SimulatedDisk::on(self.platter.clone())
    }

    /// Marks that stand between this event and the next one.
    fn pass_marks(&mut self) {
        while let Some(Event::Mark) = self.trace.events.get(self.at) {
            self.at += 1;
            self.marks += 1;
        }
    }
}

/// A number for what is seen on a disk: names, contents, catalog.
pub(super) fn fingerprint(platter: &Platter) -> u64 {
    let mut hasher = DefaultHasher::new();
    platter.live.walk(ROOT, "", &mut |path, content| (path, content).hash(&mut hasher));
    platter.catalog_after(platter.catalog_changes.len()).hash(&mut hasher);
    hasher.finish()
}
