//! Random runs that repeat: numbers (SplitMix64), where their seed comes from, and a log of what was done with them.

#![allow(dead_code, unreachable_pub, clippy::print_stdout)]

use std::collections::VecDeque;

/// A generator; equal seeds give equal numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// True `one` times of `of`.
    pub fn chance(&mut self, one: usize, of: usize) -> bool {
        self.below(of) < one
    }
}

/// Whether the long runs were asked for, as `make torture` does.
pub fn torture() -> bool {
    std::env::var_os("FROMAGERIE_TORTURE").is_some()
}

/// The seed to repeat, when one was given in `FROMAGERIE_SEED`.
pub fn seed() -> Option<u64> {
    std::env::var("FROMAGERIE_SEED").ok().map(|text| text.parse().expect("FROMAGERIE_SEED is a number"))
}

/// The last operations; told when a test fails.
pub struct Log {
    seed: u64,
    /// Operations so far.
    pub done: u64,
    last: VecDeque<String>,
}

impl Log {
    pub fn new(seed: u64) -> Log {
        Log { seed, done: 0, last: VecDeque::new() }
    }

    pub fn note(&mut self, operation: String) {
        self.done += 1;
        if self.last.len() == 30 {
            self.last.pop_front();
        }
        self.last.push_back(operation);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("FROMAGERIE_SEED={} failed at operation {}; the last ones:", self.seed, self.done);
            self.last.iter().for_each(|operation| println!("  {operation}"));
        }
    }
}
