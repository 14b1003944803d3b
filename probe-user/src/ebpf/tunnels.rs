//! Tells the kernel programs which tunnels to open.

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use probe_ebpf::{contract::names, tunnel::Tunnels};

use super::{KernelError, border::Plain};

/// The map of tunnels, and what it holds.
pub struct TunnelMap {
    map: Array<MapData, Plain<Tunnels>>,
    known: Tunnels,
}

impl TunnelMap {
    /// Takes it out of `programs`; no tunnel is opened yet.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] if it is not there.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let map = programs.take_map(names::TUNNELS).ok_or(KernelError::NoMap { name: names::TUNNELS })?;
        let map = Array::try_from(map).map_err(|source| KernelError::of_map(names::TUNNELS, source))?;
        Ok(Self { map, known: Tunnels::default() })
    }

    /// Returns the tunnels whose packets are opened.
    pub fn known(&self) -> Tunnels {
        self.known
    }

    /// Opens the packets of these tunnels too, from now on.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn learn(&mut self, tunnels: &Tunnels) -> Result<(), KernelError> {
        let mut all = self.known;
        all.add(tunnels);
        if all != self.known {
            self.map.set(0, Plain(all), 0).map_err(|source| KernelError::of_map(names::TUNNELS, source))?;
            self.known = all;
        }
        Ok(())
    }
}
