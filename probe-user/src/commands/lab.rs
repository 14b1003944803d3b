//! `probe lab`.

mod beside;
mod exec;
mod experiments;
pub mod faults;
mod models;
mod observer;
mod standing;
mod trial;

use super::{Outcome, Screen};
use crate::{
    cli::lab::{Action, Experiment, Host, Lab},
    experiment::{Script, builtin},
    lab,
};

pub use self::experiments::{Audience, Interrupted, run_all};

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
    /// Its name.
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReplyOnly => "reply-only",
            Self::ManyReplies => "many-replies",
            Self::IdMismatch => "id-mismatch",
        }
    }
}

/// Returns the experiments that were asked for: all that the lab teaches with where none was named.
pub fn chosen(names: &[Experiment]) -> Vec<Script> {
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
        let typed: Vec<_> = Experiment::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let typed: Vec<_> = typed.iter().map(clap::builder::PossibleValue::get_name).collect();
        let chosen_by_name = chosen(Experiment::value_variants());
        let designed: Vec<_> = chosen_by_name.iter().map(|script| script.name.as_str()).collect();
        assert_eq!(typed, designed);
        assert_eq!(chosen(&[]), chosen_by_name);
        assert_eq!(typed, lab::lessons::ALL.map(|lesson| lesson.name));
    }
}
