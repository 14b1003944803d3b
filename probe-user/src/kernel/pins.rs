//! Filters that outlive their command: maps and the XDP link, pinned in a folder of bpffs for each interface.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use bytemuck::{Pod, Zeroable};
use nix::{
    fcntl::{Flock, FlockArg},
    libc,
};
use probe_ebpf::{ABI_VERSION, Hop, Rule, names};

use super::{
    Error, bpf_sys, bpffs,
    filter::Rules,
    hops,
    load::{self, Job, Switch},
    tallies::TallyMap,
    watch::link_layer,
};
use crate::{
    attach::XdpChoice,
    device::{self, Device, Mode, Purpose, xdp_mode},
};

/// The folder in which filters and guards have theirs.
pub(super) const HOME: &str = "/sys/fs/bpf/probe";
const LOCK: &str = "/run/probe/filter.lock";
const LINK: &str = "link";

/// The right to change filters: one process at a time.
pub struct Changing(#[expect(dead_code, reason = "held until it is dropped")] Flock<fs::File>);

impl Changing {
    /// Waits until no other process changes filters.
    pub fn begin() -> Result<Self, Error> {
        let path = Path::new(LOCK);
        let at = |source| Error::File { doing: "lock", path: path.to_owned(), source };
        fs::create_dir_all(path.parent().unwrap_or(path)).map_err(at)?;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(at)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| at(errno.into()))?;
        Ok(Self(lock))
    }
}

/// Where the pins of an interface's filter are: its name says to whom they belong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    abi: u32,
    netns: u64,
    ifindex: u32,
}

impl Place {
    fn of(ifindex: u32) -> Result<Self, Error> {
        Ok(Self { abi: ABI_VERSION, netns: netns()?, ifindex })
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("filter-")?.split('-');
        let place = Self {
            abi: parts.next()?.parse().ok()?,
            netns: parts.next()?.parse().ok()?,
            ifindex: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }

    fn folder(&self) -> PathBuf {
        Path::new(HOME).join(format!("filter-{}-{}-{}", self.abi, self.netns, self.ifindex))
    }

    /// Every place that has a folder, of this network namespace or another, of this build or another.
    fn all() -> Vec<Self> {
        let Ok(files) = fs::read_dir(HOME) else { return Vec::new() };
        let names = files.filter_map(Result::ok).filter_map(|file| file.file_name().into_string().ok());
        let mut places: Vec<Self> = names.filter_map(|name| Self::parse(&name)).collect();
        places.sort();
        places
    }

    /// Whether its link still holds a device: not where the device is gone, or where a killed process never made it.
    fn is_live(&self) -> bool {
        link_ifindex(&self.folder().join(LINK)).is_ok_and(|ifindex| ifindex == self.ifindex)
    }

    /// Detaches first, then forgets the maps.
    fn remove(&self) -> Result<(), Error> {
        let folder = self.folder();
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let link = folder.join(LINK);
        let remove_all = || {
            // Whether or not this works, the link goes with its pin; but then the interface is taken for a while yet.
            if let Err(error) = bpf_sys::open_pin(&link).and_then(|link| bpf_sys::detach_link(&link)) {
                tracing::debug!("{} is not detached: {error}", link.display());
            }
            gone(fs::remove_file(&link))?;
            for file in fs::read_dir(&folder)? {
                gone(fs::remove_file(file?.path()))?;
            }
            gone(fs::remove_dir(&folder))
        };
        gone(remove_all()).map_err(|source| Error::File { doing: "remove", path: folder.clone(), source })?;
        // Goes with the last filter; stays while there is another.
        let _ = fs::remove_dir(HOME);
        Ok(())
    }
}

pub(super) fn netns() -> Result<u64, Error> {
    device::netns_inode().map_err(|source| Error::File {
        doing: "read",
        path: "/proc/thread-self/ns/net".into(),
        source,
    })
}

/// The pinned filter of one interface.
pub struct Pinned {
    /// The interface's index.
    pub ifindex: u32,
    /// The rules.
    pub rules: Rules,
    place: Place,
}

impl Pinned {
    /// The filter on `device`, if it has one.
    ///
    /// # Errors
    /// [`Error::OtherAbi`] where a probe of another build put it there.
    pub fn open(device: &Device) -> Result<Option<Self>, Error> {
        let wanted = Place::of(device.ifindex)?;
        let here = |place: &Place| (place.netns, place.ifindex) == (wanted.netns, wanted.ifindex);
        let place = Place::all().into_iter().filter(here).find(Place::is_live);
        place.as_ref().map_or(Ok(None), Self::open_live)
    }

    /// Every filter of this network namespace.
    pub fn all() -> Result<Vec<Self>, Error> {
        let netns = netns()?;
        let places = Place::all().into_iter().filter(|place| place.netns == netns && place.is_live());
        places.filter_map(|place| Self::open_live(&place).transpose()).collect()
    }

