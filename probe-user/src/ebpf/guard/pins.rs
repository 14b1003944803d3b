//! Guards that outlive their command: their maps and links, pinned in a folder of bpffs for each interface.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    maps::{Map, MapData},
    programs::links::FdLink,
};
use probe_ebpf::{ABI_VERSION, GuardRecord, guard::PROTECT_OUT, names};

use super::{
    Attachment, Ingress, LoadedGuard,
    maps::{GuardMaps, read_record},
};
use crate::{
    clock::monotonic_ns,
    ebpf::{
        KernelError, bpf_sys, bpffs,
        hops::tc::TcLink,
        pins::{self, Changing, HOME},
    },
    filter::guard::GuardOptions,
    host::device::{self, Device},
    model::attach::TcChoice,
};

const INGRESS: &str = "ingress";
const EGRESS: &str = "egress";

/// The maps of a guard that other commands read.
const MAPS: [&str; 4] = [names::GUARD_SETS, names::GUARD_DROPS, names::GUARD_COUNTS, names::GUARD];

/// The pins of an interface's guard; the name of the folder says whose they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    abi: u32,
    netns: u64,
    ifindex: u32,
}

impl Place {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("guard-")?.split('-');
        let place = Self {
            abi: parts.next()?.parse().ok()?,
            netns: parts.next()?.parse().ok()?,
            ifindex: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }

    fn folder(&self) -> PathBuf {
        Path::new(HOME).join(format!("guard-{}-{}-{}", self.abi, self.netns, self.ifindex))
    }

    /// Lists every folder of pins, of this or another network namespace, of this or another build.
    fn all() -> Vec<Self> {
        let Ok(files) = fs::read_dir(HOME) else { return Vec::new() };
        let names = files.filter_map(Result::ok).filter_map(|file| file.file_name().into_string().ok());
        let mut places: Vec<Self> = names.filter_map(|name| Self::parse(&name)).collect();
        places.sort();
        places
    }

    /// Reports whether both its links still hold a device. A guard with one link was left by a killed process, or detached
    /// by somebody else.
    fn is_live(&self) -> bool {
        [INGRESS, EGRESS]
            .into_iter()
            .all(|link| pins::link_ifindex(&self.folder().join(link)).is_ok_and(|ifindex| ifindex == self.ifindex))
    }

    /// Detaches the programs, then removes the pins of the maps.
    fn remove(&self) -> Result<(), KernelError> {
        let folder = self.folder();
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let remove_all = || {
            for link in [INGRESS, EGRESS].map(|link| folder.join(link)) {
                if let Err(error) = bpf_sys::open_pin(&link).and_then(|link| bpf_sys::detach_link(&link)) {
                    tracing::debug!("{} is not detached: {error}", link.display());
                }
                gone(fs::remove_file(&link))?;
            }
            for file in fs::read_dir(&folder)? {
                gone(fs::remove_file(file?.path()))?;
            }
            gone(fs::remove_dir(&folder))
        };
        gone(remove_all()).map_err(|source| KernelError::File { doing: "remove", path: folder.clone(), source })?;
        // Succeeds for the last of probe's pins; fails, harmlessly, while there are more.
        let _ = fs::remove_dir(HOME);
        Ok(())
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
        let netns = pins::netns()?;
        let here = |place: &Place| (place.netns, place.ifindex) == (netns, device.ifindex);
        let place = Place::all().into_iter().filter(here).find(Place::is_live);
        place.as_ref().map_or(Ok(None), Self::open_live)
    }

    /// Opens every guard of this network namespace.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn all() -> Result<Vec<Self>, KernelError> {
        let netns = pins::netns()?;
        let places = Place::all().into_iter().filter(|place| place.netns == netns && place.is_live());
        places.filter_map(|place| Self::open_live(&place).transpose()).collect()
    }

    /// Reports whether it has expired.
    pub fn has_ended(&self) -> bool {
        self.record.config.deadline_ns != 0 && self.record.config.deadline_ns <= monotonic_ns()
    }

    /// Opens the guard at `place`, unless another process has removed it meanwhile.
    fn open_live(place: &Place) -> Result<Option<Self>, KernelError> {
        match Self::open_at(place) {
            Err(_) if !place.is_live() => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_at(place: &Place) -> Result<Self, KernelError> {
        if place.abi != ABI_VERSION {
            let interface = device::name_of(place.ifindex).unwrap_or_else(|_| format!("interface {}", place.ifindex));
            return Err(KernelError::OtherAbi { interface, theirs: place.abi, ours: ABI_VERSION });
        }
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
        // What a filter of clsact would leave nobody would take away.
        let how = Attachment { tc: TcChoice::Tcx, ..*how };
        let made = LoadedGuard::new(device, options, &how).map_err(|error| outlives(error, device))?;
        let place = Place { abi: ABI_VERSION, netns: pins::netns()?, ifindex: device.ifindex };
        let pinned = pin(&place, made).and_then(|()| Self::open_at(&place));
        if pinned.is_err() {
            place.remove()?;
        }
        pinned
    }
}

/// Turns the error into what it means for a guard that must outlive its command on a kernel without TCX.
fn outlives(error: KernelError, device: &Device) -> KernelError {
    match error {
        KernelError::AttachTc { source, .. } => KernelError::GuardNeedsTcx { interface: device.name.clone(), source },
        other => other,
    }
}

/// Pins the maps, then the links, and last the link that judges replies: half a guard must let too much pass, not too
/// little.
fn pin(place: &Place, made: LoadedGuard) -> Result<(), KernelError> {
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
    let dead: Vec<Place> = Place::all().into_iter().filter(|place| !place.is_live()).collect();
    dead.iter().try_for_each(Place::remove)?;
    Ok(dead.len())
}

/// Removes the guards of this network namespace, whichever build made them, or only the one on `device`. Returns the indices
/// of their interfaces.
///
/// # Errors
/// If a pin can't be removed.
pub fn clear(device: Option<&Device>, _: &Changing) -> Result<Vec<u32>, KernelError> {
    let netns = pins::netns()?;
    let meant = |place: &Place| place.netns == netns && device.is_none_or(|device| device.ifindex == place.ifindex);
    let places: Vec<Place> = Place::all().into_iter().filter(meant).collect();
    places.iter().try_for_each(Place::remove)?;
    Ok(places.into_iter().map(|place| place.ifindex).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        let place = Place { abi: 3, netns: 4_026_531_840, ifindex: 2 };
        let name = place.folder().file_name().and_then(|name| name.to_str()).map(str::to_owned);
        assert_eq!(name.as_deref().and_then(Place::parse), Some(place));
        for other in ["guard-1-2", "guard-1-2-3-4", "filter-1-2-3", "guard-a-b-c"] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
    }
}
