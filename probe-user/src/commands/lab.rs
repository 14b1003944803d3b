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

use super::{Outcome, Screen};
use crate::{
    cli::lab::{Action, Experiment, Host, Lab},
    lab,
};

pub use self::experiments::{Interrupted, run_all};

/// Runs `probe lab`.
pub fn run(args: &Lab, screen: &Screen) -> Outcome {
    match &args.action {
        Some(Action::Up) => standing::up(screen),
        Some(Action::Down) => standing::down(screen),
        Some(Action::Exec(args)) => exec::run(args, screen),
        Some(Action::Faults(args)) => faults::run(args, screen),
        Some(Action::Characterize(args)) => models::run(args, screen),
        None => trial::run(&args.experiments, screen),
    }
}

impl From<Host> for lab::Host {
    fn from(host: Host) -> Self {
        match host {
            Host::A => Self::A,
            Host::Fw => Self::Fw,
            Host::B => Self::B,
        }
    }
}

impl Experiment {
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
pub fn chosen(names: &[Experiment]) -> Vec<lab::experiment::Experiment> {
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
        let typed: Vec<_> = Experiment::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let typed: Vec<_> = typed.iter().map(clap::builder::PossibleValue::get_name).collect();
        let designed: Vec<_> = chosen(Experiment::value_variants()).iter().map(|design| design.name).collect();
        assert_eq!(typed, designed);
        assert_eq!(chosen(&[]), lab::experiment::ALL);
    }
}
