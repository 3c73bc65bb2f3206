//! Runs the engine's work beside the network's threads, and stops it when nobody waits any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fromagerie::Result;
use tonic::Status;

use super::status::status;

/// Turns true when the handler's future is dropped.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` on a blocking thread. Its argument tells whether the client has gone away.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> Result<T> + Send + 'static,
) -> std::result::Result<T, Status> {
    let gone = Arc::new(AtomicBool::new(false));
    let _waiting = Waiting(gone.clone());
    let done = tokio::task::spawn_blocking(move || work(&|| gone.load(Ordering::Relaxed))).await;
    match done {
        Ok(result) => result.map_err(|error| status(&error)),
        Err(_) => Err(Status::internal("the work behind this call ended unexpectedly; the server's log has more")),
    }
}
