//! `probe filter add`.

use crate::ebpf;
use std::time::{Duration, Instant};

use probe_ebpf::{Direction, Rule, filter::HELD};

use super::{
    Change, begin, row,
    typed::{self, LEASE},
};
use crate::commands::{
    CommandResult, Screen,
    interrupt::{Interrupt, block_on, until},
};
use crate::{
    cli::filter::Add,
    clock::monotonic_ns,
    ebpf::{
        foreign::{self, Owner},
        pins::{self, FilterHook, Pinned},
    },
    error::{Failure, Mend},
    exit::Exit,
    filter::rules::{RulePosition, RuleSet, RuleSetError},
    host::device::{AttachMode, Device},
    model::{
        attach::{FilterSite, TcChoice, XdpChoice},
        duration::nanoseconds,
    },
    report::filters::{FilterRow, Filters},
    watch::under_way,
};

/// Adds the rule, and stays with it if that was asked for.
pub(super) fn add(args: &Add, screen: &Screen) -> CommandResult {
    if args.until_exit { block_on(hold(args, screen)) } else { add_one(args, screen) }
}

fn add_one(args: &Add, screen: &Screen) -> CommandResult {
    let added = add_rule(args, screen)?;
    screen.print(&Filters { filters: vec![added.row()?], ..Filters::default() })?;
    Ok(Exit::Done)
}

/// A rule that has just been added.
struct Added {
    device: Device,
    pinned: Pinned,
    rule: Rule,
}

impl Added {
    fn row(&self) -> Result<FilterRow, Failure> {
        let rows = row::rows(&Device::find(&self.device.name)?, &self.pinned)?;
        let own = rows.into_iter().find(|row| row.number == self.rule.number);
        own.ok_or_else(|| {
            Failure::new(format!("rule {} is gone", self.rule.number), "probe filter list shows the rules")
        })
    }
}

fn add_rule(args: &Add, screen: &Screen) -> Result<Added, Failure> {
    typed::rule(args)?;
    let (hook, direction) = (typed::hook(args)?, typed::direction(args));
    let device = Device::find(&args.interface)?;
    let change = begin(screen)?;
    // Its time starts here, not before a wait for another process that changes rules.
    let rule = typed::rule(args)?;
    let spot = args.before.map_or(RulePosition::Last, RulePosition::Before);
    let (pinned, slot) = match Pinned::open(&device, direction)? {
        Some(pinned) => {
            if typed::asks_for_hook(args) {
                refuse_other_hook(args, &device, &pinned, hook)?;
            }
            extend(pinned, &device, rule, spot, &change)?
        }
        None => create(args, &device, rule, spot, hook, &change)?,
    };
    let rule = pinned.rules.read()?.get(slot as usize).copied().unwrap_or(rule);
    warn_of_diagnoses(&rule, &device, screen);
    Ok(Added { device, pinned, rule })
}

/// Warns that someone is watching packets that the rule drops, which may or may not be intended.
fn warn_of_diagnoses(rule: &Rule, device: &Device, screen: &Screen) {
    for note in under_way::hit_by(rule, device) {
        let ids: Vec<String> = note.ids.iter().map(u16::to_string).collect();
        screen.remark(&format!(
            "rule {} matches packets of a running diagnosis here (process {}, id {}): expect it to name this rule",
            rule.number,
            note.pid,
            ids.join(", ")
        ));
    }
}

fn extend(
    pinned: Pinned,
    device: &Device,
    rule: Rule,
    spot: RulePosition,
    change: &Change,
) -> Result<(Pinned, u32), Failure> {
    let mut set = pinned.set()?;
    set.last_number = set.last_number.max(pins::last_number(device)?);
    let now = monotonic_ns();
    set.remove_ended(now);
    let slot = insert(&mut set, rule, spot, now)?;
    Ok((pinned.change(device, &set, &[slot], &change.lock)?, slot))
}

fn create(
    args: &Add,
    device: &Device,
    rule: Rule,
    spot: RulePosition,
    hook: FilterHook,
    change: &Change,
) -> Result<(Pinned, u32), Failure> {
    let mut set = RuleSet::new(Vec::new(), pins::last_number(device)?);
    let slot = insert(&mut set, rule, spot, monotonic_ns())?;
    let pinned = Pinned::create(device, hook, args.attach.choices(), &set, &change.lock).map_err(offer_tc)?;
    Ok((pinned, slot))
}

fn insert(set: &mut RuleSet, rule: Rule, spot: RulePosition, now: u64) -> Result<u32, Failure> {
    set.insert(rule, spot, now).map_err(|refusal| match refusal {
        RuleSetError::Full => ebpf::KernelError::RulesFull.into(),
        RuleSetError::NoSuchRule(number) => Failure::new(
            format!("there is no rule {number} on this interface and direction to insert before"),
            "probe filter list shows the rules of each interface and direction",
        ),
    })
}

