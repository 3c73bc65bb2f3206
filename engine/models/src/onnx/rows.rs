//! Keys and values of several sequences, padded to one length, as one pass reads them.
//!
//! They persist between passes: what a pass returns is what the next one takes. Rows are as long as each other, so a row
//! has positions that are not its sequence's: padding before it, and *holes* from passes in which it had no step. The
//! attention mask hides both, and positions are counted by the mask. So that members come and go without copying
//! everybody's memory, a row whose sequence is gone is written over by the next one that fits in, and one that is absent for
//! a moment stays; only when too much is padding, or somebody does not fit, are all rows gathered anew.

use std::sync::{Arc, Weak};

use ort::value::{DynValue, Tensor};

use super::error::GraphError;
use super::kept::{GRAPH, HeadShape, Kept, Slot, failed, values};

/// Passes for which a sequence may be absent before its row is given up.
const PATIENCE: u32 = 3;
/// Rows are gathered anew when they have more than twice the positions of the longest sequence, and this many.
const SLACK: usize = 64;

/// What a batch may grow to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
}

/// The padded rows.
pub(super) struct Rows {
    shape: HeadShape,
    bounds: Bounds,
    /// Positions of each row.
    total: usize,
    /// Key and value of layer 0, of layer 1, ..., `[seats, heads, total, width]` each.
    tensors: Vec<DynValue>,
    seats: Vec<Seat>,
}

struct Seat {
    /// Whose row it is; of nobody when nobody holds the slot any more.
    slot: Weak<Slot>,
    /// `[total]`: which positions are the sequence's.
    real: Vec<bool>,
    /// Passes in a row without a step of this sequence.
    idle: u32,
}

impl Seat {
    fn is_of(&self, slot: &Arc<Slot>) -> bool {
        Weak::as_ptr(&self.slot) == Arc::as_ptr(slot)
    }

    fn is_free(&self) -> bool {
        self.slot.strong_count() == 0
    }

    fn len(&self) -> usize {
        self.real.iter().filter(|real| **real).count()
    }

    fn free(&mut self) {
        self.slot = Weak::new();
        self.real.fill(false);
    }
}

/// A row to be, and where its keys and values are now.
struct Part {
    slot: Arc<Slot>,
    source: Source,
    idle: u32,
}

enum Source {
    Seat(usize),
    Own(Kept),
}

impl Rows {
    pub(super) fn new(shape: HeadShape, bounds: Bounds) -> Self {
        Self { shape, bounds, total: 0, tensors: Vec::new(), seats: Vec::new() }
    }

    pub(super) fn shape(&self) -> HeadShape {
        self.shape
    }

    /// Positions of a sequence, here or in memory of its own; none if its keys and values are nowhere.
    pub(super) fn len_of(&self, slot: &Arc<Slot>) -> Option<usize> {
        let own = || slot.lock().as_ref().map(|kept| kept.len);
        self.seat_of(slot).map(|number| self.seats[number].len()).or_else(own)
    }

    /// Number of rows, those of nobody included.
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Positions of each row.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn tensors(&self) -> &[DynValue] {
        &self.tensors
    }

    pub(super) fn bytes(&self) -> usize {
        self.len() * self.total * self.shape.bytes()
    }

    /// Gives each of `slots` a row, and returns their numbers in the same order.
    pub(super) fn admit(&mut self, slots: &[Arc<Slot>]) -> Result<Vec<usize>, GraphError> {
        if self.is_loose(slots) || !self.place(slots)? {
            self.gather(slots)?;
        }
        slots.iter().map(|slot| self.seat_of(slot).ok_or_else(no_row)).collect()
    }

    /// `[rows, total + 1]`: 1 where a row has something to be seen, after a pass in which these seats take a step.
    pub(super) fn mask(&self, stepping: &[usize]) -> Vec<i64> {
        let mut mask = Vec::with_capacity(self.len() * (self.total + 1));
        for (number, seat) in self.seats.iter().enumerate() {
            mask.extend(seat.real.iter().map(|real| i64::from(*real)));
            mask.push(i64::from(stepping.contains(&number)));
        }
        mask
    }

    /// Puts the present in the past's place; `stepped`: the seats whose new position is their sequence's.
    pub(super) fn advance(&mut self, present: Vec<DynValue>, stepped: &[usize]) {
        self.tensors = present;
        self.total += 1;
        for (number, seat) in self.seats.iter_mut().enumerate() {
            let has_step = stepped.contains(&number);
            seat.real.push(has_step);
            seat.idle = if has_step { 0 } else { seat.idle + 1 };
        }
    }

