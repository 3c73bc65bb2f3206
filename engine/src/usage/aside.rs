//! One thread of a database for what nobody waits for: exact searches to compare with, hints to write.
//!
//! It is started when there is something to do. What does not fit into its short queue is left undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

/// Work that waits at most.
const WAITING_MAX: usize = 8;

/// Work that nobody waits for. It must hold no handle of the database itself, which waits for it when it closes.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// The thread, once it is needed.
pub(crate) struct Aside {
    /// Share of one core that exact searches may have; 0 for none.
    budget: f32,
    running: Mutex<Option<(SyncSender<Work>, JoinHandle<()>)>>,
    closing: Arc<AtomicBool>,
}

impl Aside {
    pub(crate) fn new(budget: f32) -> Aside {
        Aside { budget, running: Mutex::default(), closing: Arc::default() }
    }

    pub(super) fn budget(&self) -> f32 {
        self.budget
    }

    /// Whether the database is being closed, so that work should end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Has `work` done, unless too much is waiting, or the database is being closed.
    pub(crate) fn offer(&self, work: Work) -> bool {
        let mut running = self.running.lock();
        if self.is_closing() {
            return false;
        }
        if running.is_none() {
            let (sender, receiver) = sync_channel(WAITING_MAX);
            let closing = self.closing.clone();
            let thread = std::thread::Builder::new().name("fromagerie-aside".into());
            let Ok(thread) = thread.spawn(move || serve(&receiver, &closing)) else { return false };
            *running = Some((sender, thread));
        }
        running.as_ref().is_some_and(|(sender, _)| sender.try_send(work).is_ok())
    }

    /// Ends the thread, after what it is doing.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let running = self.running.lock().take();
        if let Some((sender, thread)) = running {
            drop(sender);
            if thread.thread().id() != std::thread::current().id() {
                // A panic there was printed, and cost what nobody waited for.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(work: &Receiver<Work>, closing: &AtomicBool) {
    for work in work {
        if closing.load(Ordering::Relaxed) {
            return;
        }
        work();
    }
}
