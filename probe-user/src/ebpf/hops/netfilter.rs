//! Netfilter from the user side: two programs at each hook, one before all other rules and one after them. A packet
//! that only the first saw was dropped, queued or stolen at this hook.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use aya::Ebpf;
use nix::libc;
use probe_ebpf::{Family, Hop};

use crate::{
    ebpf::{
        bpf_sys::{self, NetfilterPlace},
        netfilter::{self, Maps, NetfilterPrograms},
        running::RunningKernel,
    },
    host::offsets::OffsetGroup,
};

/// How many priorities are tried at a hook: each may be taken by another probe, or by a base chain.
const ATTEMPTS: i32 = 16;

/// Which of the two programs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// A hop of netfilter: `NF_INET_*` of `include/uapi/linux/netfilter.h`, and at which end of the hook.
const PLACES: [(Hop, u32, End); 10] = [
    (Hop::NfOutputLast, 3, End::Last),
    (Hop::NfOutputFirst, 3, End::First),
    (Hop::NfPostroutingLast, 4, End::Last),
    (Hop::NfPostroutingFirst, 4, End::First),
    (Hop::NfPreroutingLast, 0, End::Last),
    (Hop::NfPreroutingFirst, 0, End::First),
    (Hop::NfInputLast, 1, End::Last),
    (Hop::NfInputFirst, 1, End::First),
    (Hop::NfForwardLast, 2, End::Last),
    (Hop::NfForwardFirst, 2, End::First),
];

/// The programs at their hooks; dropping it detaches them.
#[derive(Default)]
pub struct NetfilterLinks {
    links: BTreeMap<Hop, Vec<OwnedFd>>,
    blind: BTreeMap<Hop, String>,
    programs: Option<NetfilterPrograms>,
}

impl NetfilterLinks {
    /// Returns the hops that are watched, for every IP version that was asked for.
    pub fn watched(&self) -> impl Iterator<Item = Hop> {
        self.links.keys().copied()
    }

    /// Returns the hops that are not watched, and why, as a clause for the user.
    pub fn blind(&self) -> &BTreeMap<Hop, String> {
        &self.blind
    }

    /// Adds those of `other`.
    pub fn extend(&mut self, other: Self) {
        self.links.extend(other.links);
        self.blind.extend(other.blind);
        self.programs = self.programs.take().or(other.programs);
    }

    /// Returns the programs once more, to be attached in other network namespaces too.
    ///
    /// # Errors
    /// Why there are none, as a clause for the user.
    pub fn share(&self) -> Result<NetfilterPrograms, String> {
        let why = || self.blind.values().next().cloned().unwrap_or_else(|| "netfilter is not watched".to_owned());
        let programs = self.programs.as_ref().ok_or_else(why)?;
        programs.try_clone().map_err(|error| format!("no more files can be opened: {error}"))
    }

    /// Returns the programs that are attached, by name.
    pub fn programs(&self) -> impl Iterator<Item = (&'static str, &OwnedFd)> {
        let both = self.programs.as_ref().map(|programs| [&programs.first, &programs.last]);
        both.into_iter().flat_map(|both| netfilter::PROGRAMS.into_iter().zip(both))
    }

    /// Returns links in which every hop is blind for the same reason.
    pub fn all_blind(why: &str) -> Self {
        let blind = PLACES.map(|(hop, ..)| (hop, why.to_owned())).into();
        Self { blind, ..Self::default() }
    }
}

/// Checks that the hops of netfilter can be watched on this kernel.
///
/// # Errors
/// Why not, as a clause for the user.
pub fn available(kernel: &RunningKernel) -> Result<(), String> {
    // Structures of kernels without such programs differ too, which is not what is missing there.
    netfilter::available().map_err(|refusal| refusal.to_string())?;
    [OffsetGroup::Packet, OffsetGroup::Netfilter].into_iter().try_for_each(|group| kernel.layout(group).map(drop))
}

