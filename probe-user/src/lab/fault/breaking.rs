//! Breaking a lab: performs the actions of a case and owns what must be undone by more than dropping the lab.

use std::{fs, os::fd::OwnedFd, path::Path};

use probe_ebpf::Direction;

use super::{
    Case, Probe,
    action::{FaultAction, ProgramVerdict},
    cgroup::Cgroup,
    error::FaultError,
    exchange,
    noise::Noisy,
    probe_filter::ProbeFilter,
    site::{FaultSite, On},
    tool,
};
use crate::{
    ebpf::bpf_sys::{self, ProgramType, XdpMode, always},
    lab::{
        Topology, attach_tc_program,
        firewall::SECURITY_GROUP,
        plan::{LabHost, Nic},
    },
};

/// The answers of the three kinds of program, in the order drop, pass: `enum xdp_action`, `enum tcx_action_base`, and
/// cgroup programs' 0 and 1.
const XDP: [i32; 2] = [1, 2];
const TCX: [i32; 2] = [2, -1];
const CGROUP: [i32; 2] = [0, 1];

/// What keeps a lab broken. Drop it before the lab: rules, routes and links go away with the lab's namespaces, all else
/// with this, even in a panic.
#[derive(Debug, Default)]
pub struct Broken {
    // In this order: the noise ends before what it runs into.
    noise: Vec<Noisy>,
    links: Vec<OwnedFd>,
    filters: Vec<ProbeFilter>,
    cgroup: Option<Cgroup>,
}

/// Breaks `lab` as `case` says.
///
/// # Errors
/// The first action that failed. Earlier actions are then undone, except for those that disappear with the lab.
pub fn break_lab(lab: &Topology, case: &Case) -> Result<Broken, FaultError> {
    let mut broken = Broken::default();
    let site = case.site();
    for action in case.fault.actions {
        broken.perform(lab, site, *action)?;
    }
    Ok(broken)
}

impl Broken {
    fn perform(&mut self, lab: &Topology, site: FaultSite, action: FaultAction) -> Result<(), FaultError> {
        let netns = |on: On| lab.netns(site.host(on));
        match action {
            FaultAction::Nft(on, rules) => tool::run(netns(on), "nft", "-f -", &site.fill(rules)),
            FaultAction::OpenRouter => {
                let rules = format!("delete table inet {}", SECURITY_GROUP.table);
                tool::run(netns(On::Router), "nft", "-f -", &rules)
            }
            FaultAction::Ip(on, words) => tool::run(netns(on), "ip", &site.fill(words), ""),
            FaultAction::Tc(on, words) => tool::run(netns(on), "tc", &site.fill(words), ""),
            FaultAction::Iptables(on, words) => {
                let v4 = site.fill("{ip}") == "ip";
                let program = if v4 { "iptables-legacy" } else { "ip6tables-legacy" };
                tool::run(netns(on), program, &site.fill(words), "")
            }
            FaultAction::Setting(on, path, value) => set(lab, site.host(on), &site.fill(path), value),
            FaultAction::Xdp(on, mode, answer) => self.attach_xdp(lab, site.host(on), mode, answer),
            FaultAction::Tcx(on, direction, answer) => self.attach_tc(lab, site.host(on), direction, answer),
            FaultAction::Cgroup(direction, answer) => self.join_cgroup(direction, answer),
            FaultAction::ProbeFilter(on) => {
                self.filters.push(ProbeFilter::put(netns(on), site)?);
                Ok(())
            }
            FaultAction::Spend(count) => exchange::ping(lab, site.family, &Probe::PLAIN, count).map(drop),
            FaultAction::Noise(noise) => {
                self.noise.push(Noisy::start(lab, site.family, noise)?);
                Ok(())
            }
        }
    }

    fn attach_xdp(
        &mut self,
        lab: &Topology,
        host: LabHost,
        mode: XdpMode,
        answer: ProgramVerdict,
    ) -> Result<(), FaultError> {
        let attach = || {
            let program = bpf_sys::load_program(ProgramType::Xdp, "someone_elses", &always(XDP[answer as usize]))?;
            bpf_sys::link_xdp(&program, lab.ifindex(nic(host)), mode)
        };
        let link = lab.netns(host).run(attach)?.map_err(FaultError::system("attach an XDP program in the lab"))?;
        self.links.push(link);
        Ok(())
    }

    fn attach_tc(
        &mut self,
        lab: &Topology,
        host: LabHost,
        way: Direction,
        answer: ProgramVerdict,
    ) -> Result<(), FaultError> {
        let attach = || {
            let program = bpf_sys::load_program(ProgramType::Tc, "someone_elses", &always(TCX[answer as usize]))?;
            attach_tc_program(&program, lab.ifindex(nic(host)), way)
        };
        let link = lab.netns(host).run(attach)?.map_err(FaultError::system("attach a tc program in the lab"))?;
        self.links.extend(link);
        Ok(())
    }

    fn join_cgroup(&mut self, direction: Direction, answer: ProgramVerdict) -> Result<(), FaultError> {
        if self.cgroup.is_none() {
            self.cgroup = Some(Cgroup::join()?);
        }
        let cgroup = self.cgroup.as_ref().expect("it was just made");
        let attach = || {
            let code = always(CGROUP[answer as usize]);
            let program = bpf_sys::load_program(ProgramType::CgroupSkb, "someone_elses", &code)?;
            bpf_sys::link_cgroup(&program, cgroup, direction)
        };
        self.links.push(attach().map_err(FaultError::system("attach a cgroup program"))?);
        Ok(())
    }
}

/// Returns the interface of one of the two end hosts.
fn nic(host: LabHost) -> Nic {
    host.nics().next().expect("every host has an interface")
}

/// Writes a setting from inside the namespace, since `/proc/sys/net` shows the namespace of the thread that opens it.
fn set(lab: &Topology, host: LabHost, path: &str, value: &str) -> Result<(), FaultError> {
    let file = Path::new("/proc/sys").join(path);
    lab.netns(host)
        .run(|| fs::write(file, value))?
        .map_err(FaultError::system(format!("write {value} to /proc/sys/{path}")))
}
