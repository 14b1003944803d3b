//! What the user half fixes before it loads the programs: constants to the verifier, which removes what they turn off.

use bytemuck::{Pod, Zeroable};

/// The frozen global [`crate::names::CONFIG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Config {
    /// [`crate::ABI_VERSION`] of the user half.
    pub abi: u32,
    /// Rows of the tallies minus one; their number is a power of two.
    pub row_mask: u32,
    /// 1: more processors than rows, so count with atomic additions.
    pub shared_rows: u32,
    /// 1: packets of the device start with the IP header, not with an Ethernet header.
    pub raw_ip: u32,
    /// What the rules of the filter need: bits of [`super::filter`], from [`super::filter::ON`] on; 0: there is none.
    pub filter: u32,
    /// The most rules that a packet can meet: 1 if no rule lets it go on to the next.
    pub filter_steps: u32,
    /// 1: keep flows, pending requests and round-trip times.
    pub track: u32,
    /// [`CAPTURE_ALL`] or [`CAPTURE_MATCHED`]: copy packets into the ring; 0: do not. Only ingress programs do.
    pub capture: u32,
    /// The interface index that events carry, and to which the device hops of a journey are limited; 0: any.
    pub ifindex: u32,
    /// 1: note the journeys of probes with [`Config::nonce`].
    pub journey: u32,
    /// [`super::absorb::ABSORB`] or [`super::absorb::ANSWER`]: what happens to the run's requests where they enter; 0: they
    /// go on.
    pub requests: u32,
    /// The only IP version that is read, [`ONLY_V4`] or [`ONLY_V6`]: packets of the other are not treated as echo, and
    /// the verifier need not follow the code that reads them, which takes it longer than all the rest; 0: both.
    pub only: u32,
    /// Inode of the watched network namespace: hops that see all namespaces look only at this one.
    pub netns: u32,
    /// 1: note probes, and report their drops, in every other network namespace of this kernel too.
    pub everywhere: u32,
    /// Whether to look for probes inside the packets of the tunnels of [`super::tunnel::Tunnels`] too: through how many
    /// layers, and of which kinds ([`super::tunnel::LAYERS`] and what follows it); 0: no.
    pub opens: u32,
    /// The kinds of tunnels ([`super::tunnel::Tunnels`], as in [`Config::opens`]) in whose packets the programs at a NIC look
    /// for echo too, one layer in; 0: none.
    pub inner: u32,
    /// 1: echo packets without a mark are probes too, by [`Config::id`] and what follows it.
    pub numbered: u32,
    /// The echo id of the run; with [`super::follow::OF_ONE_ID`], of the echoes that are followed.
    pub id: u32,
    /// The sequence number of its first probe.
    pub first_seq: u32,
    /// How many probes it has, or how many echoes are followed at most.
    pub probes: u32,
    /// [`super::journey::Mark::nonce`] of this run, in host byte order.
    pub nonce: u64,
    /// Which echoes of other programs are followed instead of probes: bits of [`super::follow`], from
    /// [`super::follow::FOLLOW`] on; 0: none.
    pub follow: u32,
    /// The process whose echoes are followed, with [`super::follow::OF_ONE_PROCESS`].
    pub process: u32,
    /// Inode of the pid namespace in which processes are numbered.
    pub pid_namespace: u32,
    /// 1: what this host sends gets its number only when it leaves: there are no netfilter hops that would see it
    /// before.
    pub learns_late: u32,
    /// The address of the sending end, IPv4 as `::ffff:a.b.c.d`: two numbers in the order of its bytes.
    pub near: [u64; 2],
    /// The address of the other end; with [`super::follow::TO_ONE_TARGET`], of the echoes that are followed.
    pub far: [u64; 2],
}

/// [`Config::only`]: IPv4.
pub const ONLY_V4: u32 = 4;
/// [`Config::only`]: IPv6.
pub const ONLY_V6: u32 = 6;
/// [`Config::capture`]: every echo packet.
pub const CAPTURE_ALL: u32 = 1;
/// [`Config::capture`]: only those for which the index names a rule.
pub const CAPTURE_MATCHED: u32 = 2;
