//! `probe filter`.

mod guard;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::getuid;
use probe_ebpf::{Deed, Echo, Family, Kind, Rule};

use super::{Outcome, Screen};
use crate::{
    attach::XdpChoice,
    cli::{
        filter::{Action, Add, Clear, Filter, KindChoice, Remove, Which},
        send::FamilyChoice,
    },
    device::{Device, Mode},
    error::Failure,
    exit::Exit,
    ids::IdRange,
    kernel::{
        self, bpffs,
        flows::monotonic,
        foreign,
        pins::{self, Changing, Pinned},
        privilege::{self, Task},
    },
    report::filters::{FilterRow, Filters, Match},
    rules::{self, Kinds},
    signals::Held,
};

/// Runs `probe filter`.
pub fn run(args: &Filter, screen: &Screen) -> Outcome {
    privilege::require(Task::Filter)?;
    match &args.action {
        Action::Add(args) => add(args, screen),
        Action::Guard(args) => guard::run(args, screen),
        Action::List(args) => list(args.interface.as_deref(), screen),
        Action::Remove(args) => remove(args, screen),
        Action::Clear(args) => clear(args, screen),
    }
}

fn add(args: &Add, screen: &Screen) -> Outcome {
    let device = Device::find(&args.interface)?;
    let changing = begin(screen)?;
    let (slot, pinned, rule) = match Pinned::open(&device)? {
        Some(mut pinned) => {
            refuse_other_mode(&device, args.xdp)?;
            let last_number = pinned.rules.read()?.iter().map(|rule| rule.number).max().unwrap_or(0);
            let rule = rule(args, last_number + 1);
            let slot = pinned.rules.add(&rule)?;
            remove_ended(&mut pinned)?;
            (slot, pinned, rule)
        }
        None => {
            let rule = rule(args, 1);
            (0, Pinned::create(&device, args.xdp, &rule, &changing.lock)?, rule)
        }
    };
    let row = row(&Device::find(&device.name)?, &rule, &pinned.rules.deed(slot)?);
    screen.print(&Filters { filters: vec![row], ..Filters::default() })?;
    Ok(Exit::Done)
}

/// The rules of an interface share one program, attached in one way.
fn refuse_other_mode(device: &Device, choice: XdpChoice) -> Result<(), Failure> {
    let wanted = match choice {
        XdpChoice::Auto => return Ok(()),
        XdpChoice::Native => Mode::Native,
        XdpChoice::Generic => Mode::Generic,
        XdpChoice::Off => Mode::TcInstead,
    };
    match foreign::xdp_mode_of(device) {
        Some(mode) if mode != wanted.name() => Err(Failure::new(
            format!("{} has a filter already, and its XDP is {mode}, not {}", device.name, wanted.name()),
            format!("leave --xdp out, or start anew: probe filter clear -I {}", device.name),
        )),
        _ => Ok(()),
    }
}

/// The right to change filters, and Ctrl-C held back meanwhile.
struct Change {
    lock: Changing,
    _held: Held,
}

/// The right to change filters, once what earlier commands left is gone.
fn begin(screen: &Screen) -> Result<Change, Failure> {
    let lock = Changing::begin()?;
    let change = Change { lock, _held: Held::new() };
    let swept = pins::sweep(&change.lock)? + kernel::guard::pins::sweep(&change.lock)?;
    if swept > 0 {
        let filters = if swept == 1 { "filter" } else { "filters" };
        screen.remark(&format!(
            "removed {swept} {filters} whose interface is gone or that a killed probe left half made"
        ));
    }
    Ok(change)
}

