//! cgroup.
use aya_ebpf::programs::SkBuffContext;
use probe_ebpf::Skip;
#[inline(always)]
pub(crate) fn see_out(_: &SkBuffContext) -> Result<(), Skip> {
    Ok(())
}
#[inline(always)]
pub(crate) fn see_in(_: &SkBuffContext) -> Result<(), Skip> {
    Ok(())
}
