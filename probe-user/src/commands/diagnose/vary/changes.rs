//! Which changes to a field are worth a try, given the run's packets and what else this host has.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum as _;
use nix::{net::if_::if_nametoindex, unistd::geteuid};

use crate::{
    diagnosis::{Evidence, control::VariedField},
    host::{
        device::{Device, DeviceType},
        neighbour, or_log, policy,
    },
    model::{request::SocketKey, trace::Finding},
    traffic::{
        Fragmentation, ProbePlan, ProgramSocket, Settings,
        prober::{LinkRoute, Pattern, id::Scout},
    },
};

/// How packets leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SentBy {
    /// By an ICMP socket.
    Socket,
    /// By a packet socket.
    Past(LinkRoute),
    /// By an ICMP socket, while nothing else is sent.
    Slowly,
    /// By the far end.
    FarEnd,
}

/// Packets with one field changed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) field: VariedField,
    pub(super) from: String,
    pub(super) to: String,
    /// What is changed, as a clause: `with id 5 in place of 77`.
    pub(super) text: String,
    pub(super) plan: ProbePlan,
    pub(super) way: SentBy,
}

/// The shortest payload that has room for a mark.
const SHORT: u16 = 16;

/// Payloads to try where everything is asked for.
const SIZES: [u16; 3] = [SHORT, 56, 1000];

/// DSCP values that networks treat differently: best effort, AF11, EF, CS6.
const DSCPS: [u8; 4] = [0, 10, 46, 48];

/// How many addresses, interfaces and marks are tried at most.
const MOST: usize = 3;

/// A little slower than ping: a limit of one packet a second lets these pass.
const SLOWLY: Duration = Duration::from_millis(1_050);

/// How long a neighbour is looked for.
const NEIGHBOUR: Duration = Duration::from_millis(300);

impl Change {
    /// Returns the packet of the run as it is.
    pub(super) fn unchanged(plan: &ProbePlan) -> Self {
        let (text, field) = ("unchanged".to_owned(), VariedField::Socket);
        // It is known by its mark alone: the other changes have the same id.
        let plan = ProbePlan { numbered: plan.size < SHORT, ..plan.clone() };
        Self { field, from: String::new(), to: String::new(), text, plan, way: SentBy::Socket }
    }

    /// Returns the packets of a run that was sent as `whom`, sent as probe itself.
    pub(super) fn as_probe(plan: &ProbePlan, whom: &str) -> Self {
        let own = if geteuid().is_root() { "root".to_owned() } else { "probe itself".to_owned() };
        let settings = Settings { identity: None, ..plan.settings.clone() };
        let plan = ProbePlan { settings, numbered: plan.size < SHORT, ..plan.clone() };
        let text = format!("as {own} in place of {whom}");
        Self { field: VariedField::Sender, from: whom.to_owned(), to: own, text, plan, way: SentBy::Socket }
    }

    /// Returns the field and its new value, for a list.
    pub(super) fn short(&self) -> String {
        let field = self.field.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let to = if self.to.is_empty() { "of the kernel's choice" } else { &self.to };
        format!("{field} {to}")
    }

    /// Returns whether the only change is that it leaves by a raw socket instead of a ping socket.
    pub(super) fn is_raw_alone(&self) -> bool {
        self.field == VariedField::Socket && self.way == SentBy::Socket
    }
}

/// Collects changes of one plan.
struct Changes<'a> {
    plan: &'a ProbePlan,
    asked: Option<&'a [VariedField]>,
    found: Vec<Change>,
    untried: Vec<String>,
}

/// Returns the changes to try, the smaller ones first, and what was asked for and cannot be tried. `asked` as [`super::vary`].
pub(super) fn of(evidence: &Evidence, plan: &ProbePlan, asked: Option<&[VariedField]>) -> (Vec<Change>, Vec<String>) {
    let mut changes = Changes { plan, asked, found: Vec::new(), untried: Vec::new() };
    if plan.size < SHORT {
        changes.untried.push(format!("anything: payloads of less than {SHORT} bytes cannot be told apart"));
        return (Vec::new(), changes.untried);
    }
    changes.of_packet();
    changes.of_host(evidence);
    changes.of_socket(evidence);
    changes.of_pace();
    changes.of_direction(evidence);
    (changes.found, changes.untried)
}

