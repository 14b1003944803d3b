//! Netfilter's hooks in the other network namespaces that a run's probes cross: watched from when a probe was first seen there.

use std::collections::BTreeMap;

use probe_ebpf::{Family, contract::hook::HOOK_HOPS};

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

/// The hooks of every namespace that was entered.
pub(super) struct PlaceHooks {
    hooks: Hooks,
    programs: Result<NetfilterPrograms, String>,
    families: Vec<Family>,
    places: BTreeMap<u32, Hooked>,
}

/// One namespace: its hooks are watched, or they are not, and why.
enum Hooked {
    Watched { slot: u32, since_ns: u64, links: NetfilterLinks },
    Blind { why: String },
}

impl PlaceHooks {
    /// Begins with none; `netfilter` are the hooks of the run's own namespace, whose programs stand in the others too.
    pub(super) fn new(hooks: Hooks, netfilter: &NetfilterLinks, families: Vec<Family>) -> Self {
        Self { hooks, programs: netfilter.share(), families, places: BTreeMap::new() }
    }

    /// Watches the hooks of the namespace with this inode from now on, unless it does already.
    pub(super) fn enter(&mut self, inode: u32, namespace: Option<&Namespace>) {
        if !self.places.contains_key(&inode) {
            let hooked = self.attached(inode, namespace).unwrap_or_else(|why| Hooked::Blind { why });
            self.places.insert(inode, hooked);
        }
    }

    fn attached(&mut self, inode: u32, namespace: Option<&Namespace>) -> Result<Hooked, String> {
        let programs = self.programs.as_ref().map_err(Clone::clone)?;
        let namespace = namespace.ok_or("this network namespace has no name and no process that could be found")?;
        let slot = self.hooks.give(inode).map_err(|error| error.to_string())?;
        let slot = slot.ok_or("probes cross more network namespaces than there is room for")?;
        let links = namespace.run(|| attach_loaded(programs, &self.families));
        let links = links.map_err(|error| format!("this process may not enter the network namespace: {error}"))?;
        Ok(Hooked::Watched { slot, since_ns: monotonic_ns(), links })
    }

    /// Returns what the hooks of that namespace saw; nothing where it was never entered.
    pub(super) fn told(&self, inode: u32) -> Option<HookTrace> {
        let hops = HOOK_HOPS.into_iter();
        Some(match self.places.get(&inode)? {
            Hooked::Blind { why } => HookTrace {
                since_ns: 0,
                hops: hops.map(|hop| (hop.name().to_owned(), HopTrace::Blind { why: why.clone() })).collect(),
            },
            Hooked::Watched { slot, since_ns, links } => {
                let seen = self.hooks.read(*slot).into_iter().map(|(hop, (requests, replies))| {
                    let seen = match links.blind().get(&hop) {
                        Some(why) => HopTrace::Blind { why: why.clone() },
                        None => HopTrace::Watched { requests, replies },
                    };
                    (hop.name().to_owned(), seen)
                });
                HookTrace { since_ns: *since_ns, hops: seen.collect() }
            }
        })
    }
}
