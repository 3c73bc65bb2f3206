//! A source whose first records are read ahead, to see whether it holds vectors.

use std::collections::VecDeque;

use super::{Body, Failure, Found, Source, Vectors};

/// Records that are read to find one that is whole.
const AHEAD_MAX: usize = 16;

/// `S`, some records further than it says.
pub(super) struct Peeked<S> {
    source: S,
    /// Records with where they begin.
    ahead: VecDeque<(u64, Result<Found, Failure>)>,
    vectors: Option<Vectors>,
}

impl<S: Source> Peeked<S> {
    pub(super) fn new(mut source: S) -> Peeked<S> {
        let (mut ahead, mut vectors) = (VecDeque::new(), None);
        while ahead.len() < AHEAD_MAX {
            let at = source.position();
            let Some(found) = source.next() else { break };
            let first = found.as_ref().ok().map(|found| match &found.body {
                Body::Vector(vector) => Some(Vectors { dim: vector.len(), space: None }),
                _ => None,
            });
            ahead.push_back((at, found));
            if let Some(first) = first {
                vectors = first;
                break;
            }
        }
        Peeked { source, ahead, vectors }
    }
}

impl<S: Source> Source for Peeked<S> {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        match self.ahead.pop_front() {
            Some((_, found)) => Some(found),
            None => self.source.next(),
        }
    }

    fn position(&self) -> u64 {
        self.ahead.front().map_or_else(|| self.source.position(), |(at, _)| *at)
    }

    fn remaining(&self) -> Option<u64> {
        self.source.remaining().map(|rest| rest + self.ahead.len() as u64)
    }

    fn vectors(&self) -> Option<Vectors> {
        self.source.vectors().or(self.vectors)
    }
}
