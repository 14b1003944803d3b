//! Scenes: shapes of a network as data, with what breaks them and what a diagnosis must say of it.

mod built;
pub mod builtin;
mod expected;
mod file;
mod needs;
mod words;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use probe_ebpf::{Echo, Family};

pub use self::{
    built::{BrokenScene, BuiltScene},
    expected::{ExpectedPlace, SceneExpected},
    file::SceneError,
};
use super::{Probe, expect::Wanted};

/// A shape: network namespaces, what joins them, who pings whom in it, and what can be broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Its name, which the names of its cases begin with.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// The host that pings.
    pub from: String,
    /// The host that answers.
    pub target: String,
    /// The address that is pinged, with words in braces.
    pub address: String,
    /// Veth pairs.
    pub links: Vec<SceneLink>,
    /// The hosts, a network namespace each.
    pub hosts: BTreeMap<String, SceneHost>,
    /// Further words in braces: what they stand for with IPv4, and with IPv6.
    pub words: BTreeMap<String, [String; 2]>,
    /// What it needs from a machine.
    pub needs: Vec<SceneNeed>,
    /// Who is watched: each case is diagnosed once for each of these.
    pub watches: Vec<SceneWatch>,
    /// What can be broken, healthy cases among it.
    pub faults: Vec<SceneFault>,
}

/// One end of a link: a host, and its device there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneEnd {
    /// The host.
    pub host: String,
    /// The device.
    pub device: String,
}

/// A veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneLink(pub SceneEnd, pub SceneEnd);

/// A host: one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SceneHost {
    /// Whether it forwards.
    pub forwards: bool,
    /// The addresses of its devices, with the lengths of their prefixes.
    pub addresses: Vec<(String, IpAddr, u8)>,
    /// Its default gateways.
    pub gateways: Vec<IpAddr>,
    /// The devices at which requests come in and go out.
    pub way: Option<[String; 2]>,
    /// A shell script that makes further devices, before addresses are given.
    pub devices: String,
    /// A shell script that does the rest, when every host has its addresses.
    pub setup: String,
}

/// Something that not every machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneNeed {
    /// What it is, for people: `VRF devices`.
    pub what: String,
    /// A shell script that works if the machine has it, tried in a namespace of its own.
    pub script: String,
}

/// Who is watched in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneWatch {
    /// Its name, which is part of the names of cases if a scene has several.
    pub name: String,
    /// The host of `--peer`.
    pub peer: Option<String>,
    /// The hosts of `--via`.
    pub via: Vec<String>,
    /// Whether each namespace counts as a machine of its own. Otherwise all of them are seen from the sender.
    pub own_namespace: bool,
}

/// What is broken, and what must be said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneFault {
    /// Its name, in kebab case.
    pub name: String,
    /// What is wrong, in a few words.
    pub title: String,
    /// For which IP versions it exists.
    pub families: Vec<Family>,
    /// On which legs it can lie.
    pub legs: Vec<Echo>,
    /// Shell scripts that break the scene: hosts, and what runs there.
    pub scripts: BTreeMap<String, String>,
    /// Programs that drop every packet.
    pub drops: Vec<SceneDrop>,
    /// What it needs from a machine beyond what its scene does.
    pub needs: Vec<SceneNeed>,
    /// The probes that show it.
    pub probe: Probe,
    /// Further flags of `probe diagnose`, with words in braces.
    pub flags: String,
    /// What must be said of it, by the names of the watches for which it is a case.
    pub expected: BTreeMap<String, SceneExpected>,
}

impl SceneFault {
    /// Returns the device that its flags bind the socket to, if they do.
    pub fn bound_to(&self) -> Option<&str> {
        let mut words = self.flags.split_whitespace();
        words.find(|word| *word == "-I")?;
        words.next()
    }
}

/// Somebody else's program that drops every packet at a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneDrop {
    /// The device.
    pub end: SceneEnd,
    /// Where on it.
    pub hook: DropHook,
}

/// Where somebody else's program is attached at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropHook {
    /// XDP, in the kernel's receive path.
    Xdp,
    /// tc, for what comes in.
    TcIn,
    /// tc, for what goes out.
    TcOut,
}

