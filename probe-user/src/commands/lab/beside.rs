//! Work on labs on another thread, so that Ctrl-C is handled meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{commands::interrupt::Interrupt, error::Failure};

/// Runs `work` to its end, and returns its result. A signal sets the flag that `work` gets; it must then end soon,
/// since its labs must be removed before the command ends.
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
