//! What the process holds while a collection grows.

use fromagerie::IngestEvent;
use serde_json::{Value, json};

use crate::memory;

/// Looks at memory every so many items.
pub(crate) struct Growth {
    every: usize,
    done: usize,
    looked: usize,
    samples: Vec<Value>,
}

impl Growth {
    pub(crate) fn every(items: usize) -> Growth {
        Growth { every: items, done: 0, looked: 0, samples: Vec::new() }
    }

    /// Takes note of what an ingest tells.
    pub(crate) fn see(&mut self, event: &IngestEvent<'_>) {
        let IngestEvent::Written { keys, .. } = event else { return };
        self.done += keys.len();
        if self.done >= self.looked + self.every {
            self.looked = self.done;
            self.samples.extend(memory().ok().map(|memory| json!({ "items": self.done, "memory": memory })));
        }
    }

    pub(crate) fn samples(self) -> Vec<Value> {
        self.samples
    }
}
