//! `probe lab`.

mod beside;
mod exec;
mod experiments;
pub mod faults;
mod models;
mod observer;
mod standing;
mod trial;

use super::{CommandResult, Screen};
use crate::{
    cli::lab::{HostChoice, Lab, LabCommand, LabExperiment},
    lab,
    middlebox::experiment::{Script, builtin},
};

pub use self::experiments::{Interrupted, RunListener, run_all};

/// Runs `probe lab`.
pub fn run(args: &Lab, screen: &Screen) -> CommandResult {
    match &args.action {
        Some(LabCommand::Up) => standing::up(screen),
        Some(LabCommand::Down) => standing::down(screen),
        Some(LabCommand::Exec(args)) => exec::run(args, screen),
        Some(LabCommand::Faults(args)) => faults::run(args, screen),
        Some(LabCommand::Characterize(args)) => models::run(args, screen),
        None => trial::run(&args.experiments, screen),
    }
}

impl From<HostChoice> for lab::LabHost {
    fn from(host: HostChoice) -> Self {
        match host {
            HostChoice::A => Self::A,
            HostChoice::Fw => Self::Fw,
            HostChoice::B => Self::B,
        }
    }
}

impl LabExperiment {
    /// Returns its name.
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReplyOnly => "reply-only",
            Self::ManyReplies => "many-replies",
            Self::IdMismatch => "id-mismatch",
        }
    }
}

/// Returns the experiments that were asked for, or all of the lab's if none was named.
pub fn chosen(names: &[LabExperiment]) -> Vec<Script> {
    let all = lab::lessons::ALL.map(|lesson| lesson.name);
    let named: Vec<&str> = names.iter().map(|name| name.name()).collect();
    let chosen = if named.is_empty() { &all[..] } else { &named };
    chosen.iter().map(|name| builtin::named(name).expect("a test finds every experiment of the lab")).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_command_line_knows_every_experiment_by_its_name() {
        let typed: Vec<_> = LabExperiment::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let typed: Vec<_> = typed.iter().map(clap::builder::PossibleValue::get_name).collect();
        let chosen_by_name = chosen(LabExperiment::value_variants());
        let designed: Vec<_> = chosen_by_name.iter().map(|script| script.name.as_str()).collect();
        assert_eq!(typed, designed);
        assert_eq!(chosen(&[]), chosen_by_name);
        assert_eq!(typed, lab::lessons::ALL.map(|lesson| lesson.name));
    }
}
