//! Network interfaces of the calling thread's network namespace: what they are, and what XDP would do to them.
//!
//! Everything comes from netlink and ioctl, never from `/sys/class/net`, which shows the namespace of the mount, not of
//! the thread.

mod ethtool;
mod links;
pub(crate) mod netlink;
pub mod tc_filters;
pub mod xdp_mode;

use std::{
    ffi::CStr,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::{
        fd::AsRawFd,
        unix::{fs::MetadataExt, net::UnixDatagram},
    },
};

use nix::libc;

pub use xdp_mode::{AttachMode, ModeChoice, XdpPurpose, xdp_mode};

use crate::error::Mend;

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its alternative names (`ip link property`), which `-I` accepts too.
    pub other_names: Vec<String>,
    /// Its index in its network namespace.
    pub ifindex: u32,
    /// Whether it is up (`IFF_UP`).
    pub up: bool,
    /// Whether it has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Whether it is the loopback interface.
    pub loopback: bool,
    /// The largest packet that it accepts, in bytes, without the link-layer header.
    pub mtu: u32,
    /// The link-layer header of its packets.
    pub link_layer: DeviceType,
    /// The kernel's name for the kind of a virtual interface, such as `veth` or `vlan`; hardware has none.
    pub kind: Option<String>,
    /// Its driver, as `ethtool -i` reports it; the loopback interface has none.
    pub driver: Option<String>,
    /// Whether large receive offload is on, here or on an interface beneath this one.
    ///
    /// Attaching generic XDP would switch it off (`generic_xdp_install` in `net/core/dev.c`), and drivers that must rebuild
    /// their queues for that reset the link.
    pub lro: bool,
    /// Whether hardware GRO is on and can be switched off, which attaching generic XDP would do too.
    pub hardware_gro: bool,
    /// The interface on which this one was made: a VLAN's card, but not a veth's peer.
    pub lower: Option<u32>,
    /// The bond, bridge or VRF that this one belongs to.
    pub master: Option<u32>,
    /// Its IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
    /// The XDP programs on it.
    pub xdp: Vec<XdpProgram>,
}

/// What the packets of an interface start with, as tc and XDP programs see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceType {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// The IP header.
    RawIp,
    /// A header that probe cannot read: the `ARPHRD_*` number of `include/uapi/linux/if_arp.h`.
    Other(u16),
}

/// An XDP program on an interface, as netlink reports it (`IFLA_XDP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct XdpProgram {
    /// Where it runs.
    pub place: XdpPlace,
    /// Its id, as in `bpftool prog`.
    pub id: u32,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum XdpPlace {
    /// In the driver.
    Native,
    /// In the kernel's receive path.
    Generic,
    /// On the network card.
    Offloaded,
}

impl XdpPlace {
    /// Returns its name in reports and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Offloaded => "offloaded",
        }
    }
}

/// Kinds of interface that wrap packets in others, which this host or a program on it then sends another way.
const TUNNELS: [&str; 17] = [
    "amt",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gretap",
    "gtp",
    "ip6gre",
    "ip6gretap",
    "ip6tnl",
    "ipip",
    "sit",
    "tun",
    "vti",
    "vti6",
    "vxlan",
    "wireguard",
];

impl Device {
    /// Returns its kind if it is a tunnel.
    pub fn tunnel(&self) -> Option<&str> {
        self.kind.as_deref().filter(|kind| TUNNELS.contains(kind))
    }

    /// Finds the interface with that name or alternative name.
    ///
    /// # Errors
    /// [`DeviceError::NoSuchInterface`] if this network namespace has none, [`DeviceError::Netlink`] if the kernel does not
    /// answer.
    pub fn find(name: &str) -> Result<Self, DeviceError> {
        pick(Self::all()?, name)
    }

    /// Lists every interface of this network namespace, by index.
    ///
    /// # Errors
    /// [`DeviceError::Netlink`] if the kernel does not answer.
    pub fn all() -> Result<Vec<Self>, DeviceError> {
        links::read().map_err(DeviceError::Netlink)
    }

    /// Reports whether it has an address of the same IP version as `address`.
    pub fn speaks(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => !self.v4.is_empty(),
            IpAddr::V6(_) => !self.v6.is_empty(),
        }
    }

    /// Returns the usual name of its driver: `virtio_net`, `veth`, `loopback`.
    pub fn driver_name(&self) -> &str {
        let known = self.driver.as_deref().or(self.kind.as_deref());
        known.unwrap_or(if self.loopback { "loopback" } else { "unknown driver" })
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.other_names.iter().any(|other| other == name)
    }
}

/// Returns the inode of the calling thread's network namespace, which no other live namespace has.
///
/// # Errors
/// If `/proc` is not mounted.
pub fn netns_inode() -> io::Result<u64> {
    fs::metadata("/proc/thread-self/ns/net").map(|namespace| namespace.ino())
}

/// Returns the name of the interface with that index, in the calling thread's network namespace.
///
/// # Errors
/// ENXIO if there is none (any more), for which nix 0.31 returns an empty name.
pub fn name_of(ifindex: u32) -> io::Result<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the function writes at most IF_NAMESIZE bytes, for which `name` has room.
    if unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    Ok(name.to_string_lossy().into_owned())
}