fn rule(args: &Add, number: u32) -> Rule {
    let ids = args.id.unwrap_or(IdRange { first: 0, last: u16::MAX });
    Rule {
        deadline_ns: args.lifetime.map_or(0, |lifetime| monotonic() + nanoseconds(lifetime)),
        added_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        added_by_uid: getuid().as_raw(),
        number,
        id_first: ids.first,
        id_last: ids.last,
        kinds: kinds(args.kind, args.family).bits(),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}

fn kinds(choice: KindChoice, family: FamilyChoice) -> Kinds {
    Kinds::matching(|kind: Kind| {
        let type_fits = match choice {
            KindChoice::Request => kind.echo == Echo::Request,
            KindChoice::Reply => kind.echo == Echo::Reply,
            KindChoice::Both => true,
        };
        let family_fits = match kind.family {
            Family::V4 => !family.v6,
            Family::V6 => !family.v4,
        };
        type_fits && family_fits
    })
}

/// Frees the slots of rules whose time is over.
fn remove_ended(pinned: &mut Pinned) -> Result<(), kernel::Error> {
    let now = monotonic();
    let rules = pinned.rules.read()?;
    let ended = (0..).zip(&rules).filter(|(_, rule)| rules::has_ended(rule, now));
    let slots: Vec<u32> = ended.map(|(slot, _)| slot).collect();
    if slots.is_empty() { Ok(()) } else { pinned.rules.remove(&slots) }
}

/// Removes the rule in `slot`, and the filter with its last one.
fn remove_rule(mut pinned: Pinned, slot: u32, change: &Change) -> Result<(), kernel::Error> {
    let rules = pinned.rules.read()?;
    let is_last = (0..).zip(&rules).all(|(other, rule): (u32, _)| other == slot || rule.number == 0);
    if is_last { pinned.remove(&change.lock) } else { pinned.rules.remove(&[slot]) }
}

fn list(interface: Option<&str>, screen: &Screen) -> Outcome {
    bpffs::require_visible()?;
    let mut filters = Filters { guards: guard::rows(interface)?, ..Filters::default() };
    for (device, pinned) in filters_on(interface)? {
        for (slot, rule) in (0..).zip(pinned.rules.read()?).filter(|(_, rule)| rule.number > 0) {
            filters.filters.push(row(&device, &rule, &pinned.rules.deed(slot)?));
        }
    }
    filters.filters.sort_by(|a, b| (&a.interface, a.number).cmp(&(&b.interface, b.number)));
    screen.print(&filters)?;
    Ok(Exit::Done)
}

/// The filters of this network namespace with their devices, or only that of `interface`.
fn filters_on(interface: Option<&str>) -> Result<Vec<(Device, Pinned)>, Failure> {
    if let Some(name) = interface {
        let device = Device::find(name)?;
        return Ok(Pinned::open(&device)?.into_iter().map(|pinned| (device.clone(), pinned)).collect());
    }
    let devices = Device::all()?;
    let device_of = |pinned: &Pinned| devices.iter().find(|device| device.ifindex == pinned.ifindex).cloned();
    Ok(Pinned::all()?.into_iter().filter_map(|pinned| Some((device_of(&pinned)?, pinned))).collect())
}

fn row(device: &Device, rule: &Rule, deed: &Deed) -> FilterRow {
    let now = monotonic();
    let ids = rules::ids(rule);
    let kinds = Kinds::of(rule);
    FilterRow {
        number: rule.number,
        interface: device.name.clone(),
        direction: "in",
        xdp_mode: foreign::xdp_mode_of(device).unwrap_or("unknown"),
        matches: Match {
            types: kinds.types(),
            id_first: ids.first,
            id_last: ids.last,
            family: kinds.family().map(|family| if family == Family::V4 { 4 } else { 6 }),
        },
        action: "drop",
        hits: deed.dropped.packets,
        hit_bytes: deed.dropped.bytes,
        would_drop: deed.dropped.packets,
        last_hit_s_ago: (deed.last_ns != 0).then(|| now.saturating_sub(deed.last_ns) / 1_000_000_000),
        expires_in_s: (rule.deadline_ns != 0).then(|| rule.deadline_ns.saturating_sub(now).div_ceil(1_000_000_000)),
        added_by_uid: rule.added_by_uid,
        added_unix_s: rule.added_unix_s,
    }
}

fn remove(args: &Remove, screen: &Screen) -> Outcome {
    bpffs::require_visible()?;
    let number = match args.which {
        Which::Guard => return guard::remove(args.interface.as_deref(), screen),
        Which::Rule(number) => number,
    };
    let change = begin(screen)?;
    let mut found = Vec::new();
    for (device, pinned) in filters_on(args.interface.as_deref())? {
        let rules = pinned.rules.read()?;
        if let Some((slot, _)) = (0..).zip(&rules).find(|(_, rule)| rule.number == number && rule.number > 0) {
            found.push((device, pinned, slot));
        }
    }
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(device, ..)| device.name.as_str()).collect();
        let error = format!("several interfaces have a rule {number}: {}", names.join(", "));
        return Err(Failure::new(error, format!("say which, as in -I {}", names[0])));
    }
    let Some((device, pinned, slot)) = found.pop() else {
        return Err(Failure::new(format!("there is no rule {number}"), "probe filter list shows the rules"));
    };
    remove_rule(pinned, slot, &change)?;
    screen.remark(&format!("removed rule {number} from {}", device.name));
    list(None, screen)
}

fn clear(args: &Clear, screen: &Screen) -> Outcome {
    bpffs::require_visible()?;
    let device = args.interface.as_deref().map(Device::find).transpose()?;
    let change = begin(screen)?;
    let cleared = pins::clear(device.as_ref(), &change.lock)?;
    let guards = guard::clear(device.as_ref(), &change)?;
    if guards > 0 {
        screen.remark(&format!("removed {guards} {}", if guards == 1 { "guard" } else { "guards" }));
    }
    let remark = match cleared.len() {
        0 if guards > 0 => return list(None, screen),
        0 => "there was no filter to remove".to_owned(),
        1 => "removed the filter of 1 interface".to_owned(),
        count => format!("removed the filters of {count} interfaces"),
    };
    screen.remark(&remark);
    list(None, screen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_matches_what_was_asked_for() {
        let v4 = FamilyChoice { v4: true, v6: false };
        let replies = kinds(KindChoice::Reply, v4);
        assert_eq!((replies.types(), replies.family()), ("reply", Some(Family::V4)));
        let all = kinds(KindChoice::Both, FamilyChoice::default());
        assert_eq!((all.types(), all.family()), ("both", None));
    }
}
