//! `probe receive`.

mod reading;

use std::time::Instant;

use probe_ebpf::{Family, Rule, Skip};

use self::reading::Reading;
use super::{
    Outcome, Screen,
    interrupt::{Interrupt, block_on, until},
};
use crate::{
    cli::receive::Receive,
    device::{Device, Mode},
    error::Failure,
    exit::Exit,
    kernel::{
        flows::monotonic_to_unix,
        load::{Capture, Switch},
        privilege::{self, Task},
        ring::{REST, Ring},
        watch::{Watch, Wish, link_layer},
    },
    rules::Kinds,
};

/// Runs `probe receive`.
pub fn run(args: &Receive, screen: &Screen) -> Outcome {
    privilege::require(Task::Receive)?;
    let taps = open(args, screen)?;
    block_on(receive(args, taps, screen))
}

/// One interface that is read from.
struct Tap {
    watch: Watch,
    ring: Ring,
}

/// Attaches to every interface that `args` mean, or to none.
fn open(args: &Receive, screen: &Screen) -> Result<Vec<Tap>, Failure> {
    let devices = if args.interfaces.is_empty() {
        Device::all()?.into_iter().filter(|device| device.up).collect()
    } else {
        args.interfaces.iter().map(|name| Device::find(name)).collect::<Result<Vec<_>, _>>()?
    };
    if devices.is_empty() {
        return Err(Failure::new("no interface is up in this network namespace", "ip link set dev IFACE up"));
    }
    let mut taps = Vec::new();
    for device in &devices {
        match tap(device, args) {
            // Where the user named no interface, one that cannot be read is no reason to read none.
            Err(error) if args.interfaces.is_empty() && devices.len() > 1 => {
                screen.remark(&format!("not reading {}: {}", device.name, Failure::from(error)));
            }
            tap => taps.push(tap?),
        }
    }
    if taps.is_empty() {
        return Err(Failure::new("no interface could be read", "name one with -I to see why"));
    }
    let names: Vec<_> = taps.iter().map(|tap| place(&tap.watch)).collect();
    screen.remark(&format!("reading {}; Ctrl-C ends it", names.join(", ")));
    Ok(taps)
}

fn place(watch: &Watch) -> String {
    match watch.mode {
        Mode::TcInstead => format!("{} (tc ingress: {})", watch.device.name, watch.mode_why),
        mode => format!("{} (XDP {})", watch.device.name, mode.name()),
    }
}

fn tap(device: &Device, args: &Receive) -> Result<Tap, crate::kernel::Error> {
    let wish = Wish {
        attach: args.attach,
        capture: if args.ids.is_empty() { Capture::Everything } else { Capture::Matched },
        filter: if args.absorb { Switch::On } else { Switch::Off },
        ..Wish::default()
    };
    let mut watch = Watch::attach(device, &wish)?;
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

async fn receive(args: &Receive, mut taps: Vec<Tap>, screen: &Screen) -> Outcome {
    let mut interrupt = Interrupt::new()?;
    let end = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut left = args.count;
    let exit = loop {
        tokio::select! {
            biased;
            () = interrupt.caught() => break Exit::Interrupted,
            () = until(end) => break Exit::Done,
            () = tokio::time::sleep(REST) => {}
        }
        print_new(args, &mut taps, &mut left, screen)?;
        if left == Some(0) {
            break Exit::Done;
        }
        check(&taps)?;
    };
    print_new(args, &mut taps, &mut left, screen)?;
    tell_lost(&taps, screen)?;
    Ok(exit)
}

/// Prints what has arrived since the last look, `left` packets at most.
fn print_new(args: &Receive, taps: &mut [Tap], left: &mut Option<u64>, screen: &Screen) -> Result<(), Failure> {
    let to_unix = monotonic_to_unix();
    let mut seen = Vec::new();
    for tap in taps {
        let reading = Reading { interface: &tap.watch.device.name, link_layer: link_layer(&tap.watch.device), to_unix };
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

/// Fails once an interface is gone.
fn check(taps: &[Tap]) -> Result<(), Failure> {
    taps.iter().try_for_each(|tap| tap.watch.check_interface().map_err(Failure::from))
}

/// Packets that were not printed are told, always.
fn tell_lost(taps: &[Tap], screen: &Screen) -> Result<(), Failure> {
    for tap in taps {
        for (skip, count) in tap.watch.skips()? {
            let what = if skip == Skip::RingFull { "came too fast to be printed" } else { "could not be read" };
            screen.remark(&format!("{}: {count} packets {what} ({})", tap.watch.device.name, skip.name()));
        }
    }
    Ok(())
}