/// `SO_NETNS_COOKIE` of `include/uapi/asm-generic/socket.h` (Linux 5.14), which the libc crate lacks.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Returns the kernel's cookie of the calling thread's network namespace. The kernel uses a cookie once per boot; an inode
/// number is free again as soon as its namespace is gone.
///
/// # Errors
/// The kernel's answer.
pub fn netns_cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).expect("eight fits");
    // SAFETY: the descriptor is open until the end of this function; `cookie` and `length` are valid for writes, and
    // `length` says how many bytes `cookie` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Why an interface cannot be used, or not in this way.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No interface has that name.
    #[error("no interface '{name}' in this network namespace; there is {}", listed(known))]
    NoSuchInterface {
        /// The name that was asked for.
        name: String,
        /// The existing names, the nearest spelling first.
        known: Vec<String>,
    },
    /// The kernel did not list its interfaces.
    #[error("cannot ask the kernel for its network interfaces")]
    Netlink(#[source] io::Error),
    /// Packets of the interface start with a header that probe cannot read.
    #[error(
        "'{name}' is neither an Ethernet nor an IP interface (ARPHRD type {arphrd}): probe cannot read its packets"
    )]
    LinkLayer {
        /// The interface.
        name: String,
        /// The `ARPHRD_*` number of its link layer.
        arphrd: u16,
    },
    /// Native XDP was requested, and the driver has none.
    #[error("'{name}' has no native XDP ({driver})")]
    NoNativeXdp {
        /// The interface.
        name: String,
        /// Its driver.
        driver: String,
    },
}

impl Mend for DeviceError {
    fn fix(&self) -> String {
        match self {
            Self::NoSuchInterface { name, known } => match known.first() {
                Some(nearest) if is_near(name, nearest) => format!("did you mean -I {nearest}?"),
                _ => "name one of these with -I".to_owned(),
            },
            Self::Netlink(_) => {
                "run probe where AF_NETLINK sockets are allowed (a seccomp profile may forbid them)".into()
            }
            Self::LinkLayer { .. } => "choose the Ethernet or IP interface beneath or above it".to_owned(),
            Self::NoNativeXdp { .. } => "use --xdp auto or --xdp generic".to_owned(),
        }
    }
}

/// Picks the device called `name`. `ip link` prints `eth0@if3` for an interface called `eth0`, so that is accepted as well.
fn pick(devices: Vec<Device>, name: &str) -> Result<Device, DeviceError> {
    let short = name.split_once('@').map_or(name, |(short, _)| short);
    let wanted = if devices.iter().any(|device| device.is_called(name)) { name } else { short };
    let mut known: Vec<String> = devices.iter().map(|device| device.name.clone()).collect();
    if let Some(found) = devices.into_iter().find(|device| device.is_called(wanted)) {
        return Ok(found);
    }
    known.sort_by_cached_key(|candidate| (strsim::osa_distance(short, candidate), candidate.clone()));
    Err(DeviceError::NoSuchInterface { name: name.to_owned(), known })
}

/// Reports whether `guess` may be a misspelt `name`: at most one change in three letters.
fn is_near(name: &str, guess: &str) -> bool {
    strsim::osa_distance(name, guess) * 3 <= name.chars().count().max(3)
}

/// Lists at most eight names, and how many more there are.
fn listed(known: &[String]) -> String {
    const SHOWN: usize = 8;
    if known.is_empty() {
        return "none".to_owned();
    }
    let mut text = known.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if known.len() > SHOWN {
        text.push_str(&format!(" and {} more (ip -brief link)", known.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn devices(names: &[&str]) -> Vec<Device> {
        names.iter().map(|name| Device { name: (*name).to_owned(), ..Device::default() }).collect()
    }

    #[test]
    fn a_name_is_found_as_ip_prints_it() {
        let mut all = devices(&["lo", "eth0", "veth@x"]);
        all[1].other_names.push("enp0s3".to_owned());
        for (typed, found) in [("eth0", "eth0"), ("eth0@if3", "eth0"), ("enp0s3", "eth0"), ("veth@x", "veth@x")] {
            assert_eq!(pick(all.clone(), typed).expect("found").name, found);
        }
    }

    #[test]
    fn a_misspelt_name_is_told_the_nearest_first() {
        let error = pick(devices(&["lo", "docker0", "eth0"]), "eht0").expect_err("no such interface");
        let failure = Failure::from(error);
        assert_eq!(failure.error, "no interface 'eht0' in this network namespace; there is eth0, lo, docker0");
        assert_eq!(failure.fix, "did you mean -I eth0?");
    }

    #[test]
    fn a_name_like_no_other_is_not_guessed() {
        let error = pick(devices(&["lo", "eth0"]), "wlp0s20f3").expect_err("no such interface");
        assert_eq!(error.fix(), "name one of these with -I");
    }

    #[test]
    fn many_interfaces_are_not_all_listed() {
        let names: Vec<String> = (0..200).map(|number| format!("veth{number:03}")).collect();
        let many = devices(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let text = pick(many, "veth200").expect_err("no such interface").to_string();
        assert!(text.ends_with("and 192 more (ip -brief link)"), "{text}");
        assert!(text.len() < 200, "{text}");
    }

    #[test]
    fn an_empty_namespace_has_none() {
        assert!(pick(Vec::new(), "eth0").expect_err("none").to_string().ends_with("there is none"));
    }
}
