//! The memory of request ids: which batches were already applied, and with what receipt.
//!
//! Bounded: the oldest id is forgotten first. It survives reopening, because every journal record carries its id
//! and every manifest the ids up to its sequence.

use std::collections::{HashMap, VecDeque};

use bincode::{Decode, Encode};

use crate::batch::Receipt;

/// A request id with the receipt of its batch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredReceipt {
    pub(crate) request_id: String,
    pub(crate) receipt: Receipt,
}

/// The last request ids, as many as the store's options say.
#[derive(Debug)]
pub(crate) struct Receipts {
    ids_max: usize,
    by_id: HashMap<String, Receipt>,
    oldest_first: VecDeque<String>,
}

impl Receipts {
    pub(crate) fn from_stored(stored: Vec<StoredReceipt>, ids_max: usize) -> Receipts {
        let mut receipts = Receipts { ids_max, by_id: HashMap::new(), oldest_first: VecDeque::new() };
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
        if self.oldest_first.len() > self.ids_max
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// Ids that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.oldest_first.len()
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
        let mut receipts = Receipts::from_stored(Vec::new(), 3);
        for sequence in 0..=3 {
            receipts.remember(format!("r{sequence}"), Receipt { sequence, ..Receipt::default() });
        }
        assert_eq!(receipts.get("r0"), None);
        assert_eq!(receipts.get("r1").map(|r| r.sequence), Some(1));
        assert_eq!(Receipts::from_stored(receipts.stored(), 3).stored(), receipts.stored());
        assert_eq!(Receipts::from_stored(receipts.stored(), 1).stored().len(), 1, "a smaller memory keeps the newest");
    }
}