impl Changes<'_> {
    /// Returns whether a field is to be varied; `usual`: without being asked for.
    fn wants(&self, field: VariedField, usual: bool) -> bool {
        match self.asked {
            Some(fields) => fields.is_empty() || fields.contains(&field),
            None => usual,
        }
    }

    /// Returns whether the user asked for it, by its name or for all.
    fn asks(&self, field: VariedField) -> bool {
        self.wants(field, false)
    }

    /// Adds a change of the packets' settings.
    fn add(
        &mut self,
        field: VariedField,
        (from, to): (impl ToString, impl ToString),
        text: String,
        change: impl FnOnce(&mut ProbePlan),
    ) {
        let program = self.plan.settings.program.clone().unwrap_or_default();
        // Several sockets may have one id only if they are raw.
        let settings = Settings { program: Some(ProgramSocket { raw: true, ..program }), ..self.plan.settings.clone() };
        let mut plan = ProbePlan { settings, numbered: false, ..self.plan.clone() };
        change(&mut plan);
        let (from, to) = (from.to_string(), to.to_string());
        self.found.push(Change { field, from, to, text, plan, way: SentBy::Socket });
    }

    /// Adds changes to the contents of the packet.
    fn of_packet(&mut self) {
        let (plan, settings) = (self.plan, &self.plan.settings);
        if self.wants(VariedField::Id, true)
            && let Some(mut scout) = or_log("ids", Scout::open(settings.kind().family))
        {
            let (old, id) = (plan.id, scout.choose());
            self.add(VariedField::Id, (old, id), format!("with id {id} in place of {old}"), |plan| plan.id = id);
        }
        if self.asks(VariedField::Seq) {
            let (old, seq) = (plan.first_seq, plan.first_seq.wrapping_add(1000));
            self.add(VariedField::Seq, (old, seq), format!("with sequence numbers from {seq} on"), |plan| {
                plan.first_seq = seq;
            });
            for (word, seq) in [("even", old + old % 2), ("odd", old | 1)] {
                self.add(VariedField::Seq, (old, word), format!("with {word} sequence numbers alone"), |plan| {
                    (plan.first_seq, plan.seq_step) = (seq, 2);
                });
            }
        }
        if self.wants(VariedField::Payload, true) && plan.size > SHORT {
            let zeros = plan.pattern.is_none();
            let (from, to) = if zeros { ("counting bytes", "zeros") } else { ("the pattern", "counting bytes") };
            let pattern = zeros.then(|| Pattern::new(vec![0])).flatten();
            self.add(VariedField::Payload, (from, to), format!("with {to} in the payload"), |plan| {
                plan.pattern = pattern;
            });
        }
        let sizes: &[u16] = if self.asks(VariedField::Size) { &SIZES } else { &SIZES[..1] };
        for &size in sizes.iter().filter(|size| **size != plan.size) {
            if self.wants(VariedField::Size, size < plan.size) {
                let old = plan.size;
                let text = format!("with {size} bytes of payload in place of {old}");
                self.add(VariedField::Size, (old, size), text, |plan| plan.size = size);
            }
        }
        self.of_header();
    }

    /// Adds changes to the IP header, and to the ICMP code.
    fn of_header(&mut self) {
        let settings = &self.plan.settings;
        let v4 = settings.target.is_ipv4();
        let clear = settings.fragmentation == Fragmentation::Allowed;
        if self.wants(VariedField::Df, !clear) && v4 {
            let (to, word) =
                if clear { (Fragmentation::Forbidden, "with") } else { (Fragmentation::Allowed, "without") };
            self.add(
                VariedField::Df,
                (word_of(!clear), word_of(clear)),
                format!("{word} the \"don't fragment\" bit"),
                |plan| {
                    plan.settings.fragmentation = to;
                },
            );
        }
        let all = self.asks(VariedField::Dscp);
        let other = DSCPS.into_iter().filter(|dscp| *dscp != settings.dscp);
        for dscp in other.take(if all { DSCPS.len() } else { 1 }) {
            if self.wants(VariedField::Dscp, true) {
                let old = settings.dscp;
                let text = format!("with DSCP {dscp} in place of {old}");
                self.add(VariedField::Dscp, (old, dscp), text, |plan| plan.settings.dscp = dscp);
            }
        }
        if self.wants(VariedField::Ttl, settings.ttl.is_some()) {
            let old = settings.ttl.map_or_else(|| "this host's".to_owned(), |ttl| ttl.to_string());
            for ttl in [255, 64].into_iter().filter(|ttl| Some(*ttl) != settings.ttl) {
                let text = format!("with TTL {ttl} in place of {old}");
                self.add(VariedField::Ttl, (&old, ttl), text, |plan| plan.settings.ttl = Some(ttl));
            }
        }
        if self.wants(VariedField::Code, settings.code != 0) {
            let (old, code) = (settings.code, u8::from(settings.code == 0));
            let text = format!("with ICMP code {code} in place of {old}");
            self.add(VariedField::Code, (old, code), text, |plan| plan.settings.code = code);
        }
    }

    /// Adds changes to what this host selects the route by.
    fn of_host(&mut self, evidence: &Evidence) {
        let settings = &self.plan.settings;
        let target = settings.target.ip();
        if self.wants(VariedField::Mark, settings.mark.is_some_and(|mark| mark != 0)) {
            let old = settings.mark.unwrap_or(0);
            let mut marks = vec![0];
            if self.asks(VariedField::Mark) {
                marks.extend(or_log("routing rules", policy::marks(target)).unwrap_or_default());
            }
            marks.retain(|mark| *mark != old);
            if marks.is_empty() && self.asked.is_some_and(|fields| !fields.is_empty()) {
                self.untried.push("mark: no rule of `ip rule` matches one".to_owned());
            }
            for mark in marks.into_iter().take(MOST) {
                let text =
                    if mark == 0 { format!("without the mark {old:#x}") } else { format!("with the mark {mark:#x}") };
                self.add(VariedField::Mark, (old, mark), text, |plan| plan.settings.mark = Some(mark));
            }
        }
        let devices = or_log("interfaces", Device::all()).unwrap_or_default();
        let fits = |device: &&Device| device.up && device.carrier && !device.loopback;
        if self.wants(VariedField::Source, settings.source.is_some()) {
            let old = settings.source.or(evidence.local.host.address);
            let said = old.map(|old| old.to_string()).unwrap_or_default();
            if self.asked.is_none() {
                self.add(VariedField::Source, (&said, ""), format!("without the source {said}"), |plan| {
                    plan.settings.source = None;
                });
            } else {
                let own = devices.iter().filter(fits).flat_map(|device| addresses(device, target));
                let others: Vec<IpAddr> = own.filter(|own| Some(*own) != old).take(MOST).collect();
                if others.is_empty() {
                    self.untried.push("source: this host has no other address of that IP version".to_owned());
                }
                for source in others {
                    let text = format!("from {source} in place of {said}");
                    self.add(VariedField::Source, (&said, source), text, |plan| plan.settings.source = Some(source));
                }
            }
        }
        if self.wants(VariedField::Interface, settings.interface.is_some()) {
            let used = &evidence.local.host.interface;
            if settings.interface.is_some() {
                let text = format!("not bound to {used}");
                self.add(VariedField::Interface, (used, ""), text, |plan| plan.settings.interface = None);
            }
            if self.asks(VariedField::Interface) {
                let with_address = |device: &&Device| !addresses(device, target).is_empty();
                let others = devices.iter().filter(fits).filter(with_address).filter(|device| device.name != *used);
                let others: Vec<String> = others.map(|device| device.name.clone()).take(MOST).collect();
                if others.is_empty() && settings.interface.is_none() {
                    self.untried.push("interface: no other one is up and has an address".to_owned());
                }
                for name in others {
                    let text = format!("by {name} in place of {used}");
                    self.add(VariedField::Interface, (used, &name), text, |plan| {
                        plan.settings.interface = Some(name.clone());
                    });
                }
            }
        }
    }

    /// Adds other kinds of sockets that can send them.
    fn of_socket(&mut self, evidence: &Evidence) {
        // The other changes leave by a raw socket too: the effect of that alone must be known in any case.
        if evidence.sending.socket.as_ref().is_some_and(|socket| socket.ping) {
            let text = "by a raw socket in place of a ping socket".to_owned();
            self.add(VariedField::Socket, ("ping", "raw"), text, |_| ());
        }
        if !self.asks(VariedField::Socket) {
            return;
        }
        match past(evidence, self.plan) {
            Ok(route) => {
                let text = "by a packet socket (past this host's routing and netfilter)".to_owned();
                self.add(VariedField::Socket, ("", "packet"), text, |_| ());
                self.found.last_mut().expect("it was just added").way = SentBy::Past(route);
            }
            Err(why) => self.untried.push(format!("packet socket: {why}")),
        }
    }
}

