//! The hosts in between that agents of this run watch (`--via`). If one of them fails, a sentence says so, and the run
//! goes on with the rest.

use std::{sync::Arc, thread};

use super::{ProgressLine, place::Egress};
use crate::{
    cli::diagnose::DiagnoseArgs,
    diagnosis::MAX_PLACES,
    error::Failure,
    model::{
        request::{HostRole, RequestHandling, WatchRequest},
        trace::{HostFacts, HostTrace, ViaTrace},
    },
    peer::{
        Peer, PeerOptions, Trouble,
        clock::FarClock,
        command::{Deploy, Finishing},
        protocol::Ready,
    },
    stop::StopSignal,
    traffic::{ResolvedTarget, prober::AheadProbe},
};

/// How often each is asked for the time.
const CLOCK_QUESTIONS: usize = 4;

/// Hosts in between, in the order in which they were typed.
pub(super) struct Vias {
    vias: Vec<Via>,
    progress: ProgressLine,
}

/// One of them.
struct Via {
    /// The command, as it was typed.
    command: String,
    peer: Option<Peer>,
    ready: Ready,
    clock: FarClock,
    /// What it last reported.
    seen: HostTrace,
}

impl Vias {
    /// Starts their commands.
    pub(super) fn start(args: &DiagnoseArgs, stop: &StopSignal, progress: &ProgressLine) -> Self {
        let deploy = if args.deploy { Deploy::Yes } else { Deploy::No };
        let mut vias = Vec::new();
        for (number, command) in args.via.iter().enumerate() {
            if number >= MAX_PLACES {
                progress.warn(&format!(
                    "--via '{command}': at most {MAX_PLACES} hosts in between can be watched; it is \
                     left out"
                ));
                continue;
            }
            let told = progress.clone();
            let relay = Arc::new(move |line: &str| told.relay_of("via", line));
            let options = PeerOptions { deploy, ..PeerOptions::new(command.clone()) };
            let via = |peer| Via {
                command: command.clone(),
                peer: Some(peer),
                ready: Ready::default(),
                clock: FarClock::default(),
                seen: HostTrace::default(),
            };
            match Peer::start(options, stop, relay) {
                Ok(peer) => vias.push(via(peer)),
                Err(trouble) => left_out(progress, command, trouble),
            }
        }
        Self { vias, progress: progress.clone() }
    }

    /// Starts watching on all of them at the same time. Those that cannot are left out, and so are those whose
    /// network namespace another of them watches already.
    pub(super) fn watch(&mut self, request: &WatchRequest) {
        let progress = &self.progress;
        thread::scope(|scope| {
            for via in &mut self.vias {
                scope.spawn(move || {
                    if let Err(trouble) = via.watch(request) {
                        via.leave(progress, trouble);
                    }
                });
            }
        });
        let mut known: Vec<(HostFacts, String)> = Vec::new();
        for via in self.vias.iter_mut().filter(|via| via.peer.is_some()) {
            let host = &via.ready.host;
            match known.iter().find(|(other, _)| other.is_same_place(host)) {
                Some((_, other)) => {
                    let (command, name) = (&via.command, &host.hostname);
                    let what = format!("reaches the network namespace on {name} that --via '{other}' watches already");
                    progress.warn(&format!("--via '{command}' {what}; it is left out"));
                    via.peer = None;
                }
                None => known.push((host.clone(), via.command.clone())),
            }
        }
        self.vias.retain(|via| via.peer.is_some());
    }

    /// Leaves out those that watch the same place as an end, whose own hops tell more, and says so.
    pub(super) fn without(&mut self, end: &HostFacts, what: &str) {
        let progress = &self.progress;
        self.vias.retain(|via| {
            let same = via.ready.host.is_same_place(end);
            if same {
                progress.warn(&format!("--via '{}' reaches {what}; it is left out", via.command));
            }
            !same
        });
    }

    /// Returns what they have seen so far, as far as they have reported it.
    pub(super) fn look(&mut self, ahead: AheadProbe) -> Vec<&HostTrace> {
        for via in &mut self.vias {
            let looked = via.peer.as_mut().map(Peer::look);
            match looked {
                Some(Ok(Some(mut sight))) => {
                    sight.renumber(|noted| ahead.number(noted));
                    via.seen = sight;
                }
                Some(Err(trouble)) => via.leave(&self.progress, trouble),
                Some(Ok(None)) | None => {}
            }
        }
        self.vias.iter().filter(|via| via.peer.is_some()).map(|via| &via.seen).collect()
    }

