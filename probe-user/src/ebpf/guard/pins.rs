//! Guards that outlive their command: their maps and links, pinned in a folder of bpffs for each interface.

use std::{fs, io, path::PathBuf};

use aya::{
    maps::{Map, MapData},
    programs::links::FdLink,
};
use probe_ebpf::{GuardRecord, guard::PROTECT_OUT, names};

use super::{
    Attachment, Ingress, LoadedGuard,
    maps::{GuardMaps, read_record},
};
use crate::{
    clock::monotonic_ns,
    ebpf::{
        KernelError, bpffs,
        hops::tc::TcLink,
        pins::{self, Changing, HOME, PinDir, PinKind},
    },
    filter::guard::GuardOptions,
    host::device::Device,
    model::attach::TcChoice,
};

const INGRESS: &str = "ingress";
const EGRESS: &str = "egress";

/// The maps of a guard that other commands read.
const MAPS: [&str; 4] = [names::GUARD_SETS, names::GUARD_DROPS, names::GUARD_COUNTS, names::GUARD];

/// A guard judges both directions of an interface: there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BothWays;

/// Where the pins of an interface's guard are.
type GuardDir = PinDir<BothWays>;

impl PinKind for BothWays {
    const NAME: &'static str = "guard";

    fn suffix(&self, _: u32) -> &'static str {
        ""
    }

    fn parse(word: Option<&str>) -> Option<Self> {
        word.is_none().then_some(Self)
    }
}

impl GuardDir {
    fn links(&self) -> [PathBuf; 2] {
        [INGRESS, EGRESS].map(|link| self.folder().join(link))
    }

    /// Reports whether both its links still hold a device. A guard with one link was left by a killed process, or detached
    /// by somebody else.
    fn is_live(&self) -> bool {
        self.links().iter().all(|link| pins::link_ifindex(link).is_ok_and(|ifindex| ifindex == self.ifindex))
    }

    /// Detaches the programs, then removes the pins of the maps.
    fn remove(&self) -> Result<(), KernelError> {
        let links = self.links();
        links.iter().for_each(|link| pins::detach(link));
        self.forget(&links)
    }
}

/// The pinned guard of one interface.
pub struct PinnedGuard {
    /// The interface's index.
    pub ifindex: u32,
    /// What it counts.
    pub maps: GuardMaps,
    /// Its options.
    pub record: GuardRecord,
}

impl PinnedGuard {
    /// Opens the guard on `device`, if it has one.
    ///
    /// # Errors
    /// [`KernelError::OtherAbi`] if a build of probe with another ABI put it there.
    pub fn open(device: &Device) -> Result<Option<Self>, KernelError> {
        let meant = |place: &GuardDir| place.ifindex == device.ifindex;
        let place = GuardDir::here()?.into_iter().filter(meant).find(GuardDir::is_live);
        place.as_ref().map_or(Ok(None), Self::open_live)
    }

    /// Opens every guard of this network namespace.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn all() -> Result<Vec<Self>, KernelError> {
        let places = GuardDir::here()?.into_iter().filter(GuardDir::is_live);
        places.filter_map(|place| Self::open_live(&place).transpose()).collect()
    }

    /// Reports whether it has expired.
    pub fn has_ended(&self) -> bool {
        self.record.config.deadline_ns != 0 && self.record.config.deadline_ns <= monotonic_ns()
    }

    /// Opens the guard at `place`, unless another process has removed it since that was found.
    fn open_live(place: &GuardDir) -> Result<Option<Self>, KernelError> {
        match Self::open_at(place) {
            Err(_) if !place.is_live() => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_at(place: &GuardDir) -> Result<Self, KernelError> {
        place.is_readable()?;
        let folder = place.folder();
        let map = |name: &'static str| {
            MapData::from_pin(folder.join(name))
                .and_then(Map::from_map_data)
                .map_err(|source| KernelError::of_map(name, source))
        };
        let maps = GuardMaps::of(&map(names::GUARD_SETS)?, &map(names::GUARD_DROPS)?, map(names::GUARD_COUNTS)?)?;
        Ok(Self { ifindex: place.ifindex, maps, record: read_record(map(names::GUARD)?)? })
    }

    /// Attaches and pins a guard on `device`, which must have none; the lock keeps other processes from doing so at the same
    /// time.
    ///
    /// # Errors
    /// [`KernelError::GuardThere`] if there is one, or the kernel's refusal. Then nothing is attached.
    pub fn create(
        device: &Device,
        options: &GuardOptions,
        how: &Attachment,
        changing: &Changing,
    ) -> Result<Self, KernelError> {
        match Self::open(device)? {
            Some(old) if !old.has_ended() => return Err(KernelError::GuardThere { interface: device.name.clone() }),
            Some(_) => clear(Some(device), changing).map(drop)?,
            None => {}
        }
        bpffs::mount()?;
        // Nobody would remove what a clsact filter leaves behind.
        let how = Attachment { tc: TcChoice::Tcx, ..*how };
        let made = LoadedGuard::new(device, options, &how).map_err(|error| outlives(error, device))?;
        let place = GuardDir::of(device.ifindex, BothWays)?;
        let pinned = pin(&place, made).and_then(|()| Self::open_at(&place));
        if pinned.is_err() {
            place.remove()?;
        }
        pinned
    }
}

