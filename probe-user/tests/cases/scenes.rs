//! Cases of scenes, run and judged as `probe lab faults` does it.
//!
//! All of them take some minutes, so that a run of all tests has a part: of each scene the healthy case of its first watch
//! over IPv4, and of the faults one in [`ONE_IN`], by their order in the catalogue. Who asks for scenes by name, `cargo xtask test scenes`
//! or a part of a case's name, has every one.

use libtest_mimic::Trial;
use probe_ebpf::Family;
use probe_user::{
    commands::lab::faults::by_command::ByCommand,
    lab::fault::{
        CatalogueCase, SceneCase,
        runner::{self, JudgedCase},
        scene,
    },
};

use crate::trial::{Beside, Held, trial, version};

/// One fault in so many is part of a run of all tests.
const ONE_IN: usize = 40;

/// A trial for each case, or, where nothing is asked for by name, for a part of them.
pub(crate) fn trials(asked: bool) -> Vec<Trial> {
    let cases = scene::all();
    let chosen = cases.iter().enumerate().filter(|(number, case)| asked || in_part(*number, case));
    let trials = chosen.map(|(_, case)| {
        let case = case.clone();
        let name = format!("scenes::{}::{}", case.name, version(case.family));
        trial(name, Beside::Labs, move || located(case))
    });
    trials.collect()
}

fn in_part(number: usize, case: &SceneCase) -> bool {
    let first = *case.watch() == case.scene.watches[0] && case.family == Family::V4;
    let healthy = case.place() == "nothing";
    if healthy { first && case.fault().name == "healthy" } else { number.is_multiple_of(ONE_IN) }
}

/// Whether the diagnosis says what it must.
fn located(case: SceneCase) -> Result<Held, String> {
    let mut diagnose = ByCommand::of(env!("CARGO_BIN_EXE_probe").into());
    let run = runner::run(vec![CatalogueCase::from(case)], &mut diagnose, &mut |_| (), &|| false)
        .map_err(|error| error.to_string())?;
    if let Some((_, why)) = run.left_out.into_iter().next() {
        // A scene that does not stand, or is not broken by what should break it, is wrong; what a machine lacks is told apart.
        return if why.starts_with("this machine lacks") { Ok(Held::NotTried(why)) } else { Err(why) };
    }
    let judged: JudgedCase = run.judged.into_iter().next().ok_or("it was not run")?;
    if judged.located() {
        return Ok(Held::Yes);
    }
    let said = judged.got.map(|got| got.document["verdict"]["sentence"].to_string()).unwrap_or_default();
    Err(format!("{}\n    {said}", judged.wrong.join("\n    ")))
}
