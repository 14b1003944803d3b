//! `probe lab characterize`.

mod document;
mod running;

use std::{
    io::{self, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use probe_ebpf::Family;

use self::running::{ModelCase, ModelRunEnd, ModelRunner};
use super::beside::beside;
use crate::{
    cli::lab::ModelsArgs,
    commands::{CommandResult, Screen, interrupt::block_on},
    ebpf::object,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    lab::{
        fault::choice::{fits, nearest},
        model::{self, BoxModel},
    },
    report::models as report,
};

/// Runs `probe lab characterize`.
pub(super) fn run(args: &ModelsArgs, screen: &Screen) -> CommandResult {
    let models = chosen(&args.models)?;
    if args.list {
        screen.print(&document::list(&models))?;
        return Ok(Exit::Done);
    }
    privilege::require(PrivilegedTask::Lab)?;
    privilege::require(PrivilegedTask::Diagnose)?;
    object::bytes()?;
    let runner = ModelRunner::new(words(args))?;
    let detail =
        if args.datasheets { document::DatasheetDetail::Everything } else { document::DatasheetDetail::WhatIsWrong };
    let at_once = args.at_once.map_or_else(usual_at_once, usize::from);
    block_on(wait(cases(&models, args), runner, at_once, detail, *screen))
}

/// Selects the models with these names, in their own order.
fn chosen(names: &[String]) -> Result<Vec<BoxModel>, Failure> {
    let all = model::all();
    for name in names {
        if !all.iter().any(|model| fits(name, model.name)) {
            let list = "probe lab characterize --list shows all";
            let nearest = nearest(name, all.iter().map(|model| model.name));
            let fix = nearest.map_or_else(|| list.to_owned(), |nearest| format!("did you mean {nearest}? {list}"));
            return Err(Failure::new(format!("there is no model '{name}'"), fix));
        }
    }
    let wanted = |model: &BoxModel| names.is_empty() || names.iter().any(|name| fits(name, model.name));
    Ok(all.into_iter().filter(wanted).collect())
}

fn cases(models: &[BoxModel], args: &ModelsArgs) -> Vec<ModelCase> {
    let families = args.family.only().map_or_else(|| vec![Family::V4, Family::V6], |family| vec![family]);
    let over_each =
        |model: &BoxModel| families.iter().map(|family| ModelCase { model: model.clone(), family: *family }).collect();
    models.iter().flat_map::<Vec<ModelCase>, _>(over_each).collect()
}

/// Returns the flags of `probe characterize` that say how much to test.
fn words(args: &ModelsArgs) -> Vec<String> {
    let only = args.only.iter().flat_map(|fact| ["--only".to_owned(), fact.name().to_owned()]);
    args.quick.then(|| "--quick".to_owned()).into_iter().chain(only).collect()
}

/// Returns how many models to run at once by default. A characterization mostly waits.
fn usual_at_once() -> usize {
    thread::available_parallelism().map_or(2, |count| count.get() * 2)
}

async fn wait(
    cases: Vec<ModelCase>,
    runner: ModelRunner,
    at_once: usize,
    detail: document::DatasheetDetail,
    screen: Screen,
) -> CommandResult {
    let start = Instant::now();
    let work = move |stop: &AtomicBool| {
        let progress = Progress::new(&screen, cases.len());
        let stopped = || stop.load(Ordering::Relaxed);
        let ended = runner.run_all(&cases, at_once, &|case, ended| progress.tell(case, ended), &stopped);
        progress.clear();
        Ok(document::of(&cases, ended, start.elapsed().as_secs_f64(), detail))
    };
    let document: report::ModelsReport = beside(work).await?;
    screen.print(&document)?;
    Ok(match (document.unreached, document.is_clean()) {
        (1.., _) => Exit::Interrupted,
        (0, true) => Exit::Done,
        (0, false) => Exit::Stopped,
    })
}

/// Prints a line on stderr for each run that has ended, if stderr is a terminal.
struct Progress {
    shown: bool,
    of: usize,
    ended: std::sync::atomic::AtomicUsize,
}

impl Progress {
    fn new(screen: &Screen, of: usize) -> Self {
        let shown = !screen.output.quiet && io::stderr().is_terminal();
        let progress = Self { shown, of, ended: 0.into() };
        progress.draw(0, "");
        progress
    }

    fn tell(&self, case: &ModelCase, ended: &ModelRunEnd) {
        let number = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
        let how = match ended {
            ModelRunEnd::Finished(_) => "done",
            ModelRunEnd::Failed(_) => "failed",
            ModelRunEnd::Interrupted => "interrupted",
        };
        self.draw(number, &format!("{} IPv{} {how}", case.model.name, case.version()));
    }

    fn draw(&self, number: usize, last: &str) {
        if self.shown {
            // Back to the start of the line, and clear it. A stderr that nobody reads is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[2K{number}/{}  {last}", self.of);
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_typing_error_is_told_with_its_mend() {
        let failure = chosen(&["masqerade".to_owned()]).expect_err("no such model");
        assert_eq!(failure.error, "there is no model 'masqerade'");
        assert!(failure.fix.starts_with("did you mean masquerade?"), "{}", failure.fix);
    }

    #[test]
    fn models_are_chosen_by_name_beginning_and_pattern_in_their_own_order() {
        let names = |typed: &[&str]| -> Vec<&str> {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            chosen(&typed).expect("known names").iter().map(|model| model.name).collect()
        };
        assert_eq!(names(&["router", "conntrack"]), ["conntrack-5s", "conntrack-20s", "conntrack-30s", "router"]);
        assert_eq!(names(&["*-in-key"]), ["seq-in-key", "code-in-key"]);
        assert_eq!(names(&[]).len(), model::all().len());
    }
}
