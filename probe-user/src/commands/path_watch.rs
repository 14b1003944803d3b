//! What watches a run's probes on a host, as `diagnose` and `agent` start it.

use crate::{
    error::Failure,
    peer::{WatchRequest, Watching},
};

/// Starts watching in the network namespace of the calling thread.
///
/// # Errors
/// Where the kernel half cannot be loaded.
pub(super) fn open(request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    let interface = request.interface.as_deref().unwrap_or("no interface");
    Err(Failure::new(
        format!("this build has nothing that watches the path of probes ({interface})"),
        "build one that has kernel::path_watch",
    ))
}
