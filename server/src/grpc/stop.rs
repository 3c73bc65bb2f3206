//! How a server ends: nothing new is taken, what is under way may end for a while, and a second signal ends it at once.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// How long calls that are under way may take to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Interrupts and terminations.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs what `serve` makes of the future that tells it to take nothing new, until it or the patience with it ends.
pub(super) async fn until_signalled<F, E>(serve: impl FnOnce(oneshot::Receiver<()>) -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), E>>,
    E: Into<anyhow::Error>,
{
    let mut signals = Signals::new()?;
    let (stop, stopped) = oneshot::channel();
    let mut served = pin!(serve(stopped));
    tokio::select! {
        ended = &mut served => return ended.map_err(Into::into),
        () = signals.next() => {}
    }
    tracing::warn!("stopping: calls under way may end for {} s; a second signal ends them now", DRAIN.as_secs());
    let _ = stop.send(());
    tokio::select! {
        ended = &mut served => return ended.map_err(Into::into),
        () = signals.next() => tracing::warn!("stopped at once: calls under way were cut off"),
        () = tokio::time::sleep(DRAIN) => tracing::warn!("calls that had not ended were cut off"),
    }
    Ok(())
}
