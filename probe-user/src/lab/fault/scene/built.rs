//! A scene in network namespaces of this machine, which are removed with it, and what breaks it.

use std::{
    collections::BTreeMap,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use probe_ebpf::{Direction, Family};

use super::{
    super::{error::FaultError, exchange, exchange::PingWay, tool},
    DropHook, Scene, SceneCase, SceneDrop, SceneEnd, SceneHost,
};
use crate::{
    ebpf::bpf_sys::{self, ProgramType, XdpMode, always},
    host::command::quoted,
    lab::{
        Netns, attach_tc_program,
        plan::settings,
        topology::{LINK_LIMIT, LINK_POLL, families, inside, write_settings},
        wire,
    },
};

/// What a program answers to drop a packet: `XDP_DROP`, `TC_ACT_SHOT`.
const XDP_DROP: i32 = 1;
const TC_DROP: i32 = 2;

/// How long a process of a host lives at most, if nobody ends it.
const RESIDES: Duration = Duration::from_secs(600);

/// A scene that is set up, ready for packets. Its namespaces have no names, and are removed with it.
#[derive(Debug)]
pub struct BuiltScene {
    hosts: BTreeMap<String, Netns>,
    _residents: Vec<Resident>,
}

/// A process that lives in a host, as in every machine and container: it shows others that the host exists.
#[derive(Debug)]
struct Resident(Child);

impl Resident {
    fn of(netns: &Netns) -> io::Result<Self> {
        let mut command = netns.command("sleep");
        command.arg(RESIDES.as_secs().to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor locks.
        unsafe {
            command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
        }
        command.spawn().map(Self)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a neighbour that has answered counts as reachable, in milliseconds: longer than any case takes. A rule that
/// drops everything also drops the questions for a neighbour, which on a slow machine come in the middle of a case.
const REACHABLE_MS: &str = "3600000";

/// Makes neighbours of the calling thread's namespace stay reachable.
fn keep_neighbours() -> io::Result<()> {
    for version in ["ipv4", "ipv6"] {
        // Without IPv6 there is no such folder.
        let Ok(devices) = fs::read_dir(format!("/proc/sys/net/{version}/neigh")) else { continue };
        for device in devices {
            fs::write(device?.path().join("base_reachable_time_ms"), REACHABLE_MS)?;
        }
    }
    Ok(())
}

/// A scene that was broken as a case says.
#[derive(Debug)]
pub struct BrokenScene {
    // In this order: what holds it broken goes before it.
    _links: Vec<OwnedFd>,
    /// The scene.
    pub built: BuiltScene,
}

impl BuiltScene {
    /// Makes the namespaces of `case`, joins them, and runs the scripts of its hosts.
    ///
    /// # Errors
    /// The first thing that failed.
    pub fn build(case: &SceneCase) -> Result<Self, FaultError> {
        let scene = &*case.scene;
        let hosts = scene.hosts.keys().map(|name| Ok((name.clone(), Netns::new()?)));
        let hosts: BTreeMap<String, Netns> = hosts.collect::<Result<_, FaultError>>()?;
        let residents = hosts.values().map(Resident::of).collect::<io::Result<_>>();
        let residents = residents.map_err(FaultError::system("start a process in a host of the scene"))?;
        let built = Self { hosts, _residents: residents };
        let versions = families(built.netns(&scene.from))?;
        for (name, host) in &scene.hosts {
            write_settings(built.netns(name), settings(host.forwards), &versions)?;
        }
        built.join(scene)?;
        for (name, host) in &scene.hosts {
            built.run(case, name, &host.devices)?;
            built.address(name, host, &versions)?;
        }
        built.wait_for_links(scene)?;
        for netns in built.hosts.values() {
            inside(netns, "keep neighbours reachable", keep_neighbours)?;
        }
        for (name, host) in &scene.hosts {
            built.run(case, name, &host.setup)?;
        }
        Ok(built)
    }

    /// Returns the namespace of a host.
    ///
    /// # Panics
    /// If the scene has no such host, for which its file would have been refused.
    pub fn netns(&self, host: &str) -> &Netns {
        self.hosts.get(host).expect("a scene is read only if the hosts that it names are its own")
    }

    /// Returns the names of the hosts by the inodes of their namespaces.
    pub fn inodes(&self) -> BTreeMap<u64, String> {
        self.hosts.iter().map(|(name, netns)| (netns.inode(), name.clone())).collect()
    }

    /// Returns the command that reaches `probe agent` on a host, where `program` is probe. As a machine of its own it has a
    /// host name and a boot id of its own.
    pub fn agent(&self, host: &str, program: &str, own_machine: bool) -> String {
        let program = quoted(program);
        // By the handle of this process, since the namespaces have no names.
        let handle = self.netns(host).as_fd().as_raw_fd();
        let enter = format!("nsenter --net=/proc/{}/fd/{handle}", std::process::id());
        if !own_machine {
            return format!("{enter} {program} agent");
        }
        let inside = format!(
            "hostname {host}; f=$(mktemp); echo boot-of-{host} >$f; mount --bind $f /proc/sys/kernel/random/boot_id; \
             rm $f; exec {program} agent"
        );
        format!("{enter} unshare --uts --mount sh -c {}", quoted(&inside))
    }

    fn run(&self, case: &SceneCase, host: &str, script: &str) -> Result<(), FaultError> {
        if script.trim().is_empty() { Ok(()) } else { tool::script(self.netns(host), &case.fill(script)) }
    }

    fn join(&self, scene: &Scene) -> Result<(), FaultError> {
        for netns in self.hosts.values() {
            inside(netns, "switch on the loopback device", || wire::switch_on("lo"))?;
        }
        for link in &scene.links {
            let (near, far) = (&link.0, &link.1);
            let far_side = self.netns(&far.host);
            inside(self.netns(&near.host), "make a veth pair", || {
                wire::lay_cable(&near.device, &far.device, far_side)?;
                wire::switch_on(&near.device)
            })?;
            inside(far_side, "switch on a veth", || wire::switch_on(&far.device))?;
        }
        Ok(())
    }

    fn address(&self, name: &str, host: &SceneHost, versions: &[Family]) -> Result<(), FaultError> {
        let v6 = versions.contains(&Family::V6);
        let give = || {
            for (device, address, prefix) in host.addresses.iter().filter(|(_, address, _)| v6 || address.is_ipv4()) {
                wire::switch_on(device)?;
                wire::give_address(device, *address, *prefix)?;
            }
            for gateway in host.gateways.iter().filter(|gateway| v6 || gateway.is_ipv4()) {
                wire::add_default_route(*gateway)?;
            }
            Ok(())
        };
        Ok(inside(self.netns(name), &format!("give addresses to {name}"), give)?)
    }

    fn wait_for_links(&self, scene: &Scene) -> Result<(), FaultError> {
        let deadline = Instant::now() + LINK_LIMIT;
        for end in scene.links.iter().flat_map(|link| [&link.0, &link.1]) {
            while !self.device(end)?.is_some_and(|link| link.ready) {
                if Instant::now() > deadline {
                    let attempt = format!("bring up {} of {}", end.device, end.host);
                    return Err(FaultError::System { attempt, source: io::ErrorKind::TimedOut.into() });
                }
                thread::sleep(LINK_POLL);
            }
        }
        Ok(())
    }

    fn device(&self, end: &SceneEnd) -> Result<Option<wire::Link>, FaultError> {
        Ok(inside(self.netns(&end.host), "look at the links", || wire::link(&end.device))?)
    }

    fn attach(&self, case: &SceneCase, drop: &SceneDrop) -> Result<Option<OwnedFd>, FaultError> {
        let end = SceneEnd { device: case.fill(&drop.end.device), ..drop.end.clone() };
        let missing = || FaultError::System {
            attempt: format!("attach a program to {} of {}", end.device, end.host),
            source: io::ErrorKind::NotFound.into(),
        };
        let index = self.device(&end)?.ok_or_else(missing)?.index;
        let attach = || {
            let (kind, answer) = match drop.hook {
                DropHook::Xdp => (ProgramType::Xdp, XDP_DROP),
                DropHook::TcIn | DropHook::TcOut => (ProgramType::Tc, TC_DROP),
            };
            let program = bpf_sys::load_program(kind, "someone_elses", &always(answer))?;
            match drop.hook {
                DropHook::Xdp => bpf_sys::link_xdp(&program, index, XdpMode::Generic).map(Some),
                DropHook::TcIn => attach_tc_program(&program, index, Direction::In),
                DropHook::TcOut => attach_tc_program(&program, index, Direction::Out),
            }
        };
        self.netns(&end.host).run(attach)?.map_err(FaultError::system("attach a program in the scene"))
    }
}

impl BrokenScene {
    /// Builds the scene of `case`, checks that it is healthy, breaks it, and checks with a plain ping that it is
    /// broken.
    ///
    /// # Errors
    /// It did not answer before, could not be broken, or the fault does not show.
    pub fn of(case: &SceneCase) -> Result<Self, FaultError> {
        let built = BuiltScene::build(case)?;
        let from = built.netns(&case.scene.from);
        let way = PingWay { from, heard_in: from, target: case.address() };
        exchange::healthy(&way)?;
        let fault = case.fault();
        for (host, script) in &fault.scripts {
            built.run(case, host, script)?;
        }
        let links: Vec<_> = fault.drops.iter().map(|drop| built.attach(case, drop)).collect::<Result<_, _>>()?;
        match fault.bound_to() {
            // Only a ping that is bound as the diagnosis will be shows it.
            Some(device) => {
                let ping = format!("! ping -n -c 2 -i 0.2 -W 1 -I {device} {} >/dev/null", case.address());
                tool::script(from, &ping)?;
            }
            None => {
                exchange::in_force(&way, &fault.probe, &case.expected().outcomes)?;
            }
        }
        Ok(Self { _links: links.into_iter().flatten().collect(), built })
    }
}
