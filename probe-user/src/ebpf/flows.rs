//! Reads flows and waiting requests: addresses, round-trip times, and losses.

use crate::clock::monotonic_ns;
use std::{io, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use probe_ebpf::{Flow, FlowKey, Pending, PendingKey, flow::TRACKING, names};

use super::{KernelError, batch};

/// The maps in which the kernel half keeps flows.
#[derive(Debug)]
pub struct FlowMaps {
    flows: MapData,
    pending: MapData,
}

/// Requests of one flow that got no reply in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRequests {
    /// The flow.
    pub flow: FlowKey,
    /// How many.
    pub requests: u64,
}

/// Makes `programs` follow flows from now on. Call it once every hop is attached: only then is the way back watched for each
/// request that leaves.
///
/// # Errors
/// [`KernelError::NoMap`] or [`KernelError::Map`] if the map is missing or refuses the value.
pub fn begin(programs: &mut Ebpf) -> Result<(), KernelError> {
    let name = names::TRACKING;
    let map = programs.map_mut(name).ok_or(KernelError::NoMap { name })?;
    let written = Array::<_, u32>::try_from(map).and_then(|mut array| array.set(0, TRACKING, 0));
    written.map_err(|source| KernelError::Map { name, source: Box::new(source) })
}

impl FlowMaps {
    /// Takes the maps out of `programs`.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let Some(Map::LruHashMap(flows)) = programs.take_map(names::FLOWS) else {
            return Err(KernelError::NoMap { name: names::FLOWS });
        };
        let Some(Map::HashMap(pending)) = programs.take_map(names::PENDING) else {
            return Err(KernelError::NoMap { name: names::PENDING });
        };
        Ok(Self { flows, pending })
    }

    /// Returns every flow that the kernel half keeps.
    pub fn read(&self) -> Result<Vec<(FlowKey, Flow)>, KernelError> {
        batch::entries(self.flows.fd()).map_err(|source| unreadable(names::FLOWS, source))
    }

    /// Removes and returns the requests that have waited longer than `timeout`: they are lost, and each is reported once.
    pub fn take_lost(&self, timeout: Duration) -> Result<Vec<LostRequests>, KernelError> {
        let now = monotonic_ns();
        let waiting: Vec<(PendingKey, Pending)> =
            batch::entries(self.pending.fd()).map_err(|source| unreadable(names::PENDING, source))?;
        let mut lost = Vec::new();
        for (key, pending) in waiting {
            if Duration::from_nanos(now.saturating_sub(pending.sent_ns)) < timeout {
                continue;
            }
            let taken: Option<Pending> =
                batch::take(self.pending.fd(), &key).map_err(|source| unreadable(names::PENDING, source))?;
            // Answered between the two calls: not lost.
            let Some(taken) = taken else { continue };
            lost.push(LostRequests { flow: key.flow, requests: taken.waiting });
        }
        Ok(lost)
    }
}

fn unreadable(name: &'static str, source: io::Error) -> KernelError {
    KernelError::ReadMap { name, source }
}
