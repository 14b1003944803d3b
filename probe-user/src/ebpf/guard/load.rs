//! Loads the programs of a guard.

use std::{fs::File, io::Read as _, path::Path};

use aya::{Ebpf, EbpfLoader};
use bytemuck::Zeroable as _;
use probe_ebpf::{ABI_VERSION, Config, GuardConfig, guard::WAYS, names, packet::LinkLayer, tally::IDS};

use crate::ebpf::{KernelError, border::Plain, hops, log, object, old_kernel};

/// The clock that a guard reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The kernel's clock.
    Real,
    /// [`probe_ebpf::GuardRecord::clock_ns`], which a test sets.
    Set,
}

/// Returns a random secret from the kernel for the hash of a guard's table.
///
/// # Errors
/// [`KernelError::File`] if the kernel gives none.
pub fn secret() -> Result<[u64; 5], KernelError> {
    let path = Path::new("/dev/urandom");
    let mut secret = [0_u64; 5];
    let read = File::open(path).and_then(|mut file| file.read_exact(bytemuck::bytes_of_mut(&mut secret)));
    read.map_err(|source| KernelError::File { doing: "read", path: path.to_owned(), source })?;
    Ok(secret)
}

/// Loads the maps and these programs of a guard with `config`. Nothing is attached yet.
pub fn load(config: &GuardConfig, link_layer: LinkLayer, programs: &[&'static str]) -> Result<Ebpf, KernelError> {
    let object = object::bytes()?;
    old_kernel::check("a guard needs")?;
    let device =
        Plain(Config { abi: ABI_VERSION, raw_ip: u32::from(link_layer == LinkLayer::RawIp), ..Config::zeroed() });
    let config = Plain(*config);
    let log_level = log::level();
    let sets = config.0.set_mask + 1;
    let mut loader = EbpfLoader::new();
    loader
        .override_global(names::CONFIG, &device, true)
        .override_global(names::GUARD_CONFIG, &config, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries(names::GUARD_SETS, sets)
        .map_max_entries(names::GUARD_STATES, sets * WAYS as u32)
        .map_max_entries(names::GUARD_DROPS, IDS);
    let mut loaded = loader.load(object).map_err(|source| KernelError::Load { source: Box::new(source) })?;
    for name in programs {
        hops::load(&mut loaded, name)?;
    }
    Ok(loaded)
}
