//! Follows the echoes of other programs from their first sight to a verdict: what `diagnose --passive` and `run` share.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Echo, Hop, journey::MAX_PROBES};

use crate::{
    clock::monotonic_ns,
    diagnosis::{
        self, Diagnosis,
        followed::{
            self, Fate, Sight,
            flows::{FollowedFlow, FollowedRole, FollowedRun, flows, worst_first},
        },
    },
    error::Failure,
    host::device::Device,
    model::{
        attach::Attach,
        followed::{FollowRequest, FollowedEcho},
        request::{EchoFlow, HostRole, RequestHandling, WatchRequest},
        trace::{HostTrace, IcmpError},
    },
    peer::route::{owner, way_to},
    stop::{LOOK, StopSignal},
    traffic::{
        prober::random,
        quoted::{QuotedErrors, QuotedRequest},
    },
    watch::{Watching, path_watch::PathWatch},
};

/// How often the ring of drop events is emptied.
const DRAIN: Duration = Duration::from_millis(100);

/// The number of echoes that there is room for.
pub(super) const MOST: u16 = MAX_PROBES as u16;

/// What to follow, and how.
#[derive(Clone, Debug)]
pub(super) struct FollowPlan {
    /// Which echoes.
    pub(super) follow: FollowRequest,
    /// The interface whose NIC is watched; none: every interface, without XDP and tc.
    pub(super) interface: Option<String>,
    /// How to attach to it.
    pub(super) attach: Attach,
    /// Whether the other network namespaces of this kernel are looked at.
    pub(super) everywhere: bool,
    /// How long a reply is waited for.
    pub(super) wait: Duration,
}

/// Echoes that are being followed.
pub(super) struct FollowSession {
    watch: PathWatch,
    plan: FollowPlan,
    errors: Option<QuotedErrors>,
    quoted: Vec<QuotedRequest>,
    begun: Instant,
    ended: Option<Instant>,
    drained: Instant,
}

impl FollowSession {
    /// Attaches every hop, and follows what is sent from then on.
    ///
    /// # Errors
    /// As [`PathWatch::follow`].
    pub(super) fn start(plan: FollowPlan) -> Result<Self, Failure> {
        let mut watch = PathWatch::follow(&request(&plan), plan.follow)?;
        let errors = QuotedErrors::open();
        if let Err(why) = &errors {
            tracing::info!("ICMP errors are not read: {why}");
        }
        watch.give_numbers()?;
        let now = Instant::now();
        Ok(Self { watch, plan, errors: errors.ok(), quoted: Vec::new(), begun: now, ended: None, drained: now })
    }