/// Suggests tc if XDP is taken or would disturb the link.
fn offer_tc(error: ebpf::KernelError) -> Failure {
    let fix = match &error {
        ebpf::KernelError::XdpTaken { owner: Owner::Probe, .. } => {
            "filter after it, at tc: --hook tc; or wait: a probe that watches there holds XDP until it ends".to_owned()
        }
        ebpf::KernelError::XdpTaken { interface, .. } => format!(
            "filter after it, at tc: --hook tc; or detach it: ip link set dev {interface} xdp off, or end the process that \
             holds it (bpftool link)"
        ),
        ebpf::KernelError::NoXdp { .. } => format!("filter at tc instead: --hook tc; or {}", error.fix()),
        _ => return error.into(),
    };
    Failure::new(error.to_string(), fix)
}

/// Refuses another hook: all rules of an interface and direction share one program, attached in one way.
fn refuse_other_hook(args: &Add, device: &Device, pinned: &Pinned, hook: FilterHook) -> Result<(), Failure> {
    let refuse = |is: &str, wanted: &str| {
        Err(Failure::new(
            format!("{} has a filter already, and its {is}, not {wanted}", device.name),
            format!("leave out --hook, --xdp and --tc, or start over: probe filter clear -I {}", device.name),
        ))
    };
    let site = pinned.site();
    let is = site.name();
    if pinned.direction == Direction::In && (args.hook.is_some() || args.attach.xdp != XdpChoice::Auto) {
        let wanted = if hook == FilterHook::Xdp { "xdp" } else { "tc" };
        if (site == FilterSite::Xdp) != (hook == FilterHook::Xdp) {
            return refuse(&format!("hook is {is}"), wanted);
        }
    }
    let wanted = match args.attach.tc {
        _ if site == FilterSite::Xdp => is,
        TcChoice::Auto => is,
        TcChoice::Tcx => FilterSite::Tcx.name(),
        TcChoice::Clsact => FilterSite::Clsact.name(),
    };
    if wanted != is {
        return refuse(&format!("hook is {is}"), wanted);
    }
    let wanted = match args.attach.xdp {
        XdpChoice::Auto => return Ok(()),
        XdpChoice::Native => AttachMode::Native,
        XdpChoice::Generic => AttachMode::Generic,
        XdpChoice::Off => AttachMode::TcInstead,
    };
    match foreign::xdp_mode_of(device) {
        Some(mode) if is == "xdp" && mode != wanted.name() => refuse(&format!("XDP is {mode}"), wanted.name()),
        _ => Ok(()),
    }
}

/// How often the lease of a rule is renewed by its command.
const RENEW: Duration = Duration::from_secs(1);

async fn hold(args: &Add, screen: &Screen) -> CommandResult {
    // Before anything is attached, so that no signal ends this process with something left behind.
    let mut interrupt = Interrupt::new()?;
    let end = args.lifetime.map(|lifetime| Instant::now() + lifetime);
    let mut added = add_rule(args, screen)?;
    let number = added.rule.number;
    screen.remark(&format!("rule {number} is active on {} until this command ends; Ctrl-C ends it", added.device.name));
    let mut renewals = tokio::time::interval(RENEW);
    renewals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let exit = loop {
        tokio::select! {
            biased;
            () = interrupt.caught() => break Exit::Interrupted,
            () = until(end) => break Exit::Done,
            _ = renewals.tick() => if !renew(&mut added, end)? {
                screen.remark(&format!("rule {number} was removed by another process"));
                return Ok(Exit::Done);
            },
        }
    };
    finish(added, screen)?;
    Ok(exit)
}

/// Extends the rule by another [`LEASE`], but not beyond its end. Returns whether it still exists.
fn renew(added: &mut Added, end: Option<Instant>) -> Result<bool, Failure> {
    let lock = pins::Changing::begin()?;
    // Another process may have changed the rules since; its rules are the valid ones.
    let Some(mut pinned) = Pinned::open(&added.device, added.pinned.direction)? else {
        let gone = crate::host::device::name_of(added.device.ifindex).is_err();
        return if gone {
            Err(ebpf::KernelError::Gone { interface: added.device.name.clone() }.into())
        } else {
            Ok(false)
        };
    };
    let now = Instant::now();
    let left = end.map_or(LEASE, |end| LEASE.min(end.saturating_duration_since(now)));
    let there = pinned.extend(added.rule.number, monotonic_ns() + nanoseconds(left), &lock)?;
    added.pinned = pinned;
    Ok(there)
}

/// Prints what the rule did, and removes it.
fn finish(mut added: Added, screen: &Screen) -> Result<(), Failure> {
    let change = begin(screen)?;
    let Some(pinned) = Pinned::open(&added.device, added.pinned.direction)? else {
        screen.remark(&format!("rule {} was removed by another process", added.rule.number));
        return screen.print(&Filters::default());
    };
    added.pinned = pinned;
    let row = added.row();
    if let Some((slot, rule)) = added.pinned.set()?.find(added.rule.number)
        && rule.asks & HELD != 0
    {
        super::remove_rules(added.pinned, &added.device, &[slot], &change)?;
    }
    screen.print(&Filters { filters: vec![row?], ..Filters::default() })
}
