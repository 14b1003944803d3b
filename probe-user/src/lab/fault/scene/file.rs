//! Scene files: TOML, where every error names its line.

mod cases;
mod raw;

use std::{collections::BTreeMap, net::IpAddr};

use probe_ebpf::Family;
use thiserror::Error;
use toml::Spanned;

use self::raw::{RawHost, RawScene, RawWatch};
use super::{super::EACH, Scene, SceneEnd, SceneHost, SceneLink, SceneNeed, SceneWatch, words};
use crate::{
    error::Mend,
    model::toml_fault::{Faulty, TomlFault},
};

/// A scene file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct SceneError(#[from] TomlFault);

impl Mend for SceneError {
    fn fix(&self) -> String {
        "fix that line; docs/lab.md says what a scene is made of".to_owned()
    }
}

impl Scene {
    /// Parses a scene from the text of a file; `name` is what its cases begin with, and what errors call the file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, SceneError> {
        let file = format!("{name}.toml");
        let raw: RawScene = toml::from_str(text).map_err(|error| TomlFault::from_toml(&file, text, &error))?;
        Ok(check(name, &raw).map_err(|faulty| faulty.in_file(&file, text))?)
    }
}

fn check(name: &str, raw: &RawScene) -> Result<Scene, Faulty> {
    let hosts = raw.host.iter().map(|(name, host)| Ok((name.clone(), made(host)?))).collect::<Result<_, Faulty>>()?;
    let mut scene = Scene {
        name: name.to_owned(),
        title: raw.title.clone(),
        from: raw.from.get_ref().clone(),
        target: raw.target.get_ref().clone(),
        address: raw
            .address
            .as_ref()
            .map_or_else(|| format!("{{{}}}", raw.target.get_ref()), |text| text.get_ref().clone()),
        links: Vec::new(),
        hosts,
        words: raw.words.clone(),
        needs: needs(&raw.needs),
        watches: Vec::new(),
        faults: Vec::new(),
    };
    for host in [&raw.from, &raw.target] {
        known(&scene, host)?;
    }
    scene.links = raw.links.iter().map(|link| joined(&scene, link)).collect::<Result<_, _>>()?;
    scene.watches = raw.watch.iter().map(|(name, watch)| watched(&scene, name, watch)).collect::<Result<_, _>>()?;
    if scene.watches.is_empty() {
        return Err(Faulty::nowhere("nobody is watched: give it a [watch.NAME], which may be empty"));
    }
    for (name, host) in &raw.host {
        for script in [&host.devices, &host.setup].into_iter().flatten() {
            filled(&scene, script).map_err(|what| Faulty::at(Some(script), format!("{name}: {what}")))?;
        }
    }
    for case in &raw.case {
        let fault = cases::fault(&scene, case)?;
        if scene.faults.iter().any(|known| known.name == fault.name) {
            return Err(Faulty::at(Some(&case.name), format!("there are two cases {}", fault.name)));
        }
        scene.faults.push(fault);
    }
    if !scene.faults.iter().any(|fault| fault.expected.values().any(|expected| !expected.has_stop())) {
        return Err(Faulty::nowhere("no case is healthy: give it a [[case]] that breaks nothing"));
    }
    Ok(scene)
}

/// Checks that each word in braces of `text` stands for something in every version of the scene.
fn filled(scene: &Scene, text: &Spanned<String>) -> Result<(), String> {
    for family in [Family::V4, Family::V6] {
        for leg in EACH {
            if let Some(word) = words::unknown(scene, family, *leg, text.get_ref()) {
                return Err(format!(
                    "{{{word}}} stands for nothing; braces that do not hold a word need a blank inside"
                ));
            }
        }
    }
    Ok(())
}

fn known(scene: &Scene, host: &Spanned<String>) -> Result<(), Faulty> {
    if scene.hosts.contains_key(host.get_ref()) {
        return Ok(());
    }
    let names = scene.hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Faulty::at(Some(host), format!("there is no host {}: its hosts are {names}", host.get_ref())))
}

fn made(raw: &RawHost) -> Result<SceneHost, Faulty> {
    let mut addresses = Vec::new();
    for (device, texts) in &raw.addresses {
        for text in texts {
            let (address, prefix) = prefixed(text.get_ref())
                .ok_or_else(|| Faulty::at(Some(text), "write an address with the length of its prefix: 10.0.0.1/24"))?;
            addresses.push((device.clone(), address, prefix));
        }
    }
    let script = |text: &Option<Spanned<String>>| text.as_ref().map_or_else(String::new, |text| text.get_ref().clone());
    Ok(SceneHost {
        forwards: raw.forwards,
        addresses,
        gateways: raw.gateways.iter().map(gateway).collect::<Result<_, _>>()?,
        way: raw.way.clone(),
        devices: script(&raw.devices),
        setup: script(&raw.setup),
    })
}

fn prefixed(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
}

fn gateway(text: &Spanned<String>) -> Result<IpAddr, Faulty> {
    text.get_ref().parse().map_err(|_| Faulty::at(Some(text), format!("{} is not an address", text.get_ref())))
}

/// Reads `a:eth0`.
fn end(scene: &Scene, text: &str) -> Option<SceneEnd> {
    let (host, device) = text.split_once(':')?;
    let known = scene.hosts.contains_key(host) && !device.is_empty();
    known.then(|| SceneEnd { host: host.to_owned(), device: device.to_owned() })
}

fn joined(scene: &Scene, text: &Spanned<String>) -> Result<SceneLink, Faulty> {
    let wrong =
        || Faulty::at(Some(text), "a link is two ends, each a host of the scene with a device: \"a:eth0 r1:eth0\"");
    let (near, far) = text.get_ref().split_once(' ').ok_or_else(wrong)?;
    Ok(SceneLink(end(scene, near).ok_or_else(wrong)?, end(scene, far.trim()).ok_or_else(wrong)?))
}

fn watched(scene: &Scene, name: &str, raw: &RawWatch) -> Result<SceneWatch, Faulty> {
    for host in raw.peer.iter().chain(&raw.via) {
        known(scene, host)?;
    }
    Ok(SceneWatch {
        name: name.to_owned(),
        peer: raw.peer.as_ref().map(|host| host.get_ref().clone()),
        via: raw.via.iter().map(|host| host.get_ref().clone()).collect(),
        own_namespace: raw.own_namespace,
    })
}

fn needs(raw: &BTreeMap<String, String>) -> Vec<SceneNeed> {
    raw.iter().map(|(what, script)| SceneNeed { what: what.clone(), script: script.clone() }).collect()
}

#[cfg(test)]
mod tests;
