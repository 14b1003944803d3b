//! `probe receive`.

mod reading;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use probe_ebpf::{Family, Rule, Skip, filter::MAX_RULES};

use self::reading::Reading;
use super::{
    CommandResult, Screen,
    interrupt::{Interrupt, block_on, until},
};
use crate::{
    cli::receive::Receive,
    clock::monotonic_to_unix,
    ebpf::{
        load::{Capture, Switch},
        nic::{Watch, WatchOptions},
        ring::{REST, Ring},
    },
    error::Failure,
    exit::Exit,
    filter::rules::Kinds,
    host::{
        device::{AttachMode, Device},
        privilege::{self, PrivilegedTask},
    },
};

/// Runs `probe receive`.
pub fn run(args: &Receive, screen: &Screen) -> CommandResult {
    privilege::require(PrivilegedTask::Receive)?;
    if args.ids.len() > MAX_RULES {
        let error = format!("--id was given {} times; at most {MAX_RULES} are possible", args.ids.len());
        return Err(Failure::new(error, "combine ids into ranges, as in -e 100-199"));
    }
    block_on(receive(args, screen))
}

/// One interface that is read from.
struct Tap {
    watch: Watch,
    ring: Ring,
}

/// Attaches to every interface that `args` name, or to none.
fn open(args: &Receive, screen: &Screen) -> Result<Vec<Tap>, Failure> {
    let devices = devices(args)?;
    let mut taps = Vec::new();
    for device in &devices {
        match tap(device, args) {
            // If the user named no interface, one that cannot be read does not keep the others from being read.
            Err(error) if args.interfaces.is_empty() && devices.len() > 1 => {
                screen.remark(&format!("not reading {}: {}", device.name, Failure::from(error)));
            }
            tap => taps.push(tap?),
        }
    }
    if taps.is_empty() {
        return Err(Failure::new("no interface could be opened", "name one with -I to see why"));
    }
    let names: Vec<_> = taps.iter().map(|tap| place(&tap.watch)).collect();
    screen.remark(&format!("reading {}; Ctrl-C ends it", names.join(", ")));
    Ok(taps)
}

/// Returns the interfaces that `args` name, each once.
fn devices(args: &Receive) -> Result<Vec<Device>, Failure> {
    let mut devices: Vec<Device> = if args.interfaces.is_empty() {
        Device::all()?.into_iter().filter(|device| device.up).collect()
    } else {
        args.interfaces.iter().map(|name| Device::find(name)).collect::<Result<_, _>>()?
    };
    let mut seen = BTreeSet::new();
    devices.retain(|device| seen.insert(device.ifindex));
    if devices.is_empty() {
        return Err(Failure::new("no interface is up in this network namespace", "ip link set dev IFACE up"));
    }
    Ok(devices)
}

fn place(watch: &Watch) -> String {
    match watch.mode {
        AttachMode::TcInstead => format!("{} (tc ingress: {})", watch.device.name, watch.mode_why),
        mode => format!("{} (XDP {})", watch.device.name, mode.name()),
    }
}

fn tap(device: &Device, args: &Receive) -> Result<Tap, crate::ebpf::KernelError> {
    let options = WatchOptions {
        attach: args.attach.choices(),
        capture: if args.ids.is_empty() { Capture::Everything } else { Capture::Matched },
        filter: if args.absorb { Switch::On } else { Switch::Off },
        ..WatchOptions::default()
    };
    let mut watch = Watch::attach(device, &options)?;
    let ring = watch.ring()?;
    if !args.ids.is_empty() {
        let kinds = Kinds::matching(|kind| wanted(args, kind.family)).bits();
        let mut rules = watch.rules()?;
        for (number, ids) in (1..).zip(&args.ids) {
            rules.add(&Rule { number, id_first: ids.first, id_last: ids.last, kinds, ..Rule::default() })?;
        }
    }
    Ok(Tap { watch, ring })
}