    /// Returns how long echoes have been followed.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes what must not wait in the kernel; returns how many echoes are followed.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    pub(super) fn look(&mut self) -> Result<usize, Failure> {
        if self.drained.elapsed() >= DRAIN {
            self.drained = Instant::now();
            self.watch.look()?;
            self.quoted.extend(self.errors.iter_mut().flat_map(QuotedErrors::take));
        }
        Ok(self.watch.followed()?.0.len())
    }

    /// Stops following new echoes, and waits to see what becomes of those under way, unless it is to stop.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    pub(super) fn settle(&mut self, stop: &StopSignal) -> Result<(), Failure> {
        self.watch.give_no_more()?;
        self.ended.get_or_insert_with(Instant::now);
        loop {
            let (echoes, _) = self.watch.followed()?;
            let host = self.watch.look()?;
            self.quoted.extend(self.errors.iter_mut().flat_map(QuotedErrors::take));
            let errors = self.told(&echoes);
            let sight = self.sight(&host, &errors);
            let open = flows(&echoes, is_own)
                .iter()
                .any(|flow| flow.echoes.iter().any(|echo| sight.fate(echo, flow.role) == Fate::UnderWay));
            if !open || stop.asked() {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    /// Returns what the echoes show: the verdict on the worst flow, with a line on each of the others.
    ///
    /// # Errors
    /// The kernel half can no longer be read.
    pub(super) fn diagnosis(&mut self) -> Result<Diagnosis, Failure> {
        let (echoes, asked) = self.watch.followed()?;
        let mut host = self.watch.look()?;
        let errors = self.told(&echoes);
        let seen = host.clone();
        let sight = self.sight(&seen, &errors);
        let mut flows = flows(&echoes, is_own);
        worst_first(&mut flows, sight);
        let watched = self.ended.unwrap_or_else(Instant::now).duration_since(self.begun);
        let full = self.plan.follow.most == MOST;
        let run = FollowedRun {
            watched_ms: u64::try_from(watched.as_millis()).unwrap_or(u64::MAX),
            of_command: self.plan.follow.process.is_some(),
            left_out: if full { asked.saturating_sub(u64::from(MOST)) } else { 0 },
            flows: flows.iter().map(|flow| flow.told(sight)).collect(),
        };
        let flow = flows.into_iter().next().unwrap_or_else(|| self.no_flow());
        let interface = self.interface(&host, &flow);
        if run.flows.first().is_some_and(|told| told.lost() > 0) {
            host = self.watch.explain(&looked_up(&flow, interface.clone()))?;
        }
        host.host.interface = interface.unwrap_or_default();
        Ok(diagnosis::diagnose(&followed::evidence(&flow, sight, host, run)))
    }

    fn sight<'a>(&self, host: &'a HostTrace, errors: &'a [IcmpError]) -> Sight<'a> {
        let wait_ns = u64::try_from(self.plan.wait.as_nanos()).unwrap_or(u64::MAX);
        Sight { host, errors, until_ns: monotonic_ns(), wait_ns }
    }

    /// Returns the ICMP errors that quoted one of the echoes.
    fn told(&self, echoes: &[FollowedEcho]) -> Vec<IcmpError> {
        let of = |error: &QuotedRequest| {
            let quoted = |echo: &&FollowedEcho| (echo.far, echo.id, echo.seq) == (error.to, error.id, error.seq);
            let echo = echoes.iter().rev().find(quoted)?;
            let QuotedRequest { from, icmp_type, code, next_mtu, .. } = *error;
            Some(IcmpError { probe: echo.number, from, icmp_type, code, next_mtu })
        };
        self.quoted.iter().filter_map(of).collect()
    }

    /// Returns the interface by which the flow's requests left, or came in.
    fn interface(&self, host: &HostTrace, flow: &FollowedFlow) -> Option<String> {
        let hops: &[Hop] =
            if flow.role == FollowedRole::Target { &[Hop::NetifIn] } else { &[Hop::Xmit, Hop::DevQueue] };
        let seen = |hop: &Hop| {
            flow.echoes.iter().find_map(|echo| PathWatch::interface_of(host, *hop, Echo::Request, echo.number))
        };
        let asked = self.plan.interface.clone().filter(|_| flow.role == FollowedRole::Sender);
        asked.or_else(|| hops.iter().find_map(seen))
    }

    /// Returns a flow without echoes, for a run that saw none.
    fn no_flow(&self) -> FollowedFlow {
        let to = self.plan.follow.target.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        FollowedFlow {
            role: FollowedRole::Sender,
            from: nowhere(to),
            to,
            sender: None,
            id: self.plan.follow.id,
            echoes: Vec::new(),
        }
    }
}

/// Returns the interface to watch if it is not known where the echoes will go: that of the default route, or the only
/// one there is.
pub(super) fn likeliest_interface() -> Option<String> {
    /// Addresses for documentation (RFC 5737, RFC 3849), to which nobody has a route of their own.
    const ELSEWHERE: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
    let routed = ELSEWHERE.into_iter().find_map(|to| way_to(SocketAddr::new(to, 0), None, None).ok());
    let up = || {
        let devices = Device::all().unwrap_or_default().into_iter();
        let mut up = devices.filter(|device| device.up && device.name != "lo").map(|device| device.name);
        up.next().filter(|_| up.next().is_none())
    };
    routed.map(|way| way.interface).or_else(up)
}

/// Returns what this host is to watch.
fn request(plan: &FollowPlan) -> WatchRequest {
    let remote = plan.follow.target.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    WatchRequest {
        nonce: random(),
        id: plan.follow.id.unwrap_or(0),
        probes: plan.follow.most,
        local: nowhere(remote),
        remote,
        interface: plan.interface.clone(),
        role: HostRole::Sender,
        attach: plan.attach,
        trace_rules: false,
        everywhere: plan.everywhere,
        requests: RequestHandling::Pass,
        source_given: false,
        further: Vec::new(),
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    }
}

fn nowhere(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Returns the echoes that look-ups are about.
fn looked_up(flow: &FollowedFlow, interface: Option<String>) -> EchoFlow {
    let (local, remote) = match flow.role {
        FollowedRole::Sender => (flow.from, flow.to),
        FollowedRole::Router => (nowhere(flow.to), flow.to),
        FollowedRole::Target => (flow.to, flow.from),
    };
    let source_given = flow.role == FollowedRole::Target;
    EchoFlow {
        local,
        remote,
        interface,
        ids: flow.id.into_iter().collect(),
        source_given,
        sent_as: None,
        choosers: Default::default(),
    }
}

fn is_own(address: IpAddr) -> bool {
    owner(address).is_some()
}
