//! `probe lab`.

mod beside;
mod document;
mod exec;
mod experiments;
pub mod faults;
mod models;
mod standing;
mod taps;
mod trial;

use super::{CommandResult, Screen};
use crate::{
    cli::lab::{HostChoice, Lab, LabCommand, LabExperiment},
    lab,
};

pub use self::experiments::{Interrupted, run_all};

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
    /// What is behind the name.
    fn design(self) -> &'static lab::experiment::Experiment {
        let name = match self {
            Self::Normal => "normal",
            Self::ReplyOnly => "reply-only",
            Self::ManyReplies => "many-replies",
            Self::IdMismatch => "id-mismatch",
        };
        lab::experiment::Experiment::named(name).expect("every experiment of the command line is designed")
    }
}

/// The experiments that were asked for: all of them where none was named.
pub fn chosen(names: &[LabExperiment]) -> Vec<lab::experiment::Experiment> {
    if names.is_empty() {
        return lab::experiment::ALL.to_vec();
    }
    names.iter().map(|name| *name.design()).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_command_line_knows_every_experiment_by_its_name() {
        let typed: Vec<_> = LabExperiment::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let typed: Vec<_> = typed.iter().map(clap::builder::PossibleValue::get_name).collect();
        let designed: Vec<_> = chosen(LabExperiment::value_variants()).iter().map(|design| design.name).collect();
        assert_eq!(typed, designed);
        assert_eq!(chosen(&[]), lab::experiment::ALL);
    }
}
