//! probe's own filter on a host of the lab, as `probe filter add` would put it there.

use crate::ebpf;
use std::os::fd::{AsFd, AsRawFd};

use nix::{
    mount::{MsFlags, mount, umount},
    sched::{CloneFlags, unshare},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use probe_ebpf::{Kind, Rule};

use super::{error::FaultError, site::FaultSite};
use crate::{
    ebpf::pins::{self, Changing, FilterHook, Pinned},
    filter::rules::{Kinds, RuleSet},
    host::device::Device,
    lab::Netns,
    model::attach::Attach,
};

/// Drops echo packets of one leg until it is dropped itself. One that a killed run leaves holds no namespace, and goes
/// with the next `probe filter` command or run of the lab.
#[derive(Debug)]
pub(super) struct ProbeFilter {
    netns: Netns,
    _pins: PinHome,
}

/// Where pins live. Where there is no such place, one is made for as long as the filter is there.
#[derive(Debug)]
enum PinHome {
    Found,
    Made,
}

const BPFFS: &str = "/sys/fs/bpf";

/// Gives this thread and its children a mount namespace of their own, so that the mounts of a case disappear with this
/// process even if it is killed.
pub(super) fn keep_mounts_private() -> Result<(), FaultError> {
    let make = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
    };
    make().map_err(|errno| FaultError::system("make a mount namespace")(errno.into()))
}

impl PinHome {
    fn ready() -> Result<Self, FaultError> {
        if statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC) {
            return Ok(Self::Found);
        }
        let made = mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), Some("mode=0700"));
        made.map_err(|errno| FaultError::system(format!("mount bpffs on {BPFFS}"))(errno.into()))?;
        Ok(Self::Made)
    }
}

impl Drop for PinHome {
    fn drop(&mut self) {
        if matches!(self, Self::Made)
            && let Err(errno) = umount(BPFFS)
        {
            // Somebody else pins there by now.
            tracing::debug!("{BPFFS} stays mounted: {errno}");
        }
    }
}

impl ProbeFilter {
    /// Adds a rule for every id on `eth0` of `netns`.
    pub(super) fn put(netns: &Netns, site: FaultSite) -> Result<Self, FaultError> {
        let handle = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
        let again = Netns::open(handle.as_ref())?.expect("an open handle names its namespace");
        let filter = Self { netns: again, _pins: PinHome::ready()? };
        netns.run(|| add(site))??;
        Ok(filter)
    }
}

fn add(site: FaultSite) -> Result<(), FaultError> {
    let device = Device::find("eth0").map_err(ebpf::KernelError::from)?;
    let changing = Changing::begin()?;
    pins::sweep(&changing)?;
    let wanted = Kind { family: site.family, echo: site.leg };
    let kinds = Kinds::matching(|kind| kind == wanted).bits();
    let rule = Rule { number: 1, id_first: 0, id_last: u16::MAX, kinds, ..Rule::default() };
    let set = RuleSet::new(vec![rule], 1);
    Pinned::create(&device, FilterHook::Xdp, Attach::default(), &set, &changing)?;
    Ok(())
}

impl Drop for ProbeFilter {
    fn drop(&mut self) {
        let clear = || Changing::begin().and_then(|changing| pins::clear(None, &changing));
        if let Ok(Err(error)) = self.netns.run(clear) {
            tracing::warn!("a filter of the lab was left behind: {error}; probe filter list removes it");
        }
    }
}
