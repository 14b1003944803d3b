//! `probe filter guard`, and the guards in the other commands of `probe filter`.

use crate::ebpf;
use std::time::{Duration, Instant};

use nix::libc;
use probe_ebpf::{GuardCount, GuardRecord, names};

use super::{Change, begin, list};
use crate::{
    cli::filter::guard::GuardArgs as Args,
    clock::monotonic_ns,
    commands::{
        CommandResult, Screen,
        interrupt::{Interrupt, block_on, until},
    },
    ebpf::{
        foreign,
        guard::{
            Attachment, Counts, Guard, ingress_name,
            pins::{self, PinnedGuard},
        },
    },
    error::Failure,
    exit::Exit,
    filter::guard::{CodeRule, Enforce, GuardOptions, RequestPolicy},
    host::device::{self, Device},
    model::attach::FilterEffect,
    report::{
        filters::Filters,
        guard::{GuardRow, Replies, States},
    },
};

/// How long an interface can be gone before that is reported.
const CHECK: Duration = Duration::from_millis(200);

/// Attaches a guard to an interface.
pub(super) fn run(args: &Args, screen: &Screen) -> CommandResult {
    let device = Device::find(&args.interface)?;
    let options = GuardOptions {
        protect: args.protect,
        key: args.key,
        code: if args.code_zero { CodeRule::Zero } else { CodeRule::Any },
        timeout: args.timeout,
        timeout_after_reply: args.timeout_after_reply,
        refresh: args.refresh,
        replies: args.reply_limit(),
        requests: if args.deny_requests { RequestPolicy::Deny } else { RequestPolicy::Allow },
        states: args.states,
        enforce: if args.dry_run { Enforce::DryRun } else { Enforce::Drop },
    };
    let how = Attachment { xdp: args.xdp, lifetime: args.lifetime, ..Attachment::default() };
    if args.until_exit {
        return block_on(hold(&device, &options, &how, screen));
    }
    let change = begin(screen)?;
    refuse_a_second(&device)?;
    let pinned = PinnedGuard::create(&device, &options, &how, &change.lock)?;
    print(screen, row(&device, &pinned.record, &pinned.maps.read()?))?;
    Ok(Exit::Done)
}

/// Keeps a guard attached while this command runs.
async fn hold(device: &Device, options: &GuardOptions, how: &Attachment, screen: &Screen) -> CommandResult {
    // Before anything is attached, so that no signal ends this process with something left behind.
    let mut interrupt = Interrupt::new()?;
    let guard = {
        let _change = begin(screen)?;
        refuse_a_second(device)?;
        Guard::attach(device, options, how)?
    };
    let end = how.lifetime.map(|lifetime| Instant::now() + lifetime);
    let place =
        if guard.record.ingress == 0 { "tc".to_owned() } else { ingress_name(&guard.record).replace("xdp", "XDP") };
    screen.remark(&format!("guarding {} ({place}); Ctrl-C ends it", device.name));
    let mut checks = tokio::time::interval(CHECK);
    let exit = loop {
        tokio::select! {
            biased;
            () = interrupt.caught() => break Exit::Interrupted,
            () = until(end) => break Exit::Done,
            _ = checks.tick() => check_interface(device)?,
        }
    };
    print(screen, row(device, &guard.record, &guard.maps.read()?))?;
    Ok(exit)
}

fn check_interface(device: &Device) -> Result<(), ebpf::KernelError> {
    match device::name_of(device.ifindex) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENODEV)) => {
            Err(ebpf::KernelError::Gone { interface: device.name.clone() })
        }
        _ => Ok(()),
    }
}

/// Refuses a second guard, as each of two on an interface would see only part of the traffic. One that has ended makes
/// room.
fn refuse_a_second(device: &Device) -> Result<(), Failure> {
    if let Some(pinned) = PinnedGuard::open(device)? {
        let there = ebpf::KernelError::GuardThere { interface: device.name.clone() };
        return if pinned.has_ended() { Ok(()) } else { Err(there.into()) };
    }
    let is_guard = |program: &foreign::Program| program.name.as_deref() == Some(names::GUARD_OUT);
    let attached = foreign::attached(std::slice::from_ref(device)).pop().unwrap_or_default();
    match attached.programs.iter().find(|program| is_guard(program)) {
        Some(program) => Err(Failure::new(
            format!("{} has a guard already, held by a running probe: {program}", device.name),
            "end that one first, with Ctrl-C where it was started",
        )),
        None => Ok(()),
    }
}

