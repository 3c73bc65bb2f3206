//! Where long work runs that nobody waits for: on threads of its own, so that short work does not queue behind it, and with
//! less of a claim to the processor.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Steps of niceness: beside a thread of the usual niceness, one with ten more gets a tenth of a core.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Runs parallel work on the patient threads; where they cannot be had, on the usual ones.
pub(crate) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static THREADS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    match THREADS.get_or_init(start) {
        Some(threads) => threads.install(work),
        None => work(),
    }
}

fn start() -> Option<ThreadPool> {
    let threads = ThreadPoolBuilder::new()
        .thread_name(|n| format!("fromagerie-patient-{n}"))
        .start_handler(|_| yield_to_others());
    threads.build().inspect_err(|error| tracing::warn!(%error, "merges share the threads of all else")).ok()
}

/// Only on Linux is niceness a thread's own.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "merges run at the usual niceness");
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn work_runs_on_threads_of_its_own() {
        let name = || std::thread::current().name().map(str::to_owned);
        assert!(run(name).is_some_and(|name| name.starts_with("fromagerie-patient-")));
        #[cfg(target_os = "linux")]
        assert_eq!(
            run(|| rustix::process::nice(0)).ok(),
            rustix::process::nice(0).ok().map(|usual| usual + super::NICENESS)
        );
    }
}
