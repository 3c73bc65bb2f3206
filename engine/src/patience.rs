//! Where long work runs that nobody waits for: on threads of its own, so that short work does not queue behind it, and with
//! less of a claim to the processor.

use std::sync::OnceLock;
use std::time::Duration;

use fromagerie_storage::Task;
use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Steps of niceness: beside a thread of the usual niceness, one with ten more gets a tenth of a core.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How often who waits asks whether the work is still wanted.
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// Runs parallel work on the patient threads, one after the other; where they cannot be had, on the usual ones. None when
/// it was not wanted any more before its turn came.
pub(crate) fn run<T: Send>(task: &mut Task<'_>, work: impl FnOnce(&mut Task<'_>) -> T + Send) -> Option<T> {
    static TURN: Mutex<()> = Mutex::new(());
    static THREADS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let _turn = loop {
        match TURN.try_lock_for(ASKED_EVERY) {
            Some(turn) => break turn,
            None if task.is_wanted() => {}
            None => return None,
        }
    };
    Some(match THREADS.get_or_init(start) {
        Some(threads) => threads.install(|| work(task)),
        None => work(task),
    })
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
    use fromagerie_storage::Task;

    use super::run;

    #[test]
    fn work_runs_on_threads_of_its_own() {
        let run = |work: fn() -> Option<String>| run(&mut Task::waited_for(), move |_| work()).flatten();
        let name = run(|| std::thread::current().name().map(str::to_owned));
        assert!(name.is_some_and(|name| name.starts_with("fromagerie-patient-")));
        #[cfg(target_os = "linux")]
        {
            let niceness = || rustix::process::nice(0).ok().map(|steps| steps.to_string());
            assert_eq!(run(niceness), rustix::process::nice(0).ok().map(|usual| (usual + super::NICENESS).to_string()));
        }
    }

    #[test]
    fn who_waits_for_a_turn_may_give_up() {
        let (inside, begun) = std::sync::mpsc::channel();
        let (let_go, waits) = std::sync::mpsc::channel::<()>();
        let first = std::thread::spawn(move || {
            run(&mut Task::waited_for(), move |_| {
                inside.send(()).ok();
                waits.recv().ok()
            })
        });
        begun.recv().expect("the first has its turn");
        assert_eq!(run(&mut Task::in_background(&mut |_| false), |_| ()), None);
        drop(let_go);
        assert_eq!(first.join().ok(), Some(Some(None)));
    }
}
