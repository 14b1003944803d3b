//! What is measured: a job, a frame, and how the kernel must answer it.

use std::{
    cell::RefCell,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use aya::Ebpf;
use probe_ebpf::{
    Echo, Family, Hop, Kind, Rule,
    filter::{ASKS_SEQ, ASKS_SOURCE, DRY_RUN},
    names,
    packet::LinkLayer,
};
use probe_user::{
    clock::monotonic_ns,
    ebpf::{
        filter::Rules,
        guard::{self, secret},
        load::{Capture, Job, Switch, load},
        ring::Ring,
    },
    filter::{
        guard::{GuardOptions, Protect},
        rules::{RuleAction, RulePosition, RuleSet, action::Rate},
    },
    model::prefix::Prefix,
    traffic::{
        EchoMessage, Frame,
        frame::{CUSTOMER_TAG, SERVICE_TAG, V4, V6},
    },
};

use crate::{
    bare::{self, Hook, clock_alone, empty, through_all_ids},
    others,
};

/// Enough that the call itself does not show.
pub(crate) const REPEAT: u32 = 300_000;

/// As many events as fit into the ring.
const REPEAT_CAPTURE: u32 = 3_600;

/// The id of the rule that holds.
const RULED: u16 = 7;

/// The id of the frames.
const ID: u16 = 4343;

/// One line of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    pub(crate) repeat: u32,
    frame: Vec<u8>,
    drops: bool,
    program: OwnedFd,
    empty: Rc<OwnedFd>,
    ring: Option<RefCell<Ring>>,
    _loaded: Rc<Ebpf>,
    /// The array through which programs call each other.
    _arrays: Vec<OwnedFd>,
}

impl Case {
    /// Runs the empty program and returns how many times.
    pub(crate) fn run_empty(&self, repeat: u32) -> io::Result<u32> {
        bare::run(&*self.empty, &self.frame, repeat).map(|_| repeat)
    }

    /// Runs the program as often as the case wants, and returns how many times.
    pub(crate) fn run(&self) -> io::Result<u32> {
        let verdict = bare::run(&self.program, &self.frame, self.repeat)?;
        let expected = match (self.hook, self.drops) {
            (Hook::Xdp, true) => 1,
            (Hook::Tc, false) => u32::MAX,
            (Hook::Xdp, false) | (Hook::Tc, true) => 2,
        };
        if verdict != expected {
            return Err(io::Error::other(format!("{}: the program answered {verdict}", self.name)));
        }
        Ok(self.repeat)
    }

    /// Prepares the next turn, outside the measured time.
    pub(crate) fn rest(&self) {
        if let Some(ring) = &self.ring {
            while ring.borrow_mut().next(|_| ()).is_some() {}
        }
    }
}

/// Programs of one job, at one hook.
struct Loaded {
    hook: Hook,
    programs: Rc<Ebpf>,
    own: OwnedFd,
    empty: Rc<OwnedFd>,
    ring: Option<Ring>,
}

impl Loaded {
    fn new(hook: Hook, change: impl FnOnce(&mut Job)) -> io::Result<Self> {
        let hop = if hook == Hook::Xdp { Hop::XdpIn } else { Hop::TcIn };
        let mut job = Job::count(&[hop]);
        change(&mut job);
        let mut programs = load(&job).map_err(io::Error::other)?;
        let ring = if job.capture == Capture::Nothing { None } else { Some(Ring::take(&mut programs)) };
        let ring = ring.transpose().map_err(io::Error::other)?;
        Self::of(hook, programs, ring)
    }

    /// A filter with these rules, as `probe filter` loads it: it counts nothing but its drops.
    fn filtering(hook: Hook, rules: &[Rule]) -> io::Result<Self> {
        let mut set = RuleSet::default();
        for rule in rules {
            set.insert(*rule, RulePosition::Last, 0).map_err(|refusal| io::Error::other(format!("{refusal:?}")))?;
        }
        let hop = if hook == Hook::Xdp { Hop::XdpIn } else { Hop::TcIn };
        let job = Job { filter: Switch::On, needs: set.needs(), count: Switch::Off, ..Job::count(&[hop]) };
        let mut programs = load(&job).map_err(io::Error::other)?;
        Rules::take(&mut programs).and_then(|mut rules| rules.fill(&set)).map_err(io::Error::other)?;
        Self::of(hook, programs, None)
    }

    fn of(hook: Hook, programs: Ebpf, ring: Option<Ring>) -> io::Result<Self> {
        let hop = if hook == Hook::Xdp { Hop::XdpIn } else { Hop::TcIn };
        let program = programs.program(hop.row().program).ok_or_else(|| io::Error::other("no program"))?;
        let own = program.fd().map_err(io::Error::other)?.as_fd().try_clone_to_owned()?;
        Ok(Self { hook, programs: Rc::new(programs), own, empty: Rc::new(empty(hook)?), ring })
    }

