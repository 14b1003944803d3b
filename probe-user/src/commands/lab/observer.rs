//! A NIC of the lab's firewall as an observer of a run: watched inside its namespace, and let go there.

use crate::{
    error::Failure,
    lab::{Netns, Nic, Topology},
    model::{request::WatchRequest, trace::HostTrace},
    watch::{Watching, path_watch::PassingWatch},
};

/// A watch that lives in another network namespace than its owner's thread.
struct Inside {
    netns: Netns,
    host: &'static str,
    /// None only while it is being dropped.
    watch: Option<PassingWatch>,
}

/// Watches `nic` for the run of `request`.
///
/// # Errors
/// Nothing can be attached there.
pub(super) fn start(lab: &Topology, nic: Nic, request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    let netns = lab.netns(nic.host()).clone();
    let request = WatchRequest { interface: Some(nic.interface().to_owned()), ..request.clone() };
    let watch = netns.run(|| PassingWatch::start(&request))??;
    Ok(Box::new(Inside { netns, host: nic.host().name(), watch: Some(watch) }))
}

impl Watching for Inside {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        let watch = self.watch.as_mut().expect("it is there until it is dropped");
        let mut sight = watch.look()?;
        self.host.clone_into(&mut sight.host.hostname);
        Ok(sight)
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        self.look()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let watch = self.watch.take();
        // Filters of a clsact qdisc are removed through netlink, which works in the namespace of its thread. A
        // namespace that can no longer be entered has taken them along.
        let _ = self.netns.run(move || drop(watch));
    }
}