    /// Gives a sequence its keys and values back, if they are here.
    pub(super) fn release(&mut self, slot: &Arc<Slot>) -> Result<(), GraphError> {
        if let Some(number) = self.seat_of(slot) {
            let kept = self.take_out(number)?;
            *slot.lock() = Some(kept);
        }
        Ok(())
    }

    /// Forgets a sequence.
    pub(super) fn vacate(&mut self, slot: &Arc<Slot>) {
        if let Some(number) = self.seat_of(slot) {
            self.seats[number].free();
            self.clear_if_unused();
        }
    }

    fn seat_of(&self, slot: &Arc<Slot>) -> Option<usize> {
        self.seats.iter().position(|seat| seat.is_of(slot))
    }

    /// Whether a pass over the rows as they are would mostly read what is nobody's.
    fn is_loose(&self, slots: &[Arc<Slot>]) -> bool {
        let is_wanted = |seat: &Seat| slots.iter().any(|slot| seat.is_of(slot));
        let is_tired = |seat: &Seat| seat.idle > PATIENCE && !is_wanted(seat);
        let longest = self.seats.iter().filter(|seat| !seat.is_free()).map(Seat::len).max().unwrap_or(0);
        let is_large = self.len() > slots.len() && self.bytes() > self.bounds.bytes_max;
        is_large || self.total > 2 * longest + SLACK || self.seats.iter().any(is_tired)
    }

    /// Writes newcomers over rows of nobody. False when one of them finds none.
    fn place(&mut self, slots: &[Arc<Slot>]) -> Result<bool, GraphError> {
        for slot in slots {
            if self.seat_of(slot).is_some() {
                continue;
            }
            let mut own = slot.lock();
            let Some(kept) = own.as_ref().filter(|kept| kept.len <= self.total) else {
                return Ok(false);
            };
            let Some(number) = self.seats.iter().position(Seat::is_free) else {
                return Ok(false);
            };
            self.write(number, kept)?;
            let padding = self.total - kept.len;
            let real = (0..self.total).map(|at| at >= padding).collect();
            self.seats[number] = Seat { slot: Arc::downgrade(slot), real, idle: 0 };
            *own = None;
        }
        Ok(true)
    }

