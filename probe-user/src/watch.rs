//! What watches one host during a run, here or at the far end, what it is asked for, and how every hop is watched.

mod carried;
pub mod drops;
mod heard;
mod hooks;
pub mod lookups;
pub mod meter;
mod neighbours;
mod other_devices;
pub mod path_watch;
mod place_rules;
mod places;
mod tracking;
pub mod under_way;
mod ways;

use crate::{
    error::Failure,
    model::{
        request::WatchRequest,
        trace::{HostTrace, Taken},
    },
};

/// Watches the probes of one run on one host. Dropping it detaches everything.
pub trait Watching {
    /// Returns what was seen so far: journeys and drops, without findings. Cheap enough to be asked every few
    /// milliseconds.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    fn look(&mut self) -> Result<HostTrace, Failure>;

    /// Returns everything that was seen, with what is looked up after the probes have passed: settings, routes, chains,
    /// and everything else that explains where packets stop. Asked once, and only if there is something to explain.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    fn finish(&mut self) -> Result<HostTrace, Failure>;

    /// Looks for probes inside the packets of these tunnels too ([`crate::model::trace::tunnel::to_words`]), which
    /// another host of the run has.
    fn learn_tunnels(&mut self, _words: &[u32]) {}

    /// Looks once more for neighbours that were not found at a time when nobody watched the search, and waits a moment
    /// for the outcome. Asked once, before either end finishes, and only if there is something to explain.
    fn look_for_neighbours(&mut self) {}

    /// Returns the run's packets that were kept from this host's kernel and not reported yet; each is reported once.
    /// Nothing unless the watch was asked for that ([`crate::model::request::RequestHandling::kept`]). Cheap enough to
    /// be asked every few milliseconds.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    fn absorbed(&mut self) -> Result<Taken, Failure> {
        Ok(Taken::default())
    }
}

/// Starts watching in the network namespace of the calling thread.
pub type Factory = fn(&WatchRequest) -> Result<Box<dyn Watching>, Failure>;
