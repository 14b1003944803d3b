//! The observers of the flood.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use probe_user::{
    ebpf::{
        load::Switch,
        nic::{Ingress, Watch, WatchOptions},
    },
    error::Failure,
    host::device::Device,
    model::{
        attach::{Attach, XdpChoice},
        request::{HostRole, WatchRequest},
    },
    watch::{Watching, path_watch},
};

use crate::net::{A4, B4, has};

/// The interface that all of them watch.
const INTERFACE: &str = "va";

/// An observer.
#[derive(Clone, Copy)]
pub(crate) enum Observer {
    /// `probe observe`, with this XDP mode.
    Observe(XdpChoice),
    /// Every hop of `probe diagnose`: the flood is not its own, as other people's packets are not.
    Diagnose,
    /// One tcpdump that throws away what it copies.
    Tcpdump,
}

impl Observer {
    /// All that are available here.
    pub(crate) fn all() -> Vec<Self> {
        let observe = [XdpChoice::Auto, XdpChoice::Off, XdpChoice::Generic, XdpChoice::Native].map(Self::Observe);
        let tcpdump = has("tcpdump").then_some(Self::Tcpdump);
        observe.into_iter().chain([Self::Diagnose]).chain(tcpdump).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Observe(XdpChoice::Auto) => "probe observe",
            Self::Observe(XdpChoice::Off) => "probe observe --xdp off",
            Self::Observe(XdpChoice::Generic) => "probe observe --xdp generic",
            Self::Observe(XdpChoice::Native) => "probe observe --xdp native",
            Self::Diagnose => "all hops of probe diagnose",
            Self::Tcpdump => "tcpdump -w /dev/null icmp",
        }
    }
}

/// An observer at work; dropping it ends it.
#[allow(dead_code, reason = "what is held is at work until it is dropped")]
pub(crate) enum Attached {
    Observe(Box<Watch>),
    Diagnose(Box<dyn Watching>),
    Tcpdump(Child),
}

impl Attached {
    /// Starts it in this thread's network namespace.
    pub(crate) fn new(observer: Observer) -> Result<Self, Failure> {
        match observer {
            Observer::Observe(xdp) => {
                let device = Device::find(INTERFACE)?;
                let attach = Attach { xdp, ..Attach::default() };
                let wish = WatchOptions {
                    attach,
                    ingress: Ingress::Once,
                    egress: Switch::On,
                    track: Switch::On,
                    ..WatchOptions::default()
                };
                Ok(Self::Observe(Box::new(Watch::attach(&device, &wish)?)))
            }
            Observer::Diagnose => Ok(Self::Diagnose(path_watch::start(&request())?)),
            Observer::Tcpdump => tcpdump().map(Self::Tcpdump),
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Self::Tcpdump(child) = self {
            // One that has ended by itself is gone as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn request() -> WatchRequest {
    WatchRequest {
        nonce: 0x0bec_0bec_0bec_0bec,
        id: 0x0bed,
        probes: 10,
        local: A4.into(),
        remote: B4.into(),
        interface: Some(INTERFACE.to_owned()),
        role: HostRole::Sender,
        attach: Attach::default(),
        trace_rules: false,
        everywhere: false,
        requests: probe_user::model::request::RequestHandling::Pass,
        source_given: false,
        further: Vec::new(),
        tunnels: Vec::new(),
        numbered_from: None,
        sent_as: None,
        choosers: Default::default(),
    }
}

fn tcpdump() -> Result<Child, Failure> {
    let failed = |why: &str| Failure::new(format!("tcpdump does not run: {why}"), "install tcpdump, or remove it");
    let mut command = Command::new("tcpdump");
    command.args(["-i", INTERFACE, "-n", "-w", "/dev/null", "icmp"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
    let stderr = child.stderr.take().ok_or_else(|| failed("it has no stderr"))?;
    let listens = BufReader::new(stderr).lines().map_while(Result::ok).any(|line| line.contains("listening on"));
    if listens { Ok(child) } else { Err(failed("it ended before it listened")) }
}
