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
    plan::{LabHost, Nic},
    wire,
};

/// How long the kernel may take to bring a new link up; it takes milliseconds.
const LINK_LIMIT: Duration = Duration::from_secs(5);

/// How often to look whether it is.
const LINK_POLL: Duration = Duration::from_millis(1);

/// A – FW – B, ready for packets. It goes when it is dropped, unless names hold its namespaces.
#[derive(Debug)]
pub struct Topology {
    a: Netns,
    fw: Netns,
    b: Netns,
    indexes: [u32; Nic::ALL.len()],
    families: Vec<Family>,
}

impl Topology {
    /// Makes the lab, without names, and waits until every link carries packets.
    pub fn build() -> Result<Self, LabError> {
        let (a, fw, b) = (Netns::new()?, Netns::new()?, Netns::new()?);
        let families = families(&fw)?;
        for (host, netns) in [(LabHost::A, &a), (LabHost::Fw, &fw), (LabHost::B, &b)] {
            write_settings(netns, host, &families)?;
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

    /// Takes the namespaces of a lab that stands already. An interface that somebody removed is [`LabError::Changed`].
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
            inside(self.netns(nic.host()), "give a second address", || {
                wire::with_netlink(|handle| async move {
                    for family in &self.families {
                        wire::give_address(&handle, nic, nic.second_address(*family)).await?;
                    }
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    /// The namespace of a host.
    pub fn netns(&self, host: LabHost) -> &Netns {
        match host {
            LabHost::A => &self.a,
            LabHost::Fw => &self.fw,
            LabHost::B => &self.b,
        }
    }

    /// The index of an interface in its host's namespace.
    pub fn ifindex(&self, nic: Nic) -> u32 {
        self.indexes[nic as usize]
    }

    /// The IP versions that the lab speaks: both, or IPv4 alone where this kernel has no IPv6.
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

    /// The index of an interface, and whether it carries packets.
    fn look_up(&self, nic: Nic) -> Result<Option<(u32, bool)>, LabError> {
        let link = inside(self.netns(nic.host()), "look at the lab's links", || {
            wire::with_netlink(|handle| async move { wire::link(&handle, nic.interface()).await })
        })?;
        Ok(link.map(|link| (link.index, link.ready)))
    }
}

fn never_up(nic: Nic) -> LabError {
    let attempt = format!("bring up {} of {}", nic.interface(), nic.host().name());
    LabError::System { attempt, source: io::ErrorKind::TimedOut.into() }
}

/// Runs `work` in `netns`, and tells its failure as a failed `attempt` to configure a network.
fn inside<T: Send>(netns: &Netns, attempt: &str, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, LabError> {
    netns.run(work)?.map_err(|source| LabError::system(attempt, Capability::NetAdmin, source))
}

/// A kernel that was started without IPv6 has no settings for it.
fn families(netns: &Netns) -> Result<Vec<Family>, LabError> {
    let v6 = netns.run(|| Path::new("/proc/sys/net/ipv6/conf").exists())?;
    Ok(if v6 { vec![Family::V4, Family::V6] } else { vec![Family::V4] })
}

/// `/proc/sys/net` shows the namespace of the thread that looks.
fn write_settings(netns: &Netns, host: LabHost, families: &[Family]) -> Result<(), LabError> {
    let v6 = families.contains(&Family::V6);
    let settings = host.settings().into_iter().filter(|(path, _)| v6 || !path.starts_with("net/ipv6/"));
    for (path, value) in settings {
        inside(netns, &format!("write /proc/sys/{path}"), || fs::write(Path::new("/proc/sys").join(path), value))?;
    }
    Ok(())
}

fn lay_cable(netns: &Netns, near: Nic, far_side: &Netns) -> Result<(), LabError> {
    inside(netns, "make a veth pair", || {
        wire::with_netlink(|handle| async move { wire::lay_cable(&handle, near, far_side).await })
    })
}

/// Addresses, switched on, then the route that needs both.
fn set_up(netns: &Netns, host: LabHost, families: &[Family]) -> Result<(), LabError> {
    inside(netns, "set up the lab's links", || {
        wire::with_netlink(|handle| async move {
            wire::switch_on(&handle, "lo").await?;
            for nic in host.nics() {
                for family in families {
                    wire::give_address(&handle, nic, nic.address(*family)).await?;
                }
                wire::switch_on(&handle, nic.interface()).await?;
            }
            for (gateway, family) in host.gateway().into_iter().flat_map(|nic| families.iter().map(move |f| (nic, *f)))
            {
                wire::add_default_route(&handle, gateway, family).await?;
            }
            Ok(())
        })
    })
}