/// Loads both programs beside those of `loaded`, which must still have all its maps, and attaches them in the calling
/// thread's network namespace. If that fails, the hops are blind; it is never an error.
///
/// Netfilter reserves the very highest priority for connection tracking, which confirms a new connection there. A packet
/// that dies there, when two packets race for one entry, has passed the last hop.
pub fn attach(loaded: &Ebpf, kernel: &RunningKernel, families: &[Family]) -> NetfilterLinks {
    attach_beside(&Maps::of(loaded), kernel, families)
}

/// Loads and attaches both programs beside programs that other threads load meanwhile.
pub fn attach_beside(maps: &Maps<'_>, kernel: &RunningKernel, families: &[Family]) -> NetfilterLinks {
    let programs = available(kernel).and_then(|()| netfilter::load(maps).map_err(|refusal| refusal.to_string()));
    match programs {
        Ok(programs) => {
            let attached = attach_loaded(&programs, families);
            NetfilterLinks { programs: Some(programs), ..attached }
        }
        Err(why) => NetfilterLinks::all_blind(&why),
    }
}

/// Attaches programs that are loaded already in the calling thread's network namespace; a hop where that fails is blind.
///
/// The last one of a hook comes before the first: a packet that passes meanwhile is then not missed at the last.
pub fn attach_loaded(programs: &NetfilterPrograms, families: &[Family]) -> NetfilterLinks {
    let mut attached = NetfilterLinks::default();
    for (hop, hook, end) in PLACES {
        let links: io::Result<Vec<OwnedFd>> =
            families.iter().map(|family| attach_one(programs, *family, hook, end)).collect();
        match links {
            Ok(links) => drop(attached.links.insert(hop, links)),
            Err(error) => drop(attached.blind.insert(hop, why(&error))),
        }
    }
    attached
}

fn attach_one(programs: &NetfilterPrograms, family: Family, hook: u32, end: End) -> io::Result<OwnedFd> {
    let program = match end {
        End::First => &programs.first,
        End::Last => &programs.last,
    };
    let mut refused = io::Error::from_raw_os_error(libc::EBUSY);
    for priority in priorities(end) {
        match bpf_sys::link_netfilter(program, NetfilterPlace { protocol: protocol(family), hook, priority }) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                tracing::debug!("priority {priority} of netfilter hook {hook} is taken");
                refused = error;
            }
            other => return other,
        }
    }
    Err(refused)
}

/// Returns the priorities to try, from the outermost that netfilter allows, inwards.
fn priorities(end: End) -> impl Iterator<Item = i32> {
    (1..=ATTEMPTS).map(move |step| match end {
        End::First => i32::MIN + step,
        End::Last => i32::MAX - step,
    })
}

/// Returns `NFPROTO_IPV4` or `NFPROTO_IPV6`.
const fn protocol(family: Family) -> u32 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => format!("the {ATTEMPTS} outermost priorities of this hook are all taken"),
        Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {
            "this kernel's netfilter does not support this IP version".to_owned()
        }
        Some(libc::EPERM) => "not privileged: attaching to netfilter needs CAP_NET_ADMIN".to_owned(),
        _ => format!("the kernel refuses to attach to netfilter: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_hook_has_a_first_and_a_last() {
        let places: BTreeSet<_> = PLACES.iter().map(|(_, hook, end)| (*hook, *end == End::First)).collect();
        assert_eq!(places, (0..5).flat_map(|hook| [(hook, false), (hook, true)]).collect());
        for (hop, _, end) in PLACES {
            let name = if end == End::First { netfilter::PROGRAMS[0] } else { netfilter::PROGRAMS[1] };
            assert_eq!(hop.row().program, name, "{hop:?}");
        }
    }

    #[test]
    fn priorities_step_inwards_from_the_outermost_that_are_given_away() {
        let first: Vec<_> = priorities(End::First).take(2).collect();
        let last: Vec<_> = priorities(End::Last).take(2).collect();
        assert_eq!((first, last), (vec![i32::MIN + 1, i32::MIN + 2], vec![i32::MAX - 1, i32::MAX - 2]));
    }

    #[test]
    fn a_refusal_blinds_every_hop_of_netfilter() {
        let links = NetfilterLinks::all_blind("no");
        assert_eq!(links.watched().count(), 0);
        assert_eq!(links.blind().len(), PLACES.len());
    }
}
