//! The cases of a scene file, checked: what is broken, and what must be said for each watch.

use std::{collections::BTreeMap, time::Duration};

use probe_ebpf::{Echo, Family};
use toml::Spanned;

use super::{
    super::{
        super::{
            Probe,
            expect::{Confidence, Layer, Outcome, Side},
        },
        DropHook, ExpectedPlace, Scene, SceneDrop, SceneExpected, SceneFault, SceneWatch,
    },
    end, filled, needs,
    raw::{OneOrMore, RawCase, RawLeg, RawProbe},
};
use crate::model::toml_fault::Faulty;

/// Checks one case.
pub(super) fn fault(scene: &Scene, raw: &RawCase) -> Result<SceneFault, Faulty> {
    named(raw)?;
    let mut scripts = BTreeMap::new();
    for (host, script) in &raw.scripts {
        if !scene.hosts.contains_key(host) {
            return Err(Faulty::at(Some(script), format!("there is no host {host} to break")));
        }
        filled(scene, script).map_err(|what| Faulty::at(Some(script), what))?;
        scripts.insert(host.clone(), script.get_ref().clone());
    }
    if let Some(flags) = &raw.flags {
        filled(scene, flags).map_err(|what| Faulty::at(Some(flags), what))?;
    }
    let fault = SceneFault {
        name: raw.name.get_ref().clone(),
        title: raw.title.get_ref().clone(),
        families: families(raw)?,
        legs: legs(raw),
        scripts,
        drops: raw.drops.iter().map(|text| drop(scene, text)).collect::<Result<_, _>>()?,
        needs: needs(&raw.needs),
        probe: probe(&raw.probe)?,
        flags: raw.flags.as_ref().map_or_else(String::new, |flags| flags.get_ref().clone()),
        expected: expected(scene, raw)?,
    };
    let breaks = !fault.scripts.is_empty() || !fault.drops.is_empty() || fault.probe != Probe::PLAIN;
    if !breaks && fault.expected.values().any(SceneExpected::has_stop) {
        return Err(Faulty::at(Some(&raw.name), "it expects a stop and breaks nothing"));
    }
    Ok(fault)
}

fn named(raw: &RawCase) -> Result<(), Faulty> {
    let kebab = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if raw.name.get_ref().is_empty() || !raw.name.get_ref().bytes().all(kebab) {
        return Err(Faulty::at(Some(&raw.name), "the name of a case is small letters, digits and hyphens"));
    }
    if raw.title.get_ref().is_empty() || raw.title.get_ref().ends_with('.') {
        return Err(Faulty::at(Some(&raw.title), "a title is a few words without a full stop"));
    }
    Ok(())
}

fn families(raw: &RawCase) -> Result<Vec<Family>, Faulty> {
    let Some(listed) = &raw.families else { return Ok(vec![Family::V4, Family::V6]) };
    let one = |number: &Spanned<u8>| match number.get_ref() {
        4 => Ok(Family::V4),
        6 => Ok(Family::V6),
        _ => Err(Faulty::at(Some(number), "families are 4 and 6")),
    };
    listed.iter().map(one).collect()
}

fn legs(raw: &RawCase) -> Vec<Echo> {
    let listed = raw.legs.as_deref().unwrap_or(&[RawLeg::Request]);
    let one = |leg: &RawLeg| match leg {
        RawLeg::Request => Echo::Request,
        RawLeg::Reply => Echo::Reply,
    };
    listed.iter().map(one).collect()
}

/// Reads `r1:eth0 xdp`.
fn drop(scene: &Scene, text: &Spanned<String>) -> Result<SceneDrop, Faulty> {
    let read = || {
        let (at, hook) = text.get_ref().split_once(' ')?;
        let hook = match hook.trim() {
            "xdp" => DropHook::Xdp,
            "tc-in" => DropHook::TcIn,
            "tc-out" => DropHook::TcOut,
            _ => return None,
        };
        Some(SceneDrop { end: end(scene, at)?, hook })
    };
    read().ok_or_else(|| {
        Faulty::at(Some(text), "a program that drops is a device of a host and xdp, tc-in or tc-out: \"r1:eth0 xdp\"")
    })
}

