//! `probe man`: prints man pages, or writes all of them.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::{CommandResult, Screen};
use crate::{
    cli::{Cli, man::Man as ManArgs},
    error::Failure,
    exit::Exit,
};

/// Runs `probe man`.
pub fn run(args: &ManArgs, screen: &Screen) -> CommandResult {
    let probe = whole();
    if let Some(folder) = &args.all {
        return write_all(&probe, folder).map(|()| Exit::Done);
    }
    let command = args.verb.iter().try_fold(&probe, |above, verb| below(above, verb).ok_or((above, verb)));
    let command = command.map_err(|(above, verb)| {
        let known: Vec<&str> = visible(above).map(Command::get_name).collect();
        let fix = if known.is_empty() {
            "probe man --all FOLDER writes the pages of all".to_owned()
        } else {
            format!("one of {}", known.join(", "))
        };
        Failure::new(format!("{} has no verb {verb}", shown(above)), fix)
    })?;
    screen.print_bytes(&page(command).map_err(|error| Failure::new(format!("cannot make the page: {error}"), BUG))?)?;
    Ok(Exit::Done)
}

const BUG: &str = "this is a mistake in probe: please report it";

/// Returns probe's definitions with every flag in place and each verb under its whole name.
fn whole() -> Command {
    let mut probe = Cli::command().disable_help_subcommand(true);
    probe.build();
    probe
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set())
}

fn below<'a>(command: &'a Command, verb: &str) -> Option<&'a Command> {
    visible(command)
        .find(|candidate| candidate.get_name() == verb || candidate.get_all_aliases().any(|name| name == verb))
}

fn shown(command: &Command) -> &str {
    command.get_bin_name().unwrap_or_else(|| command.get_name())
}

/// Returns a page's name: `probe-filter-add`.
fn title(command: &Command) -> String {
    shown(command).replace(' ', "-")
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut roff = Vec::new();
    let source = concat!("probe ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).title(title(command).to_uppercase()).source(source).render(&mut roff)?;
    Ok(roff)
}

fn write_all(probe: &Command, folder: &Path) -> Result<(), Failure> {
    let unwritable = |path: &Path, error: &io::Error| {
        Failure::new(format!("cannot write {}: {error}", path.display()), "name a folder that this user may write")
    };
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let mut rest = vec![probe];
    while let Some(command) = rest.pop() {
        let file = folder.join(format!("{}.1", title(command)));
        page(command).and_then(|roff| fs::write(&file, roff)).map_err(|error| unwritable(&file, &error))?;
        rest.extend(visible(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_for_its_whole_command() {
        let probe = whole();
        let add = below(below(&probe, "filter").expect("a verb"), "add").expect("a verb below it");
        assert_eq!((title(&probe).as_str(), title(add).as_str()), ("probe", "probe-filter-add"));
        assert!(below(&probe, "help").is_none() && below(&probe, "ping").is_none());
    }
}
