//! What is known of a network namespace besides what probes did in it, looked up when it is met.

use std::collections::BTreeMap;

use crate::{
    host::{
        counter::Counters,
        counters::{self, snmp},
        device,
        namespace::Namespace,
        or_log, tunnel,
    },
    model::trace::{Finding, TunnelFacts},
};

/// What is known of a namespace, looked up once.
pub(super) struct MetNamespace {
    pub(super) namespace: Option<Namespace>,
    interfaces: BTreeMap<u32, String>,
    pub(super) tunnels: Vec<TunnelFacts>,
    /// What it had counted by then.
    before: Counters,
}

impl MetNamespace {
    pub(super) fn of(inode: u32) -> Self {
        let namespace = Namespace::find(inode.into());
        let devices = || or_log("tunnels", tunnel::devices()).unwrap_or_default();
        let found =
            namespace.as_ref().and_then(|namespace| or_log("place", namespace.run(|| (devices(), snmp::read()))));
        let (tunnels, before) = found.unwrap_or_default();
        Self { namespace, interfaces: BTreeMap::new(), tunnels, before }
    }

    /// Returns which counters rose since it was met, in the calling thread's namespace, which is to be this one.
    pub(super) fn risen(&self) -> Vec<Finding> {
        counters::risen(&self.before, &snmp::read())
    }

    /// Returns what people call it; `own`: it is that of this very process, whose host's name says more unless it has
    /// one itself.
    pub(super) fn name(&self, inode: u32, own: bool) -> String {
        match &self.namespace {
            Some(namespace) if own && !namespace.is_named() => String::new(),
            Some(namespace) => namespace.name.clone(),
            None => inode.to_string(),
        }
    }

    /// Returns what to put before a command; none for that of this very process, unless who comes to this host is in
    /// another.
    pub(super) fn enter(&self, own: bool) -> Option<String> {
        self.namespace.as_ref().filter(|it| !own || it.is_named()).map(|namespace| namespace.enter.clone())
    }

    pub(super) fn interface(&mut self, ifindex: u32) -> String {
        if let Some(name) = self.interfaces.get(&ifindex) {
            return name.clone();
        }
        let inside = || device::name_of(ifindex).ok();
        let entered = self.namespace.as_ref().and_then(|namespace| or_log("interface", namespace.run(inside)));
        let Some(name) = entered.flatten() else { return format!("interface {ifindex}") };
        self.interfaces.insert(ifindex, name.clone());
        name
    }
}
