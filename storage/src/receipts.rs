//! The memory of request ids: which batches were already applied, and with what receipt.
//!
//! Bounded: the oldest id is forgotten first. It survives reopening, because every journal record carries its id
//! and every manifest the ids up to its sequence.

use std::collections::{HashMap, VecDeque};

use bincode::{Decode, Encode};

use crate::batch::Receipt;

/// Ids remembered per collection.
pub(crate) const RECEIPTS_MAX: usize = 10_000;

/// A request id with the receipt of its batch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredReceipt {
    pub(crate) request_id: String,
    pub(crate) receipt: Receipt,
}

/// The last [`RECEIPTS_MAX`] request ids.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    by_id: HashMap<String, Receipt>,
    oldest_first: VecDeque<String>,
}

impl Receipts {
    pub(crate) fn from_stored(stored: Vec<StoredReceipt>) -> Receipts {
        let mut receipts = Receipts::default();
        for entry in stored {
            receipts.remember(entry.request_id, entry.receipt);
        }
        receipts
    }

    pub(crate) fn get(&self, request_id: &str) -> Option<Receipt> {
        self.by_id.get(request_id).copied()
    }

    pub(crate) fn remember(&mut self, request_id: String, receipt: Receipt) {
        if self.by_id.insert(request_id.clone(), receipt).is_some() {
            return;
        }
        self.oldest_first.push_back(request_id);
        if self.oldest_first.len() > RECEIPTS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Every remembered id, oldest first.
    pub(crate) fn stored(&self) -> Vec<StoredReceipt> {
        let stored = |id: &String| StoredReceipt { request_id: id.clone(), receipt: self.by_id[id] };
        self.oldest_first.iter().map(stored).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_first() {
        let mut receipts = Receipts::default();
        for sequence in 0..=RECEIPTS_MAX as u64 {
            receipts.remember(format!("r{sequence}"), Receipt { sequence, ..Receipt::default() });
        }
        assert_eq!(receipts.get("r0"), None);
        assert_eq!(receipts.get("r1").map(|r| r.sequence), Some(1));
        assert_eq!(Receipts::from_stored(receipts.stored()).stored(), receipts.stored());
    }
}