fn print(screen: &Screen, row: GuardRow) -> Result<(), Failure> {
    screen.print(&Filters { guards: vec![row], ..Filters::default() })
}

/// Returns the guards in this network namespace, or only that of `interface`.
pub(super) fn rows(interface: Option<&str>) -> Result<Vec<GuardRow>, Failure> {
    let mut rows = Vec::new();
    for (device, pinned) in guards_on(interface)? {
        rows.push(row(&device, &pinned.record, &pinned.maps.read()?));
    }
    rows.sort_by(|a, b| a.interface.cmp(&b.interface));
    Ok(rows)
}

fn guards_on(interface: Option<&str>) -> Result<Vec<(Device, PinnedGuard)>, Failure> {
    if let Some(name) = interface {
        let device = Device::find(name)?;
        return Ok(PinnedGuard::open(&device)?.into_iter().map(|pinned| (device.clone(), pinned)).collect());
    }
    let devices = Device::all()?;
    let device_of = |pinned: &PinnedGuard| devices.iter().find(|device| device.ifindex == pinned.ifindex).cloned();
    Ok(PinnedGuard::all()?.into_iter().filter_map(|pinned| Some((device_of(&pinned)?, pinned))).collect())
}

/// Removes the only guard, or the one on `interface`.
pub(super) fn remove(interface: Option<&str>, screen: &Screen) -> CommandResult {
    let change = begin(screen)?;
    let mut found = guards_on(interface)?;
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(device, _)| device.name.as_str()).collect();
        let error = format!("several interfaces have a guard: {}", names.join(", "));
        return Err(Failure::new(error, format!("say which, as in -I {}", names[0])));
    }
    let Some((device, pinned)) = found.pop() else {
        return Err(Failure::new("there is no guard", "probe filter list shows guards and rules"));
    };
    drop(pinned);
    pins::clear(Some(&device), &change.lock)?;
    screen.remark(&format!("removed the guard of {}", device.name));
    list(None, screen)
}

/// Removes every guard, or the one on `device`, and returns how many there were.
pub(super) fn clear(device: Option<&Device>, change: &Change) -> Result<usize, ebpf::KernelError> {
    pins::clear(device, &change.lock).map(|cleared| cleared.len())
}

fn row(device: &Device, record: &GuardRecord, counts: &Counts) -> GuardRow {
    let config = &record.config;
    let options = GuardOptions::of(config);
    let now = monotonic_ns();
    GuardRow {
        interface: device.name.clone(),
        ingress: ingress_name(record),
        protect: options.protect.name(),
        key: options.key.names(),
        code_zero: options.code == CodeRule::Zero,
        timeout_s: options.timeout.as_secs_f64(),
        timeout_after_reply_s: options.timeout_after_reply.map(|timeout| timeout.as_secs_f64()),
        refresh: options.refresh.names(),
        replies_per_request: options.replies.map(std::num::NonZeroU32::get),
        requests: if options.requests == RequestPolicy::Deny { "deny" } else { "allow" },
        action: if options.enforce == Enforce::DryRun { FilterEffect::Count } else { FilterEffect::Drop },
        states: States {
            room: options.states,
            now: counts.states,
            made: counts.of(GuardCount::Made),
            refused: counts.of(GuardCount::Refused),
            evicted: counts.of(GuardCount::Evicted),
            expired: counts.expired_states(),
        },
        replies: Replies {
            passed: counts.of(GuardCount::Passed),
            dropped: counts.dropped_replies(),
            no_state: counts.of(GuardCount::NoState),
            expired: counts.of(GuardCount::Expired),
            too_many: counts.of(GuardCount::TooMany),
            bad_code: counts.of(GuardCount::BadCode),
        },
        requests_seen: counts.of(GuardCount::Asked),
        requests_dropped: counts.of(GuardCount::Denied),
        expires_in_s: (config.deadline_ns != 0).then(|| config.deadline_ns.saturating_sub(now).div_ceil(1_000_000_000)),
        added_by_uid: record.added_by_uid,
        added_unix_s: record.added_unix_s,
    }
}