/// Turns the error into the one for a guard that must outlive its command on a kernel without TCX.
fn outlives(error: KernelError, device: &Device) -> KernelError {
    match error {
        KernelError::AttachTc { source, .. } => KernelError::GuardNeedsTcx { interface: device.name.clone(), source },
        other => other,
    }
}

/// Pins the maps, then the links, the judging one last: a guard that is half there lets too much pass, not too little.
fn pin(place: &GuardDir, made: LoadedGuard) -> Result<(), KernelError> {
    let folder = place.folder();
    fs::create_dir_all(&folder).map_err(|source| KernelError::File { doing: "make", path: folder.clone(), source })?;
    for name in MAPS {
        let map = made.programs.map(name).ok_or(KernelError::NoMap { name })?;
        map.pin(folder.join(name)).map_err(|source| KernelError::Pin { path: folder.join(name), source })?;
    }
    let ingress = match made.links.ingress {
        Ingress::Xdp(link) => link,
        Ingress::Tc(link) => descriptor(link)?,
    };
    let mut links = [(EGRESS, descriptor(made.links.egress)?), (INGRESS, ingress)];
    if made.record.config.protect == PROTECT_OUT {
        links.reverse();
    }
    for (name, link) in links {
        let path = folder.join(name);
        link.pin(&path).map_err(|source| KernelError::Pin { path, source })?;
    }
    Ok(())
}

fn descriptor(link: TcLink) -> Result<FdLink, KernelError> {
    let unfit = |source: io::Error| KernelError::File { doing: "pin", path: HOME.into(), source };
    match link {
        TcLink::Tcx(link) => FdLink::try_from(link).map_err(|error| unfit(super::io_error(error))),
        TcLink::Clsact(_) => Err(unfit(io::ErrorKind::Unsupported.into())),
    }
}

/// Removes guards that killed processes left unfinished, and guards whose interface is gone. Returns how many there were.
///
/// # Errors
/// If a pin can't be removed.
pub fn sweep(_: &Changing) -> Result<usize, KernelError> {
    let dead: Vec<GuardDir> = GuardDir::all().into_iter().filter(|place| !place.is_live()).collect();
    dead.iter().try_for_each(GuardDir::remove)?;
    Ok(dead.len())
}

/// Removes the guards of this network namespace, whichever build made them, or only the one on `device`. Returns the indices
/// of their interfaces.
///
/// # Errors
/// If a pin can't be removed.
pub fn clear(device: Option<&Device>, _: &Changing) -> Result<Vec<u32>, KernelError> {
    let meant = |place: &GuardDir| device.is_none_or(|device| device.ifindex == place.ifindex);
    let places: Vec<GuardDir> = GuardDir::here()?.into_iter().filter(meant).collect();
    places.iter().try_for_each(GuardDir::remove)?;
    Ok(places.into_iter().map(|place| place.ifindex).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        let place = PinDir { abi: 3, netns: 4_026_531_840, ifindex: 2, kind: BothWays };
        let name = place.folder().file_name().and_then(|name| name.to_str()).map(str::to_owned);
        assert_eq!(name.as_deref().and_then(GuardDir::parse), Some(place));
        for other in ["guard-1-2", "guard-1-2-3-4", "filter-1-2-3", "guard-a-b-c"] {
            assert_eq!(GuardDir::parse(other), None, "{other}");
        }
    }
}
