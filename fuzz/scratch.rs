//! A file for bytes that are read from a path: one a thread, in memory where there is such a place.

use std::path::{Path, PathBuf};

/// Writes the bytes into this thread's file and looks at it.
pub fn with<T>(bytes: &[u8], look: impl FnOnce(&Path) -> T) -> T {
    SCRATCH.with(|scratch| {
        std::fs::write(&scratch.0, bytes).expect("room for a small file");
        look(&scratch.0)
    })
}

thread_local! {
    static SCRATCH: Scratch = Scratch::new();
}

/// It goes with its thread.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        Scratch(folder.join(format!("fromagerie-fuzz-{}-{:?}", std::process::id(), std::thread::current().id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
