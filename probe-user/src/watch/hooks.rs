//! Netfilter's hooks in the other network namespaces that a run's probes cross: watched from when a probe was first seen there.

use std::collections::BTreeMap;

use probe_ebpf::{Family, Hop, contract::hook::HOOK_HOPS};

use crate::{
    clock::monotonic_ns,
    ebpf::{
        hooks::Hooks,
        hops::netfilter::{NetfilterLinks, attach_loaded},
        netfilter::NetfilterPrograms,
    },
    host::namespace::Namespace,
    model::trace::{HookTrace, HopTrace},
};

/// The layer of tunnels at which hooks are watched besides the probes themselves: the first one around them.
pub(super) const CARRIED: u8 = 1;

/// The hooks of every namespace that was entered.
pub(super) struct PlaceHooks {
    hooks: Hooks,
    programs: Result<NetfilterPrograms, String>,
    families: Vec<Family>,
    places: BTreeMap<u32, Hooked>,
}

/// One namespace: its hooks are watched, or they are not, and why.
enum Hooked {
    Watched {
        slot: u32,
        carried: Option<u32>,
        since_ns: u64,
        links: NetfilterLinks,
    },
    /// The run's own: what probes do there is noted elsewhere, and only those inside the packets of tunnels are noted
    /// here.
    Own {
        carried: u32,
        since_ns: u64,
        blind: BTreeMap<Hop, String>,
    },
    Blind {
        why: String,
    },
}

impl PlaceHooks {
    /// Creates it with none; `netfilter` are the hooks of the run's own namespace, whose programs serve in the others
    /// too.
    pub(super) fn new(hooks: Hooks, netfilter: &NetfilterLinks, families: Vec<Family>) -> Self {
        Self { hooks, programs: netfilter.share(), families, places: BTreeMap::new() }
    }

    /// Notes what passes the hooks of the run's own namespace inside the packets of tunnels; `blind` are the hops that
    /// cannot be watched there.
    pub(super) fn enter_own(&mut self, inode: u32, blind: &BTreeMap<Hop, String>) {
        if let Ok(Some(carried)) = self.hooks.give(inode, CARRIED) {
            let own = Hooked::Own { carried, since_ns: monotonic_ns(), blind: blind.clone() };
            self.places.insert(inode, own);
        }
    }

    /// Watches the hooks of the namespace with this inode from now on, unless it does already; for both IP versions if
    /// there are `tunnels`.
    pub(super) fn enter(&mut self, inode: u32, namespace: Option<&Namespace>, tunnels: bool) {
        if !self.places.contains_key(&inode) {
            let hooked = self.attached(inode, namespace, tunnels).unwrap_or_else(|why| Hooked::Blind { why });
            self.places.insert(inode, hooked);
        }
    }

    fn attached(&mut self, inode: u32, namespace: Option<&Namespace>, tunnels: bool) -> Result<Hooked, String> {
        let programs = self.programs.as_ref().map_err(Clone::clone)?;
        let namespace = namespace.ok_or("this network namespace has no name and no process that could be found")?;
        let slot = self.hooks.give(inode, 0).map_err(|error| error.to_string())?;
        let slot = slot.ok_or("probes cross more network namespaces than there is room for")?;
        let carried = if tunnels { self.hooks.give(inode, CARRIED).map_err(|error| error.to_string())? } else { None };
        let families: &[Family] = if tunnels { &[Family::V4, Family::V6] } else { &self.families };
        let links = namespace.run(|| attach_loaded(programs, families));
        let links = links.map_err(|error| format!("this process may not enter the network namespace: {error}"))?;
        Ok(Hooked::Watched { slot, carried, since_ns: monotonic_ns(), links })
    }

    /// Returns what the hooks of that namespace saw of probes with this many layers of tunnels around them; `None` if
    /// it was never entered.
    pub(super) fn told(&self, inode: u32, layers: u8) -> Option<HookTrace> {
        let hops = HOOK_HOPS.into_iter();
        let (slot, since_ns, blind) = match self.places.get(&inode)? {
            Hooked::Blind { why } => {
                let blind = |hop: Hop| (hop, HopTrace::Blind { why: why.clone() });
                return Some(HookTrace { since_ns: 0, hops: hops.map(blind).collect() });
            }
            Hooked::Watched { slot, since_ns, links, .. } if layers == 0 => (*slot, *since_ns, links.blind()),
            Hooked::Watched { carried, since_ns, links, .. } if layers == CARRIED => {
                ((*carried)?, *since_ns, links.blind())
            }
            Hooked::Own { carried, since_ns, blind } if layers == CARRIED => (*carried, *since_ns, blind),
            Hooked::Watched { .. } | Hooked::Own { .. } => return None,
        };
        let seen = self.hooks.read(slot).into_iter().map(|(hop, (requests, replies))| {
            let seen = match blind.get(&hop) {
                Some(why) => HopTrace::Blind { why: why.clone() },
                None => HopTrace::Watched { requests, replies },
            };
            (hop, seen)
        });
        Some(HookTrace { since_ns, hops: seen.collect() })
    }
}
