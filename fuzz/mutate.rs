//! Fuzzing without a fuzzer: a kept corpus is replayed, then mutated blindly for a while. libFuzzer, which needs a
//! nightly toolchain, found the corpus; this lets any machine use it. Included by the tests of the crates it drives.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::random::Random;

const INPUT_BYTES_MAX: usize = 1 << 16;
/// Values at which lengths and counts go wrong.
const EDGES: [u64; 12] =
    [0, 1, 7, 0x7F, 0xFF, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 32, i64::MAX as u64, u64::MAX];

/// Replays the corpus of `name`, then mutates it for `FROMAGERIE_FUZZ_SECONDS` of this thread's time (1 without it), or one
/// `part` of that.
///
/// Of the kept inputs some must be accepted, and of what becomes of them: a corpus of a former format tests nothing.
pub fn run(name: &str, part: u32, target: impl Fn(&[u8]) -> bool + RefUnwindSafe) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|path| path.join("fuzz/corpus").is_dir());
    let folder = folder.expect("fuzz/corpus is in the repository").join("fuzz");
    let corpus = read(&folder.join("corpus").join(name));
    assert!(!corpus.is_empty(), "there is no corpus of {name}");
    let survives = |bytes: &[u8]| {
        catch_unwind(|| target(bytes)).unwrap_or_else(|_| {
            let path = folder.join(format!("failure-{name}"));
            std::fs::write(&path, bytes).unwrap();
            panic!("{name}: a panic, by the bytes in {}", path.display());
        })
    };
    let kept = corpus.iter().filter(|bytes| survives(bytes)).count();
    assert!(kept > 0, "{name}: no kept input is accepted; the format has changed, and the corpus must too");
    let seconds = std::env::var("FROMAGERIE_FUZZ_SECONDS").map_or(1, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds) / part;
    let seed = std::env::var("FROMAGERIE_SEED").map_or(1, |text| text.parse().unwrap());
    let (mut random, mut runs, mut accepted, begun) = (Random::new(seed), corpus.len(), kept, Clock::start());
    while runs % 64 != 0 || begun.elapsed() < time {
        accepted += usize::from(survives(&mutated(&corpus, &mut random)));
        runs += 1;
    }
    println!("{name}: {kept} of {} kept inputs accepted, and {accepted} of {runs} runs", corpus.len());
}

fn read(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One of the inputs, changed in a few places.
pub fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(1 + bytes.len() - at).min(1 << random.below(8));
        match random.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 | 3 => {
                let edge = EDGES[random.below(EDGES.len())].wrapping_add(random.below(3) as u64).wrapping_sub(1);
                let width = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge.to_le_bytes()[..width]);
            }
            4 => drop(bytes.drain(at..at + length)),
            5 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(bytes.len() - random.below(16).min(bytes.len())),
        }
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

/// The time that this thread was run for, where the system tells; else the time that passed.
struct Clock(Instant, Option<Duration>);

impl Clock {
    fn start() -> Clock {
        Clock(Instant::now(), on_cpu())
    }

    fn elapsed(&self) -> Duration {
        match (on_cpu(), self.1) {
            (Some(now), Some(start)) => now.saturating_sub(start),
            _ => self.0.elapsed(),
        }
    }
}

fn on_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
