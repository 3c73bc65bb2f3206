//! What a loss of power leaves: every state that the disk may be in afterwards.
//!
//! Of what was not synced, any part may have reached the disk.
//!
//! - *Names*: any subset of creations, removals and renames, as long as a change that needs another (the same name, or
//!   the directory that it happened in) comes after it. A rename is whole or not at all. This is the weakest of the
//!   models that Pillai et al. found file systems to keep ("All File Systems Are Not Created Equal", OSDI 2014: ALICE),
//!   and wider than the bounded images of Mohan et al. ("Finding Crash-Consistency Bugs with Bounded Black-Box Crash
//!   Testing", OSDI 2018: CrashMonkey), which end at syncs.
//! - *Content*: each sector of 512 bytes is as it was before, or as after any of the writes to it; the length is one of
//!   those that the file had, or any multiple of a sector in between. A sector inside the length that was never written
//!   reads as zeros (ext4 with ordered data, xfs, btrfs), or as garbage where that is asked for (ext4 with `data=writeback`).
//! - *The catalog* is a store of its own, which syncs for itself: it is as it was told last, as at any time before, or
//!   gone.

use std::collections::BTreeMap;

use super::dice::Dice;
use super::platter::{Platter, Records};
use super::tree::{Change, NodeId, write};

const SECTOR_BYTES: usize = 512;

/// Which part of what was not synced is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All of it.
    Everything,
    /// Nothing: it all reached the disk in time.
    Nothing,
    /// All content, and no name.
    Content,
    /// All names, and no content.
    Names,
    /// What a seed says.
    Some(u64),
    /// What a seed says, and lost sectors read as garbage.
    Garbage(u64),
}

/// What is left of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogLoss {
    /// All that was put into it.
    Nothing,
    /// What was in it at an earlier time that a seed says.
    Since(u64),
    /// Nothing is left.
    Everything,
}

/// The disk after the power was lost.
pub(super) fn lose_power(platter: &Platter, loss: Loss, catalog: CatalogLoss) -> Platter {
    let mut chance = Chance::of(loss);
    let mut tree = platter.safe.clone();
    let mut lost: Vec<&Change> = Vec::new();
    let mut contents: BTreeMap<NodeId, Vec<&Change>> = BTreeMap::new();
    for change in &platter.pending {
        if let Some(file) = change.content_of() {
            contents.entry(file).or_default().push(change);
        } else if lost.iter().any(|earlier| change.follows(earlier)) || !chance.keeps_name() {
            lost.push(change);
        } else {
            tree.apply(change);
        }
    }
    for (file, changes) in contents {
        if let Ok(old) = tree.content(file) {
            let new = settle(old, &changes, &mut chance);
            tree.set_content(file, new);
        }
    }
    tree.forget_orphans();
    Platter::of(tree, records_left(platter, catalog), platter.next())
}

fn records_left(platter: &Platter, catalog: CatalogLoss) -> Records {
    let all = platter.catalog_changes.len();
    match catalog {
        CatalogLoss::Nothing => platter.catalog_after(all),
        CatalogLoss::Since(seed) => platter.catalog_after(Dice::new(seed).below(all as u64 + 1) as usize),
        CatalogLoss::Everything => Records::new(),
    }
}

/// The content of a file of which some writes reached the disk.
fn settle(old: &[u8], changes: &[&Change], chance: &mut Chance) -> Vec<u8> {
    let lengths = lengths(old.len(), changes);
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut content = old.to_vec();
    content.resize(longest, 0);
    if chance.is_garbage {
        content[old.len()..].fill_with(|| chance.dice.throw() as u8);
    }
    for start in (0..longest).step_by(SECTOR_BYTES) {
        let sector = start..(start + SECTOR_BYTES).min(longest);
        let touching: Vec<&&Change> = changes.iter().filter(|change| touches(change, start)).collect();
        for change in &touching[..chance.writes_kept(touching.len())] {
            match change {
                Change::Write { offset, bytes, .. } => {
                    let from = sector.start.max(*offset as usize);
                    let to = sector.end.min(*offset as usize + bytes.len());
                    write(&mut content, from, &bytes[from - *offset as usize..to - *offset as usize]);
                }
                // The kernel clears the rest of the last block when it cuts a file.
                Change::Resize { bytes, .. } => content[(*bytes as usize).max(sector.start)..sector.end].fill(0),
                _ => unreachable!("a change of content"),
            }
        }
    }
    content.resize(chance.length(&lengths), 0);
    content
}

/// Every length that the file had, from the synced one on.
fn lengths(old: usize, changes: &[&Change]) -> Vec<usize> {
    let mut lengths = vec![old];
    for change in changes {
        let now = lengths[lengths.len() - 1];
        lengths.push(match change {
            Change::Write { offset, bytes, .. } => now.max(*offset as usize + bytes.len()),
            Change::Resize { bytes, .. } => *bytes as usize,
            _ => now,
        });
    }
    lengths
}

fn touches(change: &Change, sector: usize) -> bool {
    match change {
        Change::Write { offset, bytes, .. } => {
            (*offset as usize) < sector + SECTOR_BYTES && *offset as usize + bytes.len() > sector
        }
        Change::Resize { bytes, .. } => (sector..sector + SECTOR_BYTES).contains(&(*bytes as usize)),
        _ => false,
    }
}

/// What is kept, by rule or by chance.
struct Chance {
    loss: Loss,
    dice: Dice,
    percent: u64,
    is_garbage: bool,
}

impl Chance {
    fn of(loss: Loss) -> Chance {
        let seed = match loss {
            Loss::Some(seed) | Loss::Garbage(seed) => seed,
            _ => 0,
        };
        let mut dice = Dice::new(seed);
        let percent = [15, 50, 85][dice.below(3) as usize];
        Chance { loss, dice, percent, is_garbage: matches!(loss, Loss::Garbage(_)) }
    }

    fn keeps_name(&mut self) -> bool {
        match self.loss {
            Loss::Everything | Loss::Names => false,
            Loss::Nothing | Loss::Content => true,
            Loss::Some(_) | Loss::Garbage(_) => self.dice.chance(self.percent),
        }
    }

    /// How many of the writes to a sector reached it.
    fn writes_kept(&mut self, writes: usize) -> usize {
        match self.loss {
            Loss::Everything | Loss::Content => 0,
            Loss::Nothing | Loss::Names => writes,
            Loss::Some(_) | Loss::Garbage(_) => (0..writes).take_while(|_| self.dice.chance(self.percent)).count(),
        }
    }

    fn length(&mut self, lengths: &[usize]) -> usize {
        let last = lengths.len() - 1;
        let at = match self.loss {
            Loss::Everything | Loss::Content => 0,
            Loss::Nothing | Loss::Names => last,
            Loss::Some(_) | Loss::Garbage(_) => self.dice.below(lengths.len() as u64) as usize,
        };
        let chosen = lengths[at];
        if matches!(self.loss, Loss::Some(_) | Loss::Garbage(_)) && at > 0 && self.dice.chance(50) {
            // Any sector between two lengths, as when pages are written one by one.
            let (low, high) = (chosen.min(lengths[at - 1]), chosen.max(lengths[at - 1]));
            let sectors = (high / SECTOR_BYTES) as u64 - (low / SECTOR_BYTES) as u64;
            return low.max((low / SECTOR_BYTES + self.dice.below(sectors + 1) as usize) * SECTOR_BYTES);
        }
        chosen
    }
}