    fn case(&self, name: &'static str, frame: Vec<u8>) -> io::Result<Case> {
        Ok(Case {
            name,
            hook: self.hook,
            repeat: REPEAT,
            frame,
            drops: false,
            program: self.own.try_clone()?,
            empty: Rc::clone(&self.empty),
            ring: None,
            _loaded: Rc::clone(&self.programs),
            _arrays: Vec::new(),
        })
    }
}

/// Of xdp-tools, for comparison.
const XDP_FILTER: &str = "echo, dropped by xdp-filter's source rule";

/// Every case of filters, of both hooks.
pub(crate) fn of_filters() -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    filtering(Hook::Xdp, &mut cases)?;
    filtering(Hook::Tc, &mut cases)?;
    Ok(cases)
}

/// Every case, of both hooks.
pub(crate) fn all() -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for hook in [Hook::Xdp, Hook::Tc] {
        counting(hook, &mut cases)?;
        filtering(hook, &mut cases)?;
        guarding(hook, &mut cases)?;
        let tracking = Loaded::new(hook, |job| job.track = Switch::On)?;
        cases.push(tracking.case("echo, flows followed", v4(ID).bytes())?);
        let mut capturing = Loaded::new(hook, |job| job.capture = Capture::Everything)?;
        let ring = capturing.ring.take().map(RefCell::new);
        let capture = capturing.case("echo, copied", v4(ID).bytes())?;
        cases.push(Case { repeat: REPEAT_CAPTURE, ring, ..capture });
    }
    Ok(cases)
}

fn counting(hook: Hook, cases: &mut Vec<Case>) -> io::Result<()> {
    let loaded = Loaded::new(hook, |_| {})?;
    let clock = loaded.case("anything, for the exact clock alone", v4(ID).bytes())?;
    cases.push(Case { program: clock_alone(hook)?, ..clock });
    let itself = Case { program: empty(hook)?, ..loaded.case("empty, against itself", v4(ID).bytes())? };
    cases.push(itself);
    let frames = [
        ("UDP", v4(ID).protocol(17).bytes()),
        ("TCP", v4(ID).protocol(6).bytes()),
        ("TCP over IPv6", v6(ID).protocol(6).bytes()),
        ("ARP", v4(ID).ethertype(0x0806).bytes()),
        ("ICMP unreachable", unreachable()),
        ("echo, IPv4", v4(ID).bytes()),
        ("echo, IPv6", v6(ID).bytes()),
        ("echo, IPv4 in a VLAN", v4(ID).vlan(CUSTOMER_TAG, 7).bytes()),
        ("echo, IPv6 in two VLANs", v6(ID).vlan(SERVICE_TAG, 7).vlan(CUSTOMER_TAG, 7).bytes()),
        ("echo, IPv4 with options", v4(ID).options(&[1; 12]).bytes()),
        ("echo, IPv6 behind two headers", v6(ID).hop_by_hop(&[]).destination(&[]).bytes()),
    ];
    for (name, frame) in frames {
        cases.push(loaded.case(name, frame)?);
    }
    let cold = loaded.case("echo, 65,536 ids in turn", v4(ID).bytes())?;
    let [program, array] = through_all_ids(hook, &cold.program)?;
    let [empty, empty_array] = through_all_ids(hook, &*cold.empty)?;
    cases.push(Case { program, empty: Rc::new(empty), _arrays: vec![array, empty_array], ..cold });
    Ok(())
}

