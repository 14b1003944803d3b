//! A guard on an interface: loads and attaches its programs. It lives as long as its holder, or is pinned.

mod load;
mod maps;
pub mod pins;

use std::{io, time::Duration};

use aya::Ebpf;
use nix::unistd::getuid;
use probe_ebpf::{Direction, GuardRecord, guard::PROTECT_OUT, names};

pub use load::{Clock, load, secret};
pub use maps::{Counts, GuardMaps};

use super::{
    KernelError,
    hops::{self, tc::TcLink},
};
use crate::{
    clock::{monotonic_ns, monotonic_to_unix},
    filter::guard::GuardOptions,
    host::device::{AttachMode, Device, XdpPurpose, xdp_mode},
    model::{
        attach::{TcChoice, XdpChoice},
        duration::nanoseconds,
    },
};

/// How a guard is attached, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Where it sees what enters: at XDP in this mode, or at tc beside any XDP program that is there.
    pub xdp: XdpChoice,
    /// How it is attached to tc, where it always sees what leaves.
    pub tc: TcChoice,
    /// The time after which everything passes again, even if nobody removes the guard; `None`: never.
    pub lifetime: Option<Duration>,
}

impl Default for Attachment {
    /// Attaches at tc in both directions, for as long as the holder lives.
    fn default() -> Self {
        Self { xdp: XdpChoice::Off, tc: TcChoice::Auto, lifetime: None }
    }
}

/// A guard that ends with its holder.
pub struct Guard {
    /// Its interface.
    pub device: Device,
    /// What it counts.
    pub maps: GuardMaps,
    /// Its options.
    pub record: GuardRecord,
    _links: GuardLinks,
    _programs: Ebpf,
}

/// What is attached; dropping it detaches.
pub(super) struct GuardLinks {
    ingress: Ingress,
    egress: TcLink,
}

/// Where it sees what enters.
enum Ingress {
    Xdp(aya::programs::links::FdLink),
    Tc(TcLink),
}

impl Guard {
    /// Attaches a guard to `device`, which must be an interface of this thread's network namespace.
    ///
    /// # Errors
    /// [`KernelError::Guard`] if the options contradict each other, or the kernel's refusal. Then nothing is attached.
    pub fn attach(device: &Device, options: &GuardOptions, how: &Attachment) -> Result<Self, KernelError> {
        let LoadedGuard { mut programs, record, links } = LoadedGuard::new(device, options, how)?;
        let maps = GuardMaps::take(&mut programs)?;
        Ok(Self { device: device.clone(), maps, record, _links: links, _programs: programs })
    }
}

/// A guard that is attached, but not yet held or pinned.
pub(super) struct LoadedGuard {
    pub(super) programs: Ebpf,
    pub(super) record: GuardRecord,
    pub(super) links: GuardLinks,
}

impl LoadedGuard {
    fn new(device: &Device, options: &GuardOptions, how: &Attachment) -> Result<Self, KernelError> {
        if let Err(error) = hops::clsact::sweep(device) {
            tracing::info!("cannot clean up what killed probes may have left on {}: {error}", device.name);
        }
        let choice = xdp_mode(device, how.xdp, XdpPurpose::Drop)?;
        match Self::in_mode(device, options, how, choice.mode) {
            Err(KernelError::XdpTaken { .. }) if how.xdp == XdpChoice::Auto => {
                Self::in_mode(device, options, how, AttachMode::TcInstead)
            }
            made => made,
        }
    }

    fn in_mode(
        device: &Device,
        options: &GuardOptions,
        how: &Attachment,
        mode: AttachMode,
    ) -> Result<Self, KernelError> {
        let mut config = options.config(secret()?)?;
        config.deadline_ns = how.lifetime.map_or(0, |lifetime| monotonic_ns() + nanoseconds(lifetime));
        let record = GuardRecord {
            clock_ns: 0,
            added_unix_s: (monotonic_ns() + monotonic_to_unix()) / 1_000_000_000,
            added_by_uid: getuid().as_raw(),
            ingress: match mode {
                AttachMode::TcInstead => 0,
                AttachMode::Native => 1,
                AttachMode::Generic => 2,
            },
            config,
        };
        let ingress = ingress_program(mode);
        let mut programs = load(&config, super::nic::link_layer(device), &[ingress, names::GUARD_OUT])?;
        maps::write_record(&mut programs, &record)?;
        let links = GuardLinks::attach(&mut programs, device, mode, &record, how.tc)?;
        Ok(Self { programs, record, links })
    }
}

impl GuardLinks {
    /// Attaches first what notes requests, then what judges replies: in the other order, replies to requests sent meanwhile
    /// would be dropped.
    fn attach(
        programs: &mut Ebpf,
        device: &Device,
        mode: AttachMode,
        record: &GuardRecord,
        tc: TcChoice,
    ) -> Result<Self, KernelError> {
        let enter = |programs: &mut Ebpf| match mode {
            AttachMode::TcInstead => {
                hops::tc::attach_program(programs, device, names::GUARD_IN, Direction::In, tc).map(Ingress::Tc)
            }
            mode => hops::xdp::attach_program(programs, device, ingress_program(mode), mode).map(Ingress::Xdp),
        };
        let leave =
            |programs: &mut Ebpf| hops::tc::attach_program(programs, device, names::GUARD_OUT, Direction::Out, tc);
        if record.config.protect == PROTECT_OUT {
            let ingress = enter(programs)?;
            Ok(Self { ingress, egress: leave(programs)? })
        } else {
            let egress = leave(programs)?;
            Ok(Self { ingress: enter(programs)?, egress })
        }
    }
}

fn ingress_program(mode: AttachMode) -> &'static str {
    match mode {
        AttachMode::TcInstead => names::GUARD_IN,
        AttachMode::Native => names::GUARD_XDP,
        AttachMode::Generic => names::GUARD_XDP_GENERIC,
    }
}

/// Returns how a guard sees what enters, for output and documents.
pub fn ingress_name(record: &GuardRecord) -> &'static str {
    match record.ingress {
        0 => "tc",
        1 => "xdp native",
        _ => "xdp generic",
    }
}

fn io_error(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