fn wanted(args: &Receive, family: Family) -> bool {
    match family {
        Family::V4 => !args.family.v6,
        Family::V6 => !args.family.v4,
    }
}

async fn receive(args: &Receive, screen: &Screen) -> CommandResult {
    // Before anything is attached, so that no signal ends this process with something left behind.
    let mut interrupt = Interrupt::new()?;
    let mut taps = open(args, screen)?;
    let end = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut check_at = Instant::now() + CHECK;
    let mut left = args.count;
    let exit = loop {
        tokio::select! {
            biased;
            () = interrupt.caught() => break Exit::Interrupted,
            () = until(end) => break Exit::Done,
            () = tokio::time::sleep(REST) => {}
        }
        print_new(args, &mut taps, &mut left, screen)?;
        if left == Some(0) || screen.is_unread() {
            break Exit::Done;
        }
        if Instant::now() >= check_at {
            drop_gone(args, &mut taps, screen)?;
            check_at = Instant::now() + CHECK;
        }
    };
    print_new(args, &mut taps, &mut left, screen)?;
    tell_lost(&taps)?;
    Ok(exit)
}

/// How long an interface can be gone before that is reported.
const CHECK: Duration = Duration::from_millis(200);

/// Prints what has arrived since the last look, `left` packets at most.
fn print_new(args: &Receive, taps: &mut [Tap], left: &mut Option<u64>, screen: &Screen) -> Result<(), Failure> {
    let to_unix = monotonic_to_unix();
    let mut seen = Vec::new();
    for tap in taps {
        tap.watch.flush_log();
        let reading = Reading { interface: &tap.watch.device.name, to_unix };
        while let Some(echo) = tap.ring.next(|copied| reading.echo(&copied)) {
            seen.extend(echo.filter(|echo| wanted(args, echo.family())));
        }
    }
    seen.sort_by_key(|echo| echo.time_ns);
    for echo in seen {
        if *left == Some(0) {
            break;
        }
        screen.print(&echo)?;
        *left = left.map(|left| left - 1);
    }
    Ok(())
}

/// Stops reading from interfaces that are gone. Fails if the user had named one of them, or none is left.
fn drop_gone(args: &Receive, taps: &mut Vec<Tap>, screen: &Screen) -> Result<(), Failure> {
    let mut kept = Vec::new();
    for tap in taps.drain(..) {
        match tap.watch.check_interface() {
            Ok(()) => kept.push(tap),
            Err(gone) => {
                tell_lost(std::slice::from_ref(&tap))?;
                if !args.interfaces.is_empty() {
                    return Err(gone.into());
                }
                screen.remark(&format!("{gone}: continuing without it"));
            }
        }
    }
    *taps = kept;
    if taps.is_empty() {
        return Err(Failure::new(
            "all interfaces that were read are gone",
            "start again once an interface is up; ip link shows them",
        ));
    }
    Ok(())
}

/// Reports packets that were not printed; those that should have been, even with `-q`.
fn tell_lost(taps: &[Tap]) -> Result<(), Failure> {
    for tap in taps {
        for (skip, count) in tap.watch.skips()? {
            let text = format!("{}: {}", tap.watch.device.name, lost(skip, count));
            if skip == Skip::LaterFragment { tracing::warn!("{text}") } else { tracing::error!("{text}") }
        }
    }
    Ok(())
}

/// Says what was not printed, and why.
fn lost(skip: Skip, count: u64) -> String {
    let packets = if count == 1 { "packet" } else { "packets" };
    let why = match skip {
        Skip::RingFull => "too fast for this terminal or disk",
        Skip::LaterFragment => "later fragments have no ICMP header",
        _ => "could not be read",
    };
    format!("{count} {packets} not printed: {why} ({})", skip.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_printed_is_told_with_its_cause() {
        let text = lost(Skip::RingFull, 2);
        assert_eq!(text, "2 packets not printed: too fast for this terminal or disk (ring_full)");
    }
}
