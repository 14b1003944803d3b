//! A model that is running: a lab of its own with the box in it.

use crate::ebpf;
use std::fs;

use probe_ebpf::Family;

use super::{BoxModel, Build};
use crate::{
    ebpf::guard::{Attachment, Guard},
    error::Mend,
    host::device::Device,
    lab::{
        self, LabHost, Netns, Nic, Topology,
        error::Capability,
        firewall::{self, FirewallRules, SECURITY_GROUP},
    },
};

/// Why a model could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The lab, or the rules of its firewall.
    #[error(transparent)]
    Lab(#[from] lab::LabError),
    /// The guard.
    #[error(transparent)]
    Kernel(#[from] ebpf::KernelError),
}

impl Mend for ModelError {
    fn fix(&self) -> String {
        match self {
            Self::Lab(error) => error.fix(),
            Self::Kernel(error) => error.fix(),
        }
    }
}

/// A lab with a model in place of its firewall. It is removed when dropped.
pub struct Built {
    /// The lab; its ends have two addresses of each IP version.
    pub topology: Topology,
    _guard: Option<Guard>,
}

impl BoxModel {
    /// Builds the model in a new lab.
    ///
    /// # Errors
    /// What the kernel or nft refused; nothing is left behind.
    pub fn build(&self) -> Result<Built, ModelError> {
        let topology = Topology::build()?;
        topology.give_second_addresses()?;
        let firewall = topology.netns(LabHost::Fw);
        firewall::unload(firewall, &SECURITY_GROUP)?;
        if let Some(rules) = self.build.rules {
            firewall::load(firewall, &FirewallRules { table: TABLE, rules })?;
        }
        if let Some(seconds) = self.build.timeout {
            remember_for(firewall, seconds, topology.families())?;
        }
        let guard = guard(firewall, &self.build)?;
        Ok(Built { topology, _guard: guard })
    }
}

/// The table of the models' rules.
const TABLE: &str = "probe_model";

/// Returns the sysctl, below `/proc/sys`, of how long a ping is tracked (`nf_conntrack_proto_icmp.c`, `…_icmpv6.c`).
const fn setting(family: Family) -> &'static str {
    match family {
        Family::V4 => "net/netfilter/nf_conntrack_icmp_timeout",
        Family::V6 => "net/netfilter/nf_conntrack_icmpv6_timeout",
    }
}

/// Sets the timeout. The rules must be loaded first: the settings appear with the module that they need.
fn remember_for(firewall: &Netns, seconds: u32, families: &[Family]) -> Result<(), ModelError> {
    for family in families {
        let path = setting(*family);
        let write = || fs::write(format!("/proc/sys/{path}"), seconds.to_string());
        let refused = |source| lab::LabError::system(format!("write /proc/sys/{path}"), Capability::NetAdmin, source);
        firewall.run(write)?.map_err(refused)?;
    }
    Ok(())
}

fn guard(firewall: &Netns, build: &Build) -> Result<Option<Guard>, ModelError> {
    let Some(options) = &build.guard else { return Ok(None) };
    let attach = || Guard::attach(&Device::find(Nic::FwB.interface())?, options, &Attachment::default());
    Ok(Some(firewall.run(attach)??))
}