    /// A sequence at the end of a row, with zeros before it: what lay there may not even be numbers.
    fn write(&mut self, number: usize, kept: &Kept) -> Result<(), GraphError> {
        let HeadShape { heads, width, .. } = self.shape;
        let (head, own) = (self.total * width, kept.len * width);
        for (tensor, from) in self.tensors.iter_mut().zip(&kept.tensors) {
            let (_, to) = tensor.try_extract_tensor_mut::<f32>().map_err(failed)?;
            let row = &mut to[number * heads * head..(number + 1) * heads * head];
            for (to, from) in row.chunks_exact_mut(head).zip(values(from)?.chunks_exact(own)) {
                to[..head - own].fill(0.0);
                to[head - own..].copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// The rows of `slots`.
    fn add_wanted(&self, slots: &[Arc<Slot>], parts: &mut Vec<Part>) -> Result<(), GraphError> {
        for slot in slots {
            let source = match self.seat_of(slot) {
                Some(number) => Source::Seat(number),
                None => Source::Own(slot.lock().take().ok_or_else(no_row)?),
            };
            parts.push(Part { slot: slot.clone(), source, idle: 0 });
        }
        Ok(())
    }

    /// Makes rows of `slots`, of those that are absent for a moment where there is room, and of nobody else.
    fn gather(&mut self, slots: &[Arc<Slot>]) -> Result<(), GraphError> {
        let mut parts = Vec::with_capacity(slots.len());
        let made = self
            .add_wanted(slots, &mut parts)
            .and_then(|()| self.add_absent(&mut parts))
            .and_then(|()| self.joined(&parts));
        match made {
            Ok((total, tensors)) => {
                let seat = |part: &Part| {
                    let padding = total - self.source_len(&part.source);
                    let real = (0..total).map(|at| at >= padding).collect();
                    Seat { slot: Arc::downgrade(&part.slot), real, idle: part.idle }
                };
                let seats = parts.iter().map(seat).collect();
                (self.total, self.tensors, self.seats) = (total, tensors, seats);
                Ok(())
            }
            Err(error) => {
                for part in parts {
                    if let Source::Own(kept) = part.source {
                        *part.slot.lock() = Some(kept);
                    }
                }
                Err(error)
            }
        }
    }

    /// Keeps the rows of sequences that are absent for a moment; the others get their keys and values back.
    fn add_absent(&mut self, parts: &mut Vec<Part>) -> Result<(), GraphError> {
        let mut longest = parts.iter().map(|part| self.source_len(&part.source)).max().unwrap_or(0);
        for number in 0..self.seats.len() {
            let seat = &self.seats[number];
            let Some(slot) = seat.slot.upgrade() else { continue };
            if parts.iter().any(|part| Arc::ptr_eq(&part.slot, &slot)) {
                continue;
            }
            let with = longest.max(seat.len());
            let bytes = (parts.len() + 1) * (with + 1) * self.shape.bytes();
            if seat.idle <= PATIENCE && parts.len() < self.bounds.rows_max && bytes <= self.bounds.bytes_max {
                longest = with;
                parts.push(Part { slot, source: Source::Seat(number), idle: seat.idle });
            } else {
                let kept = self.copy_out(number)?;
                self.seats[number].free();
                *slot.lock() = Some(kept);
            }
        }
        Ok(())
    }

    fn source_len(&self, source: &Source) -> usize {
        match source {
            Source::Seat(number) => self.seats[*number].len(),
            Source::Own(kept) => kept.len,
        }
    }

    /// The parts as rows of the longest one's length.
    fn joined(&self, parts: &[Part]) -> Result<(usize, Vec<DynValue>), GraphError> {
        let HeadShape { layers, heads, width } = self.shape;
        let total = parts.iter().map(|part| self.source_len(&part.source)).max().unwrap_or(0);
        let mut tensors = Vec::with_capacity(2 * layers);
        for number in 0..2 * layers {
            let mut joined = Vec::with_capacity(parts.len() * heads * total * width);
            for part in parts {
                let padding = (total - self.source_len(&part.source)) * width;
                for head in 0..heads {
                    joined.resize(joined.len() + padding, 0.0);
                    match &part.source {
                        Source::Seat(seat) => self.read(*seat, number, head, &mut joined)?,
                        Source::Own(kept) => {
                            let own = kept.len * width;
                            joined.extend_from_slice(&values(&kept.tensors[number])?[head * own..(head + 1) * own]);
                        }
                    }
                }
            }
            let shape = [parts.len(), heads, total, width];
            tensors.push(Tensor::from_array((shape, joined)).map_err(failed)?.into_dyn());
        }
        Ok((total, tensors))
    }

    /// Appends a sequence's positions, without padding and holes, of one head of one tensor.
    fn read(&self, number: usize, tensor: usize, head: usize, to: &mut Vec<f32>) -> Result<(), GraphError> {
        let HeadShape { heads, width, .. } = self.shape;
        let size = self.total * width;
        let from = &values(&self.tensors[tensor])?[(number * heads + head) * size..][..size];
        for (position, real) in from.chunks_exact(width).zip(&self.seats[number].real) {
            if *real {
                to.extend_from_slice(position);
            }
        }
        Ok(())
    }

    /// A sequence's keys and values; its seat is free then.
    fn take_out(&mut self, number: usize) -> Result<Kept, GraphError> {
        let is_whole = self.len() == 1 && self.seats[number].real.iter().all(|real| *real);
        if is_whole {
            let kept = Kept { len: self.total, tensors: std::mem::take(&mut self.tensors) };
            (self.total, self.seats) = (0, Vec::new());
            return Ok(kept);
        }
        let kept = self.copy_out(number)?;
        self.seats[number].free();
        self.clear_if_unused();
        Ok(kept)
    }

    fn copy_out(&self, number: usize) -> Result<Kept, GraphError> {
        let HeadShape { heads, width, .. } = self.shape;
        let len = self.seats[number].len();
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in 0..self.tensors.len() {
            let mut own = Vec::with_capacity(heads * len * width);
            for head in 0..heads {
                self.read(number, tensor, head, &mut own)?;
            }
            tensors.push(Tensor::from_array(([1, heads, len, width], own)).map_err(failed)?.into_dyn());
        }
        Ok(Kept { len, tensors })
    }

    fn clear_if_unused(&mut self) {
        if self.seats.iter().all(Seat::is_free) {
            (self.total, self.tensors, self.seats) = (0, Vec::new(), Vec::new());
        }
    }
}

fn no_row() -> GraphError {
    GraphError::Run { graph: GRAPH, why: "a sequence has no row".into() }
}
