//! Work on labs on a thread of its own, so that Ctrl-C is heard beside it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{commands::interrupt::Interrupt, error::Failure};

/// Runs `work` to its end, and gives what it gives. A signal sets the flag that it is called with: it is to end soon then,
/// as its labs go before the command does.
///
/// # Errors
/// What `work` failed with, or that it panicked.
pub(super) async fn beside<T, W>(work: W) -> Result<T, Failure>
where
    T: Send + 'static,
    W: FnOnce(&AtomicBool) -> Result<T, Failure> + Send + 'static,
{
    let mut interrupt = Interrupt::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let mut work = tokio::task::spawn_blocking(move || work(&asked));
    let done = tokio::select! {
        done = &mut work => done,
        () = interrupt.caught() => {
            stop.store(true, Ordering::Relaxed);
            work.await
        }
    };
    done.map_err(|error| Failure::new(format!("the lab stopped: {error}"), "probe doctor may say why"))?
}