impl Changes<'_> {
    /// Adds packets that leave as slowly as ping's.
    fn of_pace(&mut self) {
        if !self.asks(VariedField::Pace) {
            return;
        }
        let old = self.plan.interval;
        if old >= SLOWLY {
            self.untried.push("pace: the run was already as slow as ping".to_owned());
            return;
        }
        let [from, to] = [old, SLOWLY].map(|pace| format!("{} ms", pace.as_millis()));
        let text = format!("{to} apart in place of {from}");
        self.add(VariedField::Pace, (from, to), text, |plan| plan.interval = SLOWLY);
        self.found.last_mut().expect("it was just added").way = SentBy::Slowly;
    }

    /// Adds packets that the far end sends to this one.
    fn of_direction(&mut self, evidence: &Evidence) {
        if !self.wants(VariedField::Direction, evidence.peer.is_some()) {
            return;
        }
        let Some(peer) = &evidence.peer else {
            self.untried.push("direction: nobody watches the far end (--peer)".to_owned());
            return;
        };
        let (here, there) = (&evidence.local.host.hostname, &peer.host.hostname);
        let far = self.plan.settings.target.ip();
        let text = format!("sent the other way by {far}");
        self.add(VariedField::Direction, (here, there), text, |_| ());
        self.found.last_mut().expect("it was just added").way = SentBy::FarEnd;
    }
}

