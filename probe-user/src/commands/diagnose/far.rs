//! The far end of a run, if one was asked for. If it fails midway, the run goes on with this end alone.

use std::sync::Arc;

use super::{ProgressLine, place::Egress, responder, vias};
use crate::{
    cli::diagnose::DiagnoseArgs,
    commands::place::everywhere,
    error::Failure,
    model::{
        request::{HostRole, RouteChoosers, WatchRequest},
        trace::{HostFacts, HostTrace, SenderTrace},
    },
    peer::{
        Peer, PeerOptions, Trouble,
        command::{Deploy, Finishing},
        protocol::SendOrder,
    },
    stop::StopSignal,
    traffic::ResolvedTarget,
};

/// The far end.
pub(super) struct Far {
    peer: Option<Peer>,
    host: Option<HostFacts>,
    progress: ProgressLine,
}

impl Far {
    /// Starts its command.
    pub(super) fn start(args: &DiagnoseArgs, stop: &StopSignal, progress: &ProgressLine) -> Result<Self, Failure> {
        let command = args.peer.clone().unwrap_or_default();
        let deploy = if args.deploy { Deploy::Yes } else { Deploy::No };
        let told = progress.clone();
        let relay = Arc::new(move |line: &str| told.relay(line));
        let peer = Peer::start(PeerOptions { deploy, ..PeerOptions::new(command) }, stop, relay)?;
        Ok(Self { peer: Some(peer), host: None, progress: progress.clone() })
    }

    /// Waits for its hello, and has it watch.
    ///
    /// # Errors
    /// Any trouble, as nothing was sent yet.
    pub(super) fn watch(
        &mut self,
        args: &DiagnoseArgs,
        target: &ResolvedTarget,
        place: &Egress,
        nonce: u64,
        id: u16,
    ) -> Result<(), Failure> {
        let Some(peer) = &mut self.peer else { return Ok(()) };
        let hello = peer.greet()?;
        tracing::info!("the far end is {} with probe {}, kernel {}", hello.hostname, hello.version, hello.kernel);
        let ready = peer.watch(WatchRequest {
            nonce,
            id,
            probes: super::plan::numbers(args),
            local: target.address.ip(),
            remote: place.local(target),
            interface: None,
            role: HostRole::Receiver,
            attach: crate::model::attach::Attach::default(),
            trace_rules: args.trace_rules,
            everywhere: everywhere(args.own_namespace),
            requests: responder::requests(args.responder),
            source_given: false,
            further: Vec::new(),
            tunnels: super::place::tunnels(),
            numbered_from: super::plan::numbered_from(args),
            sent_as: None,
            choosers: RouteChoosers { tos: args.ping.tos(), ..RouteChoosers::default() },
        })?;
        for (hop, why) in &ready.blind {
            tracing::info!("the far end is blind at {}: {why}", hop.name());
        }
        self.host = Some(ready.host);
        Ok(())
    }

    /// Asks it by how many nanoseconds its clock is ahead; 0 if it cannot tell.
    pub(super) fn ahead(&mut self) -> i64 {
        self.peer.as_mut().map(vias::ahead).unwrap_or_default()
    }

    /// Returns the host where it watches, once it does.
    pub(super) fn host(&self) -> Option<&HostFacts> {
        self.host.as_ref()
    }

    /// Returns what it has seen so far, if it has just said so.
    pub(super) fn look(&mut self) -> Option<HostTrace> {
        let looked = self.peer.as_mut()?.look();
        self.unless_gone(looked).flatten()
    }

    /// Returns what it has seen until now, without what it would look up.
    pub(super) fn see(&mut self) -> Option<HostTrace> {
        let seen = self.peer.as_mut()?.see();
        self.unless_gone(seen)
    }

    /// Asks for all that it saw.
    pub(super) fn finish(&mut self) -> Option<Finishing> {
        let asked = self.peer.as_mut()?.finish();
        self.unless_gone(asked)
    }

    /// Returns all that it saw.
    pub(super) fn finished(&mut self, asked: Finishing) -> Option<HostTrace> {
        let sight = self.peer.as_mut()?.finished(asked);
        self.unless_gone(sight)
    }

    /// Makes it send echo packets to this end, and returns what came back to it. A refusal is no trouble: nothing else
    /// in the run depends on it.
    pub(super) fn send(&mut self, order: SendOrder) -> Option<SenderTrace> {
        let sent = self.peer.as_mut()?.send(order);
        sent.inspect_err(|trouble| tracing::debug!("the far end sends nothing: {trouble}")).ok()
    }

    /// Returns the value; on an error, says why and goes on without the far end. What it reported before is not used:
    /// in old counts, what came later would look lost.
    fn unless_gone<T>(&mut self, result: Result<T, Trouble>) -> Option<T> {
        result
            .map_err(|trouble| {
                let failure = Failure::from(trouble);
                self.progress.warn(&format!("{failure}; the verdict is from this end alone"));
                self.peer = None;
            })
            .ok()
    }
}
