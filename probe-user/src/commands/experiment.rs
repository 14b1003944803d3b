//! `probe experiment`.

mod document;

use std::{collections::BTreeSet, fs, path::Path};

use super::{
    CommandResult, Screen,
    ends::{Met, meet},
    stop::on_signals,
};
use crate::{
    cli::experiment::ExperimentArgs,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    middlebox::{
        experiment::{Script, builtin, outcome, plan},
        player::Completion,
    },
    report::experiments::ExperimentList,
    traffic::prober::random,
};

pub(super) use self::document::document;

/// Runs `probe experiment`.
pub fn run(args: &ExperimentArgs, screen: &Screen) -> CommandResult {
    if args.list {
        screen.print(&ExperimentList::all())?;
        return Ok(Exit::Done);
    }
    if let Some(name) = &args.print {
        let text = builtin::text(name).ok_or_else(|| unknown(name))?;
        screen.print_bytes(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    let mut script = script(args.experiment.as_deref().unwrap_or_default())?;
    script.repeat = args.repeat.unwrap_or(script.repeat);
    script.fits().map_err(|what| Failure::new(what, "fewer repetitions"))?;
    privilege::require(PrivilegedTask::Diagnose)?;
    play(&script, args, screen)
}

/// Loads the built-in experiment with this name, or the file of this name.
fn script(name: &str) -> Result<Script, Failure> {
    if let Some(script) = builtin::named(name) {
        return Ok(script);
    }
    let looks_like_a_file = name.contains(['/', '.']) || Path::new(name).exists();
    if !looks_like_a_file {
        return Err(unknown(name));
    }
    let text = fs::read_to_string(name).map_err(|error| {
        Failure::new(format!("cannot read {name}: {error}"), "give the path of a file, or a name from --list")
    })?;
    Ok(Script::parse(name, &text)?)
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = builtin::TEXTS.iter().map(|(name, _)| *name).collect();
    Failure::new(format!("there is no experiment {name}"), format!("one of {}, or a file", names.join(", ")))
}

fn play(script: &Script, args: &ExperimentArgs, screen: &Screen) -> CommandResult {
    let stop = on_signals()?;
    let target = args.target.as_deref().unwrap_or_default();
    let Met { mut player, names, .. } = meet(target, &args.ends, &stop, screen)?;
    let plan = plan::plan(script, fresh_ids());
    let progress = super::progress::Bar::new(screen, plan.timeline.length());
    let played = player.play(&plan.timeline, &mut |now| progress.at(now, &script.name));
    progress.clear();
    let played = played?;
    let outcome = outcome::judge(script, &plan, &played.run, &names);
    let document = document(script, &plan, &outcome, &played, (&player.ends, &names));
    screen.print(&document)?;
    Ok(match (played.whole, outcome.as_expected) {
        (Completion::Stopped, _) => Exit::Interrupted,
        (Completion::Yes, true) => Exit::Done,
        (Completion::Yes, false) => Exit::Stopped,
    })
}

/// Returns a source of random ids, each different and none of them 0, which says least in a report.
pub(super) fn fresh_ids() -> impl FnMut() -> u16 {
    let mut used = BTreeSet::new();
    move || {
        loop {
            let id = (random() >> 48) as u16;
            if id != 0 && used.insert(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice() {
        let mut fresh = fresh_ids();
        let given: BTreeSet<u16> = (0..2000).map(|_| fresh()).collect();
        assert!(given.len() == 2000 && !given.contains(&0));
    }
}
