//! `probe lab faults`.

mod beside_ping;
pub mod by_command;
mod document;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use probe_ebpf::Family;

use self::by_command::ByCommand;
use super::beside::beside;
use crate::{
    cli::lab::FaultsArgs,
    commands::{CommandResult, Screen, interrupt::block_on},
    ebpf::object,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    lab::fault::{self, CaseProgress, CaseSelection, CatalogueCase, Diagnoser, Scene, choice::Unknown, runner, scene},
    report::faults as report,
};

/// Runs `probe lab faults`.
pub(super) fn run(args: &FaultsArgs, screen: &Screen) -> CommandResult {
    let cases = chosen(args)?;
    if args.list {
        screen.print(&document::list(&cases))?;
        return Ok(Exit::Done);
    }
    privilege::require(PrivilegedTask::Lab)?;
    object::bytes()?;
    fault::sweep_cgroups();
    let diagnose = if args.with_ping { ByCommand::new()?.with_ping() } else { ByCommand::new()? };
    let detail = if args.summary { report::FaultsDetail::Summary } else { report::FaultsDetail::Cases };
    block_on(wait(cases, diagnose, detail, *screen))
}

fn chosen(args: &FaultsArgs) -> Result<Vec<CatalogueCase>, Failure> {
    let choice = CaseSelection { names: args.names.clone(), family: args.family.only() };
    let all = if args.scenes.is_empty() { fault::everything() } else { of_files(&args.scenes)? };
    let cases = fault::choose(all, &choice).map_err(unknown)?;
    if cases.is_empty() {
        return Err(Failure::new(
            "none of these faults exists for that IP version",
            "probe lab faults --list shows the versions of each",
        ));
    }
    Ok(cases)
}

/// Reads the cases of scene files.
fn of_files(files: &[PathBuf]) -> Result<Vec<CatalogueCase>, Failure> {
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", file.display()), "--scene takes the path of a TOML file")
        })?;
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let scene = Scene::parse(&name, &text)?;
        cases.extend(scene::cases_of(&Arc::new(scene)).into_iter().map(CatalogueCase::from));
    }
    Ok(cases)
}

fn unknown(Unknown { name, nearest }: Unknown) -> Failure {
    let list = "probe lab faults --list shows all";
    let fix = nearest.map_or_else(|| list.to_owned(), |nearest| format!("did you mean {nearest}? {list}"));
    Failure::new(format!("there is no fault '{name}'"), fix)
}

async fn wait(
    cases: Vec<CatalogueCase>,
    mut diagnose: impl Diagnoser + Send + 'static,
    detail: report::FaultsDetail,
    screen: Screen,
) -> CommandResult {
    let start = Instant::now();
    let work = move |stop: &AtomicBool| {
        let mut progress = Progress::new(&screen);
        let run = runner::run(cases, &mut diagnose, &mut |step| progress.tell(step), &|| stop.load(Ordering::Relaxed));
        Ok(run?)
    };
    let run = beside(work).await?;
    finish(&document::of(run, start.elapsed().as_secs_f64(), detail), &screen)
}

fn finish(document: &report::FaultsReport, screen: &Screen) -> CommandResult {
    screen.print(document)?;
    Ok(match (document.unreached, document.is_clean()) {
        (1.., _) => Exit::Interrupted,
        (0, true) => Exit::Done,
        (0, false) => Exit::Stopped,
    })
}

/// One line on stderr that names the running case, if stderr is a terminal.
struct Progress {
    shown: bool,
}

impl Progress {
    fn new(screen: &Screen) -> Self {
        Self { shown: !screen.output.quiet && io::stderr().is_terminal() }
    }

    fn tell(&mut self, step: CaseProgress<'_>) {
        if !self.shown {
            return;
        }
        // Back to the start of the line, and clear it. A stderr that nobody reads is no reason to stop.
        let _ = match step {
            CaseProgress::Begins(number, total, case) => {
                let family = if case.family() == Family::V4 { 4 } else { 6 };
                write!(io::stderr(), "\r\x1b[2K{number}/{total}  {} IPv{family}", case.name())
            }
            CaseProgress::Ended(_) | CaseProgress::Unmade => write!(io::stderr(), "\r\x1b[2K"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::send::FamilyChoice;

    fn args(names: &[&str], v4: bool, v6: bool) -> FaultsArgs {
        let names = names.iter().map(ToString::to_string).collect();
        FaultsArgs {
            names,
            list: false,
            summary: false,
            with_ping: false,
            scenes: Vec::new(),
            family: FamilyChoice { v4, v6 },
        }
    }

    #[test]
    fn a_name_with_a_typing_error_is_told_with_its_mend() {
        let failure = chosen(&args(&["peer-nft-inptu"], false, false)).expect_err("no such fault");
        assert_eq!(failure.error, "there is no fault 'peer-nft-inptu'");
        assert!(failure.fix.starts_with("did you mean peer-nft-input?"), "{}", failure.fix);
    }

    #[test]
    fn a_fault_that_the_ip_version_does_not_have_is_no_silent_success() {
        assert!(chosen(&args(&["peer-rp-filter"], false, true)).is_err());
        assert!(chosen(&args(&["peer-rp-filter"], true, false)).is_ok_and(|cases| cases.len() == 1));
    }
}