/// One fault of a scene, on one leg, over one IP version, with some hosts watched.
#[derive(Clone, Debug)]
pub struct SceneCase {
    /// Its name on the command line: scene, watch, fault, and the leg if it can be either.
    pub name: String,
    /// The scene.
    pub scene: Arc<Scene>,
    /// Over which IP version.
    pub family: Family,
    /// On which leg.
    pub leg: Echo,
    /// Which of the scene's watches.
    watch: usize,
    /// Which of its faults.
    fault: usize,
}

/// Returns every case of the built-in scenes.
pub fn all() -> Vec<SceneCase> {
    builtin::scenes().iter().flat_map(cases_of).collect()
}

/// Returns the cases of a scene: for each watch its faults in their order, IPv4 before IPv6.
pub fn cases_of(scene: &Arc<Scene>) -> Vec<SceneCase> {
    let mut cases = Vec::new();
    for (watch, watched) in scene.watches.iter().enumerate() {
        for (fault, broken) in scene.faults.iter().enumerate() {
            if !broken.expected.contains_key(&watched.name) {
                continue;
            }
            for leg in &broken.legs {
                let name = case_name(scene, watched, broken, *leg);
                cases.extend(broken.families.iter().map(|family| SceneCase {
                    name: name.clone(),
                    scene: Arc::clone(scene),
                    family: *family,
                    leg: *leg,
                    watch,
                    fault,
                }));
            }
        }
    }
    cases
}

fn case_name(scene: &Scene, watch: &SceneWatch, fault: &SceneFault, leg: Echo) -> String {
    let watched = (scene.watches.len() > 1).then_some(watch.name.as_str());
    let leg = (fault.legs.len() > 1).then_some(if leg == Echo::Request { "requests" } else { "replies" });
    let words = [Some(scene.name.as_str()), watched, Some(fault.name.as_str()), leg];
    words.into_iter().flatten().collect::<Vec<_>>().join("-")
}

impl SceneCase {
    /// Returns what is broken.
    pub fn fault(&self) -> &SceneFault {
        &self.scene.faults[self.fault]
    }

    /// Returns who is watched.
    pub fn watch(&self) -> &SceneWatch {
        &self.scene.watches[self.watch]
    }

    /// Returns what must be said, without words in braces.
    pub fn expected(&self) -> SceneExpected {
        self.fault().expected[&self.watch().name].filled(|text| self.fill(text))
    }

    /// Returns what is checked of every diagnosis, including those of rows of the catalogue.
    pub fn wanted(&self) -> Wanted {
        self.expected().wanted(self.leg)
    }

    /// Replaces each word in braces in `text` by what it stands for in this case.
    pub fn fill(&self, text: &str) -> String {
        words::fill(&self.scene, self.family, self.leg, text)
    }

    /// Returns the address that is pinged.
    ///
    /// # Panics
    /// If it is not an address, for which the scene's file would have been refused.
    pub fn address(&self) -> IpAddr {
        self.fill(&self.scene.address).parse().expect("a scene is read only if its addresses are some")
    }

    /// Returns where on its leg the fault lies, as lists have it: `between` for a place that is neither end.
    pub fn place(&self) -> &'static str {
        let expected = &self.fault().expected[&self.watch().name];
        let (sender, receiver) = match self.leg {
            Echo::Request => (&self.scene.from, &self.scene.target),
            Echo::Reply => (&self.scene.target, &self.scene.from),
        };
        match expected.place.host() {
            _ if !expected.has_stop() => "nothing",
            Some(host) if host == sender => "sender",
            Some(host) if host == receiver => "receiver",
            _ => "between",
        }
    }

    /// Explains what this machine lacks for it, if anything.
    ///
    /// # Errors
    /// No namespace can be made to try it in.
    pub fn lacks(&self) -> Result<Option<String>, super::FaultError> {
        for need in self.scene.needs.iter().chain(&self.fault().needs) {
            if !needs::is_there(need)? {
                return Ok(Some(format!("this machine lacks {}", need.what)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
