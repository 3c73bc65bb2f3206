//! Several things answered at once, and told in the order in which they were asked.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError, mpsc};

use super::{Outcome, Output};

/// What became of the things asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) answered: usize,
    pub(super) failed: usize,
}

impl Told {
    pub(super) fn outcome(self) -> Outcome {
        if self.failed > 0 { Outcome::Partly } else { Outcome::Done }
    }
}

/// Answers `asked` on as many threads as `parallel` says; `tell` gets each answer, and `output` each error, as soon as all
/// before it were told.
pub(super) fn in_order<Q: Send, A: Send>(
    asked: impl Iterator<Item = Q> + Send,
    parallel: u16,
    answer: impl Fn(Q) -> anyhow::Result<A> + Sync,
    output: &Output,
    mut tell: impl FnMut(A) -> io::Result<()>,
) -> io::Result<Told> {
    let asked = Mutex::new(asked.enumerate());
    let (send, answers) = mpsc::sync_channel(usize::from(parallel));
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            let (send, asked, answer) = (send.clone(), &asked, &answer);
            scope.spawn(move || {
                // The lock is given back before the question is answered.
                let next = || asked.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((number, question)) = next() {
                    if send.send((number, answer(question))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let (mut early, mut told) = (BTreeMap::new(), Told::default());
        for (number, answer) in answers {
            early.insert(number, answer);
            while let Some(answer) = early.remove(&(told.answered + told.failed)) {
                match answer {
                    Ok(answer) => {
                        told.answered += 1;
                        tell(answer)?;
                    }
                    Err(error) => {
                        told.failed += 1;
                        output.error(&error);
                    }
                }
            }
        }
        Ok(told)
    })
}
