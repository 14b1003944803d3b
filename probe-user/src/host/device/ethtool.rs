//! What only the ethtool ioctl reports: the driver, and the offloads that XDP would switch off.
//!
//! The structures are those of `include/uapi/linux/ethtool.h`, as arrays of 32-bit words in the machine's byte order.
//! None of these commands needs a privilege.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    libc,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const GET_DRIVER: u32 = 0x03;
const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
/// `ETH_SS_FEATURES`: the names of offloads, the same for every interface.
const FEATURE_NAMES: u32 = 4;
/// `ETH_GSTRING_LEN`.
const NAME_BYTES: usize = 32;
/// Words of `struct ethtool_drvinfo`: the command, 192 bytes of which the first 32 are the driver's name.
const DRIVER_WORDS: usize = 49;

/// A socket for the requests, and the positions of the offloads in the kernel's list.
pub(super) struct Ethtool {
    socket: OwnedFd,
    lro: Option<usize>,
    hardware_gro: Option<usize>,
}

/// The offloads of an interface that attaching XDP would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offloads {
    /// Large receive offload is on.
    pub(super) lro: bool,
    /// GRO in hardware is on, and is not fixed.
    pub(super) hardware_gro: bool,
}

impl Ethtool {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        let mut ethtool = Self { socket, lro: None, hardware_gro: None };
        let names = ethtool.feature_names().unwrap_or_default();
        let place = |name: &str| names.iter().position(|candidate| candidate == name);
        (ethtool.lro, ethtool.hardware_gro) = (place("rx-lro"), place("rx-gro-hw"));
        Ok(ethtool)
    }

    /// Returns the name of the interface's driver, if it has one.
    pub(super) fn driver(&self, interface: &str) -> Option<String> {
        let mut words = [0; DRIVER_WORDS];
        words[0] = GET_DRIVER;
        self.ask(interface, &mut words)?;
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        text(bytes.get(4..4 + NAME_BYTES)?)
    }

    /// Returns which of its offloads are on; those that it does not report count as off.
    pub(super) fn offloads(&self, interface: &str) -> Offloads {
        let state = |place: Option<usize>| place.and_then(|index| self.state(interface, index)).unwrap_or_default();
        let hardware_gro = state(self.hardware_gro);
        Offloads { lro: state(self.lro).active, hardware_gro: hardware_gro.active && hardware_gro.changeable }
    }

    /// Returns the state of the offload at `index` of the kernel's list.
    fn state(&self, interface: &str, index: usize) -> Option<Feature> {
        let blocks = index / 32 + 1;
        let mut words = vec![0; 2 + blocks * 4];
        (words[0], words[1]) = (GET_FEATURES, u32::try_from(blocks).ok()?);
        self.ask(interface, &mut words)?;
        feature(&words, index)
    }

    /// Returns the kernel's names of offloads, in the order of their bits. The request needs an interface only as an
    /// address.
    fn feature_names(&self) -> Option<Vec<String>> {
        // struct ethtool_sset_info: command, reserved, a 64-bit mask of the sets, then the length of each.
        let mut info = [GET_SET_INFO, 0, 0, 0, 0, 0];
        bytemuck::cast_slice_mut::<u32, u8>(&mut info)[8..16].copy_from_slice(&(1_u64 << FEATURE_NAMES).to_ne_bytes());
        let interface = any_interface()?;
        self.ask(&interface, &mut info)?;
        let count = usize::try_from(info[4]).ok().filter(|count| (1..4096).contains(count))?;
        // struct ethtool_gstrings: command, set, length, then the names.
        let mut words = vec![0; 3 + count * NAME_BYTES / 4];
        (words[0], words[1], words[2]) = (GET_STRINGS, FEATURE_NAMES, info[4]);
        self.ask(&interface, &mut words)?;
        let names = bytemuck::cast_slice::<u32, u8>(&words[3..]).chunks(NAME_BYTES);
        Some(names.map(|name| text(name).unwrap_or_default()).collect())
    }

    /// Sends the command in `words` to the kernel, which answers in place; `None` if it refuses.
    fn ask(&self, interface: &str, words: &mut [u32]) -> Option<()> {
        // SAFETY: ifreq is plain data, for which zero bytes are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return None;
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *place = byte.cast_signed();
        }
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
        // SAFETY: the socket is open, the request is complete, and its data points to `words`, which every caller made as
        // long as the command's structure; the kernel writes no further than the lengths in it say.
        let status = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        (status == 0).then_some(())
    }
}

/// Returns some interface of this network namespace: each has at least `lo`.
fn any_interface() -> Option<String> {
    let names = nix::net::if_::if_nameindex().ok()?;
    let name = names.iter().next()?.name().to_str().ok()?.to_owned();
    Some(name)
}

/// The state of one offload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Feature {
    active: bool,
    changeable: bool,
}

/// Returns the state of offload `index` in a `struct ethtool_gfeatures`: command, length, then blocks of 32 offloads, each
/// with one word each for available, requested, active and never changed.
fn feature(words: &[u32], index: usize) -> Option<Feature> {
    let block = words.get(2 + index / 32 * 4..)?;
    let bit = |word: usize| Some(block.get(word)? >> (index % 32) & 1 == 1);
    Some(Feature { changeable: bit(0)?, active: bit(2)? })
}

/// Returns the text up to the first zero byte; `None` if there is none.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offload_is_found_in_its_block() {
        let mut words = vec![0; 2 + 3 * 4];
        words[2 + 4] = 1 << 3; // block 1: can be changed
        words[2 + 4 + 2] = 1 << 3 | 1 << 4; // block 1: on
        assert_eq!(feature(&words, 35), Some(Feature { active: true, changeable: true }));
        assert_eq!(feature(&words, 36), Some(Feature { active: true, changeable: false }));
        assert_eq!(feature(&words, 3), Some(Feature::default()));
        assert_eq!(feature(&words, 96), None);
    }

    #[test]
    fn the_kernel_names_both_offloads() {
        let ethtool = Ethtool::open().expect("a socket");
        assert!(ethtool.lro.is_some() && ethtool.hardware_gro.is_some());
        assert_eq!(ethtool.offloads("lo"), Offloads::default());
        assert_eq!(ethtool.driver("no-such-device"), None);
        // Software GRO is on at every interface from its start, and can be changed.
        let names = ethtool.feature_names().expect("names");
        let gro = names.iter().position(|name| name == "rx-gro").expect("the kernel knows it");
        assert_eq!(ethtool.state("lo", gro), Some(Feature { active: true, changeable: true }));
    }
}
