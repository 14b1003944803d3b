//! The lab itself: three namespaces, the cables between them, and everything set up inside, owned as one.

use std::{
    fs, io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::Family;

use super::{
    error::{Capability, LabError},
    firewall::{self, SECURITY_GROUP},
    netns::Netns,
    plan::{LabHost, Nic, Setting, prefix_length},
    wire,
};

/// How long the kernel may take to bring a new link up; it takes milliseconds.
pub(super) const LINK_LIMIT: Duration = Duration::from_secs(5);

/// How often to look whether it is.
pub(super) const LINK_POLL: Duration = Duration::from_millis(1);

/// A – FW – B, ready for packets. It is removed when dropped, unless names keep its namespaces.
#[derive(Debug)]
pub struct Topology {
    a: Netns,
    fw: Netns,
    b: Netns,
    indexes: [u32; Nic::ALL.len()],
    families: Vec<Family>,
}

impl Topology {
    /// Builds the lab, without names, and waits until every link has a carrier.
    pub fn build() -> Result<Self, LabError> {
        let (a, fw, b) = (Netns::new()?, Netns::new()?, Netns::new()?);
        let families = families(&fw)?;
        for (host, netns) in [(LabHost::A, &a), (LabHost::Fw, &fw), (LabHost::B, &b)] {
            write_settings(netns, host.settings(), &families)?;
        }
        lay_cable(&a, Nic::A, &fw)?;
        lay_cable(&b, Nic::B, &fw)?;
        for (host, netns) in [(LabHost::Fw, &fw), (LabHost::A, &a), (LabHost::B, &b)] {
            set_up(netns, host, &families)?;
        }
        firewall::load(&fw, &SECURITY_GROUP)?;
        let mut topology = Self { a, fw, b, indexes: [0; Nic::ALL.len()], families };
        topology.wait_for_links()?;
        Ok(topology)
    }

    /// Opens a lab by its existing namespaces. If an interface is missing, that is [`LabError::Changed`].
    pub fn of(a: Netns, fw: Netns, b: Netns) -> Result<Self, LabError> {
        let families = families(&fw)?;
        let mut topology = Self { a, fw, b, indexes: [0; Nic::ALL.len()], families };
        for (slot, nic) in Nic::ALL.into_iter().enumerate() {
            let (index, _) = topology.look_up(nic)?.ok_or_else(|| LabError::Changed {
                changes: vec![format!("{} has no interface {}", nic.host().name(), nic.interface())],
            })?;
            topology.indexes[slot] = index;
        }
        Ok(topology)
    }

    /// Gives A and B the second address of each IP version.
    pub fn give_second_addresses(&self) -> Result<(), LabError> {
        for nic in [Nic::A, Nic::B] {
            inside(self.netns(nic.host()), "add a second address", || {
                for family in &self.families {
                    wire::give_address(nic.interface(), nic.second_address(*family), prefix_length(*family))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Returns the namespace of a host.
    pub fn netns(&self, host: LabHost) -> &Netns {
        match host {
            LabHost::A => &self.a,
            LabHost::Fw => &self.fw,
            LabHost::B => &self.b,
        }
    }

    /// Returns the index of an interface in its host's namespace.
    pub fn ifindex(&self, nic: Nic) -> u32 {
        self.indexes[nic as usize]
    }

    /// Returns the IP versions that the lab uses: both, or IPv4 alone if this kernel has no IPv6.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    fn wait_for_links(&mut self) -> Result<(), LabError> {
        let deadline = Instant::now() + LINK_LIMIT;
        for (slot, nic) in Nic::ALL.into_iter().enumerate() {
            self.indexes[slot] = loop {
                match self.look_up(nic)? {
                    Some((index, true)) => break index,
                    _ if Instant::now() < deadline => thread::sleep(LINK_POLL),
                    _ => return Err(never_up(nic)),
                }
            };
        }
        Ok(())
    }

    /// Returns the index of an interface, and whether it has a carrier.
    fn look_up(&self, nic: Nic) -> Result<Option<(u32, bool)>, LabError> {
        let link = inside(self.netns(nic.host()), "look at the lab's links", || wire::link(nic.interface()))?;
        Ok(link.map(|link| (link.index, link.ready)))
    }
}

fn never_up(nic: Nic) -> LabError {
    let attempt = format!("bring up {} of {}", nic.interface(), nic.host().name());
    LabError::System { attempt, source: io::ErrorKind::TimedOut.into() }
}

/// Runs `work` in `netns`, and reports its failure as a failed `attempt` to configure a network.
pub(super) fn inside<T: Send>(
    netns: &Netns,
    attempt: &str,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> Result<T, LabError> {
    netns.run(work)?.map_err(|source| LabError::system(attempt, Capability::NetAdmin, source))
}

/// Returns the IP versions that this kernel supports: without IPv6, there are no settings for it.
pub(super) fn families(netns: &Netns) -> Result<Vec<Family>, LabError> {
    let v6 = netns.run(|| Path::new("/proc/sys/net/ipv6/conf").exists())?;
    Ok(if v6 { vec![Family::V4, Family::V6] } else { vec![Family::V4] })
}

/// Writes the settings from inside the namespace, since `/proc/sys/net` shows the namespace of the thread that opens
/// it.
pub(super) fn write_settings(netns: &Netns, settings: Vec<Setting>, families: &[Family]) -> Result<(), LabError> {
    let v6 = families.contains(&Family::V6);
    let settings = settings.into_iter().filter(|(path, _)| v6 || !path.starts_with("net/ipv6/"));
    for (path, value) in settings {
        inside(netns, &format!("write /proc/sys/{path}"), || fs::write(Path::new("/proc/sys").join(path), value))?;
    }
    Ok(())
}

fn lay_cable(netns: &Netns, near: Nic, far_side: &Netns) -> Result<(), LabError> {
    inside(netns, "make a veth pair", || wire::lay_cable(near.interface(), near.peer().interface(), far_side))
}

/// Adds the addresses, brings the links up, then adds the default route, which needs both.
fn set_up(netns: &Netns, host: LabHost, families: &[Family]) -> Result<(), LabError> {
    inside(netns, "set up the lab's links", || {
        wire::switch_on("lo")?;
        for nic in host.nics() {
            for family in families {
                wire::give_address(nic.interface(), nic.address(*family), prefix_length(*family))?;
            }
            wire::switch_on(nic.interface())?;
        }
        for (gateway, family) in host.gateway().into_iter().flat_map(|nic| families.iter().map(move |f| (nic, *f))) {
            wire::add_default_route(gateway.address(family))?;
        }
        Ok(())
    })
}