    /// The filter at `place`, unless another process has removed it since that was found.
    fn open_live(place: &Place) -> Result<Option<Self>, Error> {
        match Self::open_at(place.clone()) {
            Err(_) if !place.is_live() => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open_at(place: Place) -> Result<Self, Error> {
        if place.abi != ABI_VERSION {
            let interface = device::name_of(place.ifindex).unwrap_or_else(|_| format!("interface {}", place.ifindex));
            return Err(Error::OtherAbi { interface, theirs: place.abi, ours: ABI_VERSION });
        }
        let folder = place.folder();
        let map = |name: &'static str| {
            MapData::from_pin(folder.join(name))
                .and_then(Map::from_map_data)
                .map_err(|source| Error::of_map(name, source))
        };
        let rules = Rules::of(map(names::CELLS)?, map(names::RULES)?, map(names::DEEDS)?)?;
        Ok(Self { ifindex: place.ifindex, rules, place })
    }

    /// Puts a filter with `rule` on `device`; the lock says that nobody else does so now.
    pub fn create(device: &Device, xdp: XdpChoice, rule: &Rule, _: &Changing) -> Result<Self, Error> {
        let choice = xdp_mode(device, xdp, Purpose::Drop)?;
        if choice.mode == Mode::TcInstead {
            return Err(Error::NoXdp { interface: device.name.clone(), why: choice.why });
        }
        let mut programs = load::load(&job(device, choice.mode))?;
        bpffs::mount()?;
        let place = Place::of(device.ifindex)?;
        let made = Self::make(&place, device, choice.mode, rule, &mut programs);
        if made.is_err() {
            place.remove()?;
        }
        made
    }

    /// Pins the maps, then writes the rule, then attaches: at no instant drops a filter without a rule that is listed.
    fn make(place: &Place, device: &Device, mode: Mode, rule: &Rule, programs: &mut Ebpf) -> Result<Self, Error> {
        let folder = place.folder();
        fs::create_dir_all(&folder).map_err(|source| Error::File { doing: "make", path: folder.clone(), source })?;
        for name in [names::CELLS, names::RULES, names::DEEDS, names::TALLY_DROP] {
            let map = programs.map(name).ok_or(Error::NoMap { name })?;
            map.pin(folder.join(name)).map_err(|source| Error::Pin { path: folder.join(name), source })?;
        }
        let mut pinned = Self::open_at(place.clone())?;
        pinned.rules.add(rule)?;
        let link = hops::xdp::attach(programs, device, mode)?;
        // The link comes last: pins without one are what a killed process left, and are swept.
        let path = folder.join(LINK);
        link.pin(&path).map_err(|source| Error::Pin { path, source })?;
        Ok(pinned)
    }

    /// What this filter dropped, by id.
    pub fn dropped(&self) -> Result<TallyMap, Error> {
        let name = names::TALLY_DROP;
        let map = MapData::from_pin(self.place.folder().join(name)).map_err(|source| Error::of_map(name, source))?;
        TallyMap::of(&map, name)
    }

    /// Detaches the filter and forgets its rules.
    pub fn remove(self, _: &Changing) -> Result<(), Error> {
        self.place.remove()
    }
}

fn job(device: &Device, mode: Mode) -> Job {
    Job {
        mode,
        count: Switch::Off,
        filter: Switch::On,
        link_layer: link_layer(device),
        ifindex: device.ifindex,
        ..Job::count(&[Hop::XdpIn])
    }
}

/// Removes what killed processes left half made, and filters whose interface is gone. Says how many there were.
pub fn sweep(_: &Changing) -> Result<usize, Error> {
    let dead: Vec<Place> = Place::all().into_iter().filter(|place| !place.is_live()).collect();
    dead.iter().try_for_each(Place::remove)?;
    // A process may have been killed before it had made more than this.
    let _ = fs::remove_dir(HOME);
    Ok(dead.len())
}

/// Removes the filters of this network namespace, whichever build put them there, or only that on `device`.
/// Says on which interface indices they were.
pub fn clear(device: Option<&Device>, _: &Changing) -> Result<Vec<u32>, Error> {
    let netns = netns()?;
    let meant = |place: &Place| place.netns == netns && device.is_none_or(|device| device.ifindex == place.ifindex);
    let places: Vec<Place> = Place::all().into_iter().filter(meant).collect();
    places.iter().try_for_each(Place::remove)?;
    let _ = fs::remove_dir(HOME);
    Ok(places.into_iter().map(|place| place.ifindex).collect())
}

/// The first part of `struct bpf_link_info`, as an XDP or TCX link fills it in.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    ifindex: u32,
    more: u32,
}

/// The interface that the XDP or TCX link pinned at `path` holds; 0: it is gone.
pub(super) fn link_ifindex(path: &Path) -> io::Result<u32> {
    const LINK_TYPE_XDP: u32 = 6;
    const LINK_TYPE_TCX: u32 = 11;
    let info: LinkInfo = bpf_sys::object_info(&bpf_sys::open_pin(path)?)?;
    if ![LINK_TYPE_XDP, LINK_TYPE_TCX].contains(&info.kind) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(info.ifindex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        let place = Place { abi: 3, netns: 4_026_531_840, ifindex: 2 };
        let name = place.folder().file_name().and_then(|name| name.to_str()).map(str::to_owned);
        assert_eq!(name.as_deref().and_then(Place::parse), Some(place));
        for other in ["filter-1-2", "filter-1-2-3-4", "other-1-2-3", "filter-a-b-c"] {
            assert_eq!(Place::parse(other), None, "{other}");
        }
    }
}
