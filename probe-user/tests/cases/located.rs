//! Cases of the catalogue, diagnosed and judged as `probe lab faults` does it.
//!
//! All of them take half an hour, so that a run of all tests has a part: of each scene the healthy case of its first watch over IPv4
//! and one fault in [`SCENES`], and of the lab's own cases one in [`ROWS`], by their order in the catalogue. Who asks for them by
//! name, `cargo xtask test scenes` or `cargo xtask test located` or a part of a case's name, has every one.

use libtest_mimic::Trial;
use probe_ebpf::Family;
use probe_user::{
    commands::lab::faults::by_command::ByCommand,
    lab::fault::{
        self, CatalogueCase, SceneCase,
        runner::{self, JudgedCase},
        scene,
    },
};

use crate::{
    faults::beside,
    trial::{Beside, Held, trial, version},
};

/// One fault of scenes in so many is part of a run of all tests.
const SCENES: usize = 60;

/// One case of the lab's own in so many is; no divisor of two or three, so that both legs, both versions and all hosts come.
const ROWS: usize = 13;

/// A trial for each case, or, where nothing is asked for by name, for a part of them.
pub(crate) fn trials(asked: bool) -> Vec<Trial> {
    let cases = scene::all();
    let chosen = cases.iter().enumerate().filter(|(number, case)| asked || in_part(*number, case));
    let scenes = chosen.map(|(_, case)| {
        let case = case.clone();
        let name = format!("scenes::{}::{}", case.name, version(case.family));
        trial(name, Beside::Labs, move || located(case.into()))
    });
    let rows = fault::all().into_iter().enumerate().filter(|(number, _)| asked || number.is_multiple_of(ROWS));
    let rows = rows.map(|(_, case)| {
        let name = format!("located::{}::{}", case.name, version(case.family));
        // All labs have the same addresses: who of them has one is asked where nobody answers for it.
        let alone = case.fault.expected.neighbour.is_some();
        let beside = if alone { Beside::Nobody } else { beside(&case) };
        trial(name, beside, move || located(case.into()))
    });
    scenes.chain(rows).collect()
}

fn in_part(number: usize, case: &SceneCase) -> bool {
    let first = *case.watch() == case.scene.watches[0] && case.family == Family::V4;
    let healthy = case.place() == "nothing";
    if healthy { first && case.fault().name == "healthy" } else { number.is_multiple_of(SCENES) }
}

/// Whether the diagnosis says what it must, and ping with the same flags is answered as probe is.
fn located(case: CatalogueCase) -> Result<Held, String> {
    let mut diagnose = ByCommand::of(env!("CARGO_BIN_EXE_probe").into()).with_ping();
    let run = runner::run(vec![case], &mut diagnose, &mut |_| (), &|| false).map_err(|error| error.to_string())?;
    if let Some((_, why)) = run.left_out.into_iter().next() {
        // A scene that does not stand, or is not broken by what should break it, is wrong; what a machine lacks is told apart.
        return if why.starts_with("this machine lacks") || why.ends_with("is not installed") {
            Ok(Held::NotTried(why))
        } else {
            Err(why)
        };
    }
    let judged: JudgedCase = run.judged.into_iter().next().ok_or("it was not run")?;
    let unlike = judged.unlike_ping();
    if judged.located() && unlike.is_none() {
        return Ok(Held::Yes);
    }
    let said = judged.got.map(|got| got.document["verdict"]["sentence"].to_string()).unwrap_or_default();
    let wrong: Vec<String> = judged.wrong.into_iter().chain(unlike).collect();
    Err(format!("{}\n    {said}", wrong.join("\n    ")))
}
