//! How many threads a graph should use: one for each physical core that this process may run on.
//!
//! Two threads on one core share its arithmetic units, and matrix products then gain nothing from the second.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::thread::available_parallelism;

/// Physical cores, no more than the processors this process may use (affinity, container quota). At least 1.
pub(super) fn physical() -> usize {
    let usable = available_parallelism().map_or(1, usize::from);
    // Processors 0 and 1 may be threads of one core: they then name each other as siblings.
    let cores: BTreeSet<String> = (0..4096)
        .map_while(|cpu| read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")).ok())
        .collect();
    if cores.is_empty() { usable } else { usable.min(cores.len()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_one_at_least() {
        let usable = std::thread::available_parallelism().unwrap().get();
        assert!((1..=usable).contains(&super::physical()));
    }
}
