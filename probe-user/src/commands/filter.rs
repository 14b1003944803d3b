//! `probe filter`.

mod add;
mod guard;
mod row;
mod typed;

use super::{CommandResult, Screen};
use crate::ebpf;
use crate::{
    cli::filter::{Clear, Filter, FilterCommand, Remove, Which},
    ebpf::{
        bpffs,
        pins::{self, Changing, Pinned},
    },
    error::Failure,
    exit::Exit,
    host::{
        device::Device,
        privilege::{self, PrivilegedTask},
    },
    report::filters::Filters,
    signals::Held,
};

/// Runs `probe filter`.
pub fn run(args: &Filter, screen: &Screen) -> CommandResult {
    privilege::require(PrivilegedTask::Filter)?;
    match &args.action {
        FilterCommand::Add(args) => add::add(args, screen),
        FilterCommand::Guard(args) => guard::run(args, screen),
        FilterCommand::List(args) => list(args.interface.as_deref(), screen),
        FilterCommand::Remove(args) => remove(args, screen),
        FilterCommand::Clear(args) => clear(args, screen),
    }
}

/// The lock for changing filters, with Ctrl-C held back meanwhile.
struct Change {
    lock: Changing,
    _held: Held,
}

/// Takes the lock for changing filters, after cleaning up what earlier commands left.
fn begin(screen: &Screen) -> Result<Change, Failure> {
    let lock = Changing::begin()?;
    let change = Change { lock, _held: Held::new() };
    let swept = pins::sweep(&change.lock)?;
    let removed = swept.filters + ebpf::guard::pins::sweep(&change.lock)?;
    if removed > 0 {
        let filters = if removed == 1 { "filter" } else { "filters" };
        screen.remark(&format!(
            "removed {removed} {filters} whose interface is gone or that a killed probe left incomplete"
        ));
    }
    if swept.changes > 0 {
        screen.remark(
            "removed an unfinished change of rules left by a killed probe; the listed rules were active all the time",
        );
    }
    Ok(change)
}

/// Removes the rules in `slots` and those that have expired; with the last rule, the filter too.
fn remove_rules(pinned: Pinned, device: &Device, slots: &[u32], change: &Change) -> Result<(), ebpf::KernelError> {
    let mut set = pinned.set()?;
    set.remove(slots);
    if set.is_empty() { pinned.remove(&change.lock) } else { pinned.change(device, &set, &[], &change.lock).map(drop) }
}

fn list(interface: Option<&str>, screen: &Screen) -> CommandResult {
    bpffs::require_visible()?;
    let mut filters = Filters { guards: guard::rows(interface)?, ..Filters::default() };
    for (device, pinned) in filters_on(interface)? {
        filters.filters.extend(row::rows(&device, &pinned)?);
    }
    filters
        .filters
        .sort_by(|a, b| (&a.interface, a.direction, a.position).cmp(&(&b.interface, b.direction, b.position)));
    screen.print(&filters)?;
    Ok(Exit::Done)
}

/// Returns the filters in this network namespace with their devices, or only that of `interface`.
fn filters_on(interface: Option<&str>) -> Result<Vec<(Device, Pinned)>, Failure> {
    if let Some(name) = interface {
        let device = Device::find(name)?;
        return Ok(Pinned::on(&device)?.into_iter().map(|pinned| (device.clone(), pinned)).collect());
    }
    let devices = Device::all()?;
    let device_of = |pinned: &Pinned| devices.iter().find(|device| device.ifindex == pinned.ifindex).cloned();
    Ok(Pinned::all()?.into_iter().filter_map(|pinned| Some((device_of(&pinned)?, pinned))).collect())
}

fn remove(args: &Remove, screen: &Screen) -> CommandResult {
    bpffs::require_visible()?;
    let number = match args.which {
        Which::Guard => return guard::remove(args.interface.as_deref(), screen),
        Which::Rule(number) => number,
    };
    let change = begin(screen)?;
    let mut found = Vec::new();
    for (device, pinned) in filters_on(args.interface.as_deref())? {
        let slot = pinned.set()?.find(number).map(|(slot, _)| slot);
        if let Some(slot) = slot {
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
    remove_rules(pinned, &device, &[slot], &change)?;
    screen.remark(&format!("removed rule {number} from {}", device.name));
    list(None, screen)
}

fn clear(args: &Clear, screen: &Screen) -> CommandResult {
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
