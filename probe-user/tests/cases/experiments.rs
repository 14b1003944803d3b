//! The built-in experiments, played through the lab's security group: each comes out as designed.

use libtest_mimic::Trial;
use probe_ebpf::Family;
use probe_user::{
    lab::Topology,
    middlebox::{
        experiment::{builtin, outcome, plan},
        player::Completion,
    },
};

use crate::{
    common::played::play,
    trial::{Beside, Held, trial, version},
};

pub(crate) fn trials() -> Vec<Trial> {
    let cases = builtin::TEXTS.into_iter().flat_map(|(name, _)| [(name, Family::V4), (name, Family::V6)]);
    // One wait of half a minute is enough: it asks the same of either IP version.
    let cases = cases.filter(|case| *case != ("timeout-expiry", Family::V6));
    let trials = cases.map(|(name, family)| {
        let full = format!("experiments::{name}::{}", version(family));
        trial(full, Beside::Labs, move || comes_out_as_designed(name, family))
    });
    trials.collect()
}

fn comes_out_as_designed(name: &str, family: Family) -> Result<Held, String> {
    let lab = Topology::build().expect("a lab");
    let script = builtin::named(name).expect("built in");
    let mut id = 0x4000;
    let plan = plan::plan(&script, || {
        id += 1;
        id
    });
    let played = play(&lab, &plan.timeline, family);
    let names = outcome::EndNames { near: "a".into(), far: "b".into() };
    let outcome = outcome::judge(&script, &plan, &played.run, &names);
    let all_left = played.run.deliveries.iter().all(|delivery| delivery.left == Some(true));
    if outcome.as_expected && played.whole == Completion::Yes && all_left {
        return Ok(Held::Yes);
    }
    Err(format!("{}\n{:#?}", outcome.finding, played.run))
}