    /// Returns all that they saw until now, without what they would look up.
    pub(super) fn see(&mut self) -> Vec<ViaTrace> {
        let seen = self.vias.iter_mut().filter_map(|via| {
            let seen = via.peer.as_mut()?.see();
            via.told(&self.progress, seen)
        });
        seen.collect()
    }

    /// Returns all that they saw, with what they look up now, all of them at the same time.
    pub(super) fn finish(&mut self) -> Vec<ViaTrace> {
        let progress = &self.progress;
        let asked: Vec<Option<Finishing>> = self
            .vias
            .iter_mut()
            .map(|via| match via.peer.as_mut()?.finish() {
                Ok(asked) => Some(asked),
                Err(trouble) => {
                    via.leave(progress, trouble);
                    None
                }
            })
            .collect();
        let told = self.vias.iter_mut().zip(asked).filter_map(|(via, asked)| {
            let told = via.peer.as_mut()?.finished(asked?);
            via.told(progress, told)
        });
        told.collect()
    }
}

impl Vias {
    /// Returns the hosts, as they described themselves.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &HostFacts> {
        self.vias.iter().map(|via| &via.ready.host)
    }
}

impl Via {
    fn watch(&mut self, request: &WatchRequest) -> Result<(), Trouble> {
        let Some(peer) = &mut self.peer else { return Ok(()) };
        let hello = peer.greet()?;
        tracing::info!("{} has probe {}, kernel {}", hello.hostname, hello.version, hello.kernel);
        self.ready = peer.watch(request.clone())?;
        for _ in 0..CLOCK_QUESTIONS {
            peer.learn_clock(&mut self.clock)?;
        }
        Ok(())
    }

    fn told(&mut self, progress: &ProgressLine, told: Result<HostTrace, Trouble>) -> Option<ViaTrace> {
        match told {
            Ok(trace) => {
                Some(ViaTrace { trace, addresses: self.ready.addresses.clone(), ahead_ns: self.clock.ahead() })
            }
            Err(trouble) => {
                self.leave(progress, trouble);
                None
            }
        }
    }

    /// Says why it is left out. What it reported before is not used: in old counts, what came later would look lost.
    fn leave(&mut self, progress: &ProgressLine, trouble: Trouble) {
        left_out(progress, &self.command, trouble);
        self.peer = None;
    }
}

/// Says that the run goes on without one of them; says nothing if the run itself was interrupted.
fn left_out(progress: &ProgressLine, command: &str, trouble: Trouble) {
    if matches!(trouble, Trouble::Stopped) {
        return;
    }
    let Failure { error, fix } = trouble.into();
    let error = error.replace("the peer command", "the command").replace("the far end", "that agent");
    let fix = fix.replace("--peer", "--via").replace("on the far end:", "there:");
    let fix = if fix.is_empty() { fix } else { format!(" — {fix}") };
    progress.warn(&format!("--via '{command}': {error}; the verdict is made without it{fix}"));
}

/// Returns what hosts in between are to watch.
pub(super) fn request(
    args: &DiagnoseArgs,
    target: &ResolvedTarget,
    place: &Egress,
    nonce: u64,
    id: u16,
) -> WatchRequest {
    WatchRequest {
        interface: None,
        role: HostRole::Router,
        attach: crate::model::attach::Attach::default(),
        requests: RequestHandling::Pass,
        source_given: false,
        sent_as: None,
        choosers: Default::default(),
        ..super::plan::request(args, target, place, nonce, id)
    }
}

/// Asks a far end that turned out to be in between by how many nanoseconds its clock is ahead; 0 if it cannot tell.
pub(super) fn ahead(peer: &mut Peer) -> i64 {
    let mut clock = FarClock::default();
    for _ in 0..CLOCK_QUESTIONS {
        if peer.learn_clock(&mut clock).is_err() {
            break;
        }
    }
    clock.ahead()
}