fn probe(raw: &RawProbe) -> Result<Probe, Faulty> {
    let interval = |seconds: &Spanned<f64>| {
        Duration::try_from_secs_f64(*seconds.get_ref()).map_err(|_| {
            Faulty::at(Some(seconds), "an interval is a number of seconds from one probe to the next: 0.0005")
        })
    };
    let interval = raw.interval.as_ref().map(interval).transpose()?;
    let RawProbe { count, size, df: dont_fragment, ttl, id, .. } = *raw;
    Ok(Probe { count, interval, size, dont_fragment, ttl, id, ..Probe::PLAIN })
}

fn expected(scene: &Scene, raw: &RawCase) -> Result<BTreeMap<String, SceneExpected>, Faulty> {
    let watch = |name: &str| scene.watches.iter().find(|watch| watch.name == name);
    if let Some(name) = raw.watches.iter().flatten().find(|name| watch(name.get_ref()).is_none()) {
        return Err(Faulty::at(Some(name), format!("there is no watch {}", name.get_ref())));
    }
    if let Some((name, special)) = raw.expect_for.iter().find(|(name, _)| watch(name).is_none()) {
        return Err(Faulty::at(Some(special), format!("there is no watch {name}")));
    }
    let mut each = BTreeMap::new();
    for watch in &scene.watches {
        let chosen = |names: &Vec<Spanned<String>>| names.iter().any(|name| *name.get_ref() == watch.name);
        if raw.watches.as_ref().is_some_and(|names| !chosen(names)) {
            continue;
        }
        each.insert(watch.name.clone(), resolved(scene, watch, raw)?);
    }
    Ok(each)
}

/// Returns what must be said if `watch` says who is watched. About a host that nobody watches, only what it lies
/// between can be known: its layers and chains are then not expected.
fn resolved(scene: &Scene, watch: &SceneWatch, case: &RawCase) -> Result<SceneExpected, Faulty> {
    let special = case.expect_for.get(&watch.name).map(|special| special.get_ref().clone()).unwrap_or_default();
    let raw = &case.expect.but(&special);
    let hosts = raw.place.as_ref().map(OneOrMore::list).unwrap_or_default();
    if let Some(place) = hosts.iter().find(|host| !scene.hosts.contains_key(*host)) {
        return Err(Faulty::at(Some(&case.name), format!("there is no host {place} to stop in")));
    }
    let layers = raw.layer.as_ref().map(OneOrMore::list).unwrap_or_default();
    if layers.is_empty() != hosts.is_empty() {
        return Err(Faulty::at(Some(&case.name), "a fault has a place and a layer, a healthy case has neither"));
    }
    let side = |host: &str| match () {
        () if host == scene.from => Some(Side::Local),
        () if watch.peer.as_deref() == Some(host) => Some(Side::Peer),
        () if watch.own_namespace && !watch.via.iter().any(|via| via == host) => None,
        () => Some(Side::Via),
    };
    let sides: Option<Vec<Side>> = hosts.iter().map(|host| side(host)).collect();
    let (place, side) = match sides {
        _ if hosts.is_empty() => (ExpectedPlace::Any, Vec::new()),
        Some(sides) => (ExpectedPlace::Watched(hosts), sides),
        None => (ExpectedPlace::Unwatched(hosts), vec![Side::Network, Side::Beyond]),
    };
    let seen = !matches!(place, ExpectedPlace::Unwatched(_));
    let outcome = if layers.is_empty() { Outcome::Delivered } else { Outcome::Stopped };
    // For what is not watched, only what is said for this watch itself is checked.
    let told = if seen { raw } else { &special };
    let layers = if seen { layers } else { told.layer.as_ref().map_or_else(|| vec![Layer::Path], OneOrMore::list) };
    Ok(SceneExpected {
        outcomes: raw.outcome.as_ref().map_or_else(|| vec![outcome], OneOrMore::list),
        place,
        hosts: raw.host.as_ref().map_or(side, OneOrMore::list),
        layers,
        reasons: told.reason.as_ref().map(OneOrMore::list).unwrap_or_default(),
        hook: told.hook.clone(),
        chain: told.chain.clone(),
        neighbour: told.neighbour.clone(),
        setting: told.setting.clone(),
        confidence: told.confidence.unwrap_or(Confidence::Likely),
        // Where nobody watches behind it either, a lost reply cannot be told from a lost request.
        any_leg: raw.any_leg.unwrap_or(!seen && watch.peer.is_none()),
        stops: raw.stops.unwrap_or(1),
        alterations: raw.alterations.clone(),
        says: told.says.clone().unwrap_or_default(),
        tells: raw.tells.clone().unwrap_or_default(),
        never: raw.never.clone().unwrap_or_default(),
    })
}