fn word_of(set: bool) -> &'static str {
    if set { "set" } else { "clear" }
}

/// Returns the addresses of a device from which packets to `target` may come.
fn addresses(device: &Device, target: IpAddr) -> Vec<IpAddr> {
    match target {
        IpAddr::V4(_) => device.v4.iter().copied().map(IpAddr::from).collect(),
        IpAddr::V6(target) => {
            let local = target.is_unicast_link_local();
            let fits = device.v6.iter().filter(|own| own.is_unicast_link_local() == local);
            fits.copied().map(IpAddr::from).collect()
        }
    }
}

/// Returns where a packet socket has to send to: the interface of the route, and whoever is next on its link.
fn past(evidence: &Evidence, plan: &ProbePlan) -> Result<LinkRoute, String> {
    let host = &evidence.local.host;
    let source = plan.settings.source.or(host.address).ok_or("no source address is known")?;
    let target = plan.settings.target.ip();
    let device = Device::find(&host.interface).map_err(|_| "there is no route".to_owned())?;
    let ifindex = if_nametoindex(host.interface.as_str()).map_err(|error| error.desc().to_owned())?;
    if device.link_layer != DeviceType::Ethernet || device.loopback {
        return Ok(LinkRoute { ifindex, next_hop: None, source });
    }
    let uid = plan.settings.identity.as_ref().map(|identity| identity.sent_as.uid);
    let key = SocketKey { uid, tos: plan.settings.dscp << 2 };
    let entry = || match neighbour::look_up(source, target, key) {
        Some(Finding::Neighbour { lladdr, .. }) => lladdr,
        _ => None,
    };
    let end = Instant::now() + NEIGHBOUR;
    let mut found = entry();
    if found.is_none() {
        neighbour::look_for(source, target, key);
    }
    while found.is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
        found = entry();
    }
    let bytes = |lladdr: String| {
        let bytes: Option<Vec<u8>> = lladdr.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes?.try_into().ok()
    };
    let next_hop = found.and_then(bytes).ok_or("the next hop was not found on the link")?;
    Ok(LinkRoute { ifindex, next_hop: Some(next_hop), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Target;
    use crate::model::trace::{HostTrace, SenderTrace, SocketTrace};

    fn changes(plan: &ProbePlan, asked: Option<&[VariedField]>) -> Vec<Change> {
        let target = Target { name: "b".into(), address: plan.settings.target.ip() };
        let socket = SocketTrace { ping: true, ..SocketTrace::default() };
        let sending = SenderTrace { socket: Some(socket), ..SenderTrace::default() };
        of(&Evidence::new(target, sending, HostTrace::default()), plan, asked).0
    }

    fn plan() -> ProbePlan {
        ProbePlan::new("127.0.0.1:0".parse().expect("an address"), 77, 1)
    }

    #[test]
    fn each_change_is_of_one_field_alone() {
        for change in changes(&plan(), Some(&[])) {
            let plan = plan();
            let settings = &change.plan.settings;
            let differs = [
                change.plan.id != plan.id,
                (change.plan.first_seq, change.plan.seq_step) != (plan.first_seq, plan.seq_step),
                change.plan.interval != plan.interval,
                change.plan.pattern != plan.pattern,
                change.plan.size != plan.size,
                settings.fragmentation != plan.settings.fragmentation,
                settings.dscp != plan.settings.dscp,
                settings.ttl != plan.settings.ttl,
                settings.code != plan.settings.code,
                settings.mark != plan.settings.mark,
                settings.source != plan.settings.source,
                settings.interface != plan.settings.interface,
            ];
            let expected = usize::from(change.field != VariedField::Socket);
            assert_eq!(differs.iter().filter(|it| **it).count(), expected, "{}", change.text);
            assert_eq!(settings.target, plan.settings.target, "{}", change.text);
        }
    }

    #[test]
    fn only_what_is_asked_for_is_tried_and_by_itself_only_a_few() {
        let fields = |asked| {
            let found = changes(&plan(), asked);
            found.iter().filter(|change| !change.is_raw_alone()).map(|change| change.field).collect::<Vec<_>>()
        };
        assert_eq!(fields(Some(&[VariedField::Code])), [VariedField::Code]);
        let alone = fields(None);
        assert!(alone.len() <= 6 && !alone.contains(&VariedField::Code), "{alone:?}");
        let short = ProbePlan { size: 8, ..plan() };
        assert!(changes(&short, Some(&[])).is_empty());
    }
}
