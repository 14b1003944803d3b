//! The file system that holds BPF pins: whether this command sees it, and where it must be mounted first.

use std::{fs, path::Path};

use nix::{
    mount::{self, MsFlags},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::KernelError;

const BPFFS: &str = "/sys/fs/bpf";

/// Checks that the filters of this network namespace are visible from this command's mounts.
///
/// # Errors
/// [`KernelError::HiddenPins`] if they are not: saying that there are none would be a guess.
pub fn require_visible() -> Result<(), KernelError> {
    if is_mounted() || !mounts_are_private() { Ok(()) } else { Err(KernelError::HiddenPins) }
}

fn is_mounted() -> bool {
    statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts bpffs, which pins need, as other BPF tools do, unless it is mounted or the mount would be private to this command:
/// then the pins would vanish with it.
pub fn mount() -> Result<(), KernelError> {
    if is_mounted() {
        return Ok(());
    }
    if mounts_are_private() {
        return Err(KernelError::PrivateMounts);
    }
    let mounted = mount::mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), Some("mode=0700"));
    mounted.map_err(|errno| KernelError::File { doing: "mount bpffs on", path: BPFFS.into(), source: errno.into() })?;
    tracing::warn!("mounted bpffs on {BPFFS}: rules that outlive this command are kept there");
    Ok(())
}

/// Reports whether this mount namespace belongs to this network namespace alone, like the one that `ip netns exec` makes for
/// its command: then no process of another network namespace shares it.
fn mounts_are_private() -> bool {
    let namespace = |process: &Path, kind: &str| fs::read_link(process.join("ns").join(kind)).ok();
    let ours = |kind: &str| namespace(Path::new("/proc/thread-self"), kind);
    let (mounts, net) = (ours("mnt"), ours("net"));
    if net.is_none() || net == namespace(Path::new("/proc/1"), "net") {
        return false;
    }
    let mut processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok).map(|file| file.path());
    !processes.any(|process| {
        let theirs = namespace(&process, "net");
        theirs.is_some() && theirs != net && namespace(&process, "mnt") == mounts
    })
}