fn filtering(hook: Hook, cases: &mut Vec<Case>) -> io::Result<()> {
    let plain = Rule { id_first: RULED, id_last: RULED, kinds: 0b1111, ..Rule::default() };
    let loaded = Loaded::filtering(hook, &[plain])?;
    let others = if hook == Hook::Xdp { others::xdp_filter([10, 0, 0, 1]) } else { None };
    if let Some(program) = others {
        cases.push(Case { drops: true, program, ..loaded.case(XDP_FILTER, v4(RULED).bytes())? });
    }
    cases.push(loaded.case("UDP, with a filter", v4(ID).protocol(17).bytes())?);
    cases.push(loaded.case("echo, with a filter that misses", v4(ID).bytes())?);
    let ruled = || v4(RULED).bytes();
    let drops = |name: &'static str, rules: &[Rule], frame: Vec<u8>, drops: bool| {
        io::Result::Ok(Case { drops, ..Loaded::filtering(hook, rules)?.case(name, frame)? })
    };
    let doing = |action: RuleAction| {
        let mut rule = plain;
        action.write(&mut rule);
        rule
    };
    let source = "10.0.0.0/24".parse::<Prefix>().map_err(io::Error::other)?;
    let addressed = Rule { asks: ASKS_SOURCE, source: source.mask(), ..plain };
    let other = Rule { asks: ASKS_SEQ, seq_first: 9, seq_last: 9, ..plain };
    let mortal = Rule { deadline_ns: monotonic_ns() + 3_600_000_000_000, ..plain };
    let rate = Rate { per_second: 1, burst: 1 };
    cases.push(drops("echo, dropped by type and id", &[plain], ruled(), true)?);
    cases.push(drops("  by a rule with a deadline", &[mortal], ruled(), true)?);
    cases.push(drops("  by source prefix too, IPv4", &[addressed], ruled(), true)?);
    cases.push(drops("  by --every 1", &[doing(RuleAction::Every(1))], ruled(), true)?);
    cases.push(drops("  by --after 1", &[doing(RuleAction::After(1))], ruled(), true)?);
    cases.push(drops("  by --rate 1", &[doing(RuleAction::Rate(rate))], ruled(), true)?);
    cases.push(drops("  only counted, --dry-run", &[Rule { asks: DRY_RUN, ..plain }], ruled(), false)?);
    cases.push(drops("  by the 2nd rule asked", &[other, plain], ruled(), true)?);
    cases.push(drops("  by the 10th", &[vec![other; 9], vec![plain]].concat(), ruled(), true)?);
    cases.push(drops("  by the 256th", &[vec![other; 255], vec![plain]].concat(), ruled(), true)?);
    Ok(())
}

/// What a guard costs: a request that is known, a reply that passes, and an unsolicited reply.
fn guarding(hook: Hook, cases: &mut Vec<Case>) -> io::Result<()> {
    let name = if hook == Hook::Xdp { names::GUARD_XDP } else { names::GUARD_IN };
    let config =
        GuardOptions { protect: Protect::Both, timeout: Duration::from_secs(3_600), ..GuardOptions::default() }
            .config(secret().map_err(io::Error::other)?);
    let config = config.map_err(io::Error::other)?;
    let programs = guard::load(&config, LinkLayer::Ethernet, &[name, names::GUARD_OUT]).map_err(io::Error::other)?;
    let descriptor = |name| {
        let program = programs.program(name).ok_or_else(|| io::Error::other("no program"))?;
        program.fd().map_err(io::Error::other)?.as_fd().try_clone_to_owned()
    };
    let (own, out) = (descriptor(name)?, descriptor(names::GUARD_OUT)?);
    let loaded = Loaded { hook, programs: Rc::new(programs), own, empty: Rc::new(empty(hook)?), ring: None };
    // The request of the reply below leaves once, so that its state is there.
    bare::run(&out, &between(2, 1, Echo::Request).bytes(), 1)?;
    cases.push(loaded.case("UDP, with a guard", v4(ID).protocol(17).bytes())?);
    cases.push(loaded.case("echo request, guard knows it", v4(ID).bytes())?);
    cases.push(loaded.case("echo reply, guard lets it pass", between(1, 2, Echo::Reply).bytes())?);
    let unasked = loaded.case("echo reply, guard drops it", between(1, 3, Echo::Reply).bytes())?;
    cases.push(Case { drops: true, ..unasked });
    Ok(())
}

fn between(source: u8, destination: u8, echo: Echo) -> Frame<V4> {
    let message = EchoMessage::new(Kind { family: Family::V4, echo }, ID, 1, &PAYLOAD);
    Frame::v4(Ipv4Addr::new(10, 0, 0, source), Ipv4Addr::new(10, 0, 0, destination), &message)
}

/// The program of a filter with one plain rule, which drops [`ruled_frame`], and what must live as long.
pub(crate) fn plain_filter(hook: Hook) -> io::Result<(OwnedFd, Rc<Ebpf>)> {
    let plain = Rule { id_first: RULED, id_last: RULED, kinds: 0b1111, ..Rule::default() };
    Loaded::filtering(hook, &[plain]).map(|loaded| (loaded.own, loaded.programs))
}

/// What the rules drop.
pub(crate) fn ruled_frame() -> Vec<u8> {
    v4(RULED).bytes()
}

/// 98 bytes in all, as ping sends them.
const PAYLOAD: [u8; 56] = [7; 56];

fn v4(id: u16) -> Frame<V4> {
    let kind = Kind { family: Family::V4, echo: Echo::Request };
    Frame::v4(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), &EchoMessage::new(kind, id, 1, &PAYLOAD))
}

fn v6(id: u16) -> Frame<V6> {
    let kind = Kind { family: Family::V6, echo: Echo::Request };
    let ends = [1, 2].map(|end| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, end));
    Frame::v6(ends[0], ends[1], &EchoMessage::new(kind, id, 1, &PAYLOAD))
}

fn unreachable() -> Vec<u8> {
    let frame = v4(ID);
    let mut bytes = frame.bytes();
    bytes[frame.message_at()] = 3;
    bytes
}
