//! `probe characterize`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CommandResult, Screen,
    ends::{Met, meet},
    progress::Bar,
    stop::on_signals,
};
use crate::{
    cli::characterize::Characterize,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    middlebox::{
        datasheet::{Datasheet, Effort, FactFinding, Level, Session, SessionProgress, compare::compare},
        player::{Completion, Player},
    },
    model::verdict::Confidence,
    report::explained::Explained,
    traffic::prober::random,
};

/// Runs `probe characterize`.
pub fn run(args: &Characterize, screen: &Screen) -> CommandResult {
    if let Some(files) = &args.compare {
        return compare_files(files, screen);
    }
    if let Some(fact) = args.explain {
        screen.print(&Explained::of(fact))?;
        return Ok(Exit::Done);
    }
    privilege::require(PrivilegedTask::Diagnose)?;
    let stop = on_signals()?;
    let target = args.target.as_deref().unwrap_or_default();
    let Met { mut player, rtt, .. } = meet(target, &args.ends, &stop, screen)?;
    let bar = Bar::new(screen, Duration::ZERO);
    let found = characterize(&mut player, effort(args, rtt), &mut |progress, now| bar.of(&bar_state(progress, now)));
    bar.clear();
    let Characterized { datasheet, whole } = found?;
    screen.print(&datasheet)?;
    Ok(match whole {
        Completion::Stopped => Exit::Interrupted,
        Completion::Yes if open_questions(&datasheet) => Exit::Stopped,
        Completion::Yes => Exit::Done,
    })
}

/// What was found out.
pub(super) struct Characterized {
    /// All of it.
    pub(super) datasheet: Datasheet,
    /// Whether the session was completed.
    pub(super) whole: Completion,
}

/// Plays the timelines of a session until there is none left. `report` gets the state of the session, and the time
/// since the start of the current timeline.
pub(super) fn characterize(
    player: &mut Player,
    effort: Effort,
    report: &mut dyn FnMut(&SessionProgress, Duration),
) -> Result<Characterized, Failure> {
    let mut session = Session::new(player.ends.clone(), effort, random());
    let mut whole = Completion::Yes;
    while let Some(timeline) = session.next_timeline() {
        let progress = session.progress();
        let played = player.play(&timeline, &mut |now| report(&progress, now));
        let played = match played {
            // What was learned before the far end went is still reported.
            Err(_) if player.stop.asked() => {
                whole = Completion::Stopped;
                break;
            }
            played => played?,
        };
        session.record(&played.run);
        whole = played.whole;
        if whole == Completion::Stopped {
            break;
        }
    }
    Ok(Characterized { datasheet: session.datasheet(), whole })
}

fn effort(args: &Characterize, rtt: Duration) -> Effort {
    let level = match (args.quick, args.full) {
        (true, _) => Level::Quick,
        (_, true) => Level::Full,
        _ => Level::Ordinary,
    };
    let usual = Effort::of(level);
    Effort {
        only: args.only.iter().copied().collect(),
        longest: args.longest.unwrap_or(usual.longest),
        rate: args.rate,
        rtt: rtt.max(usual.rtt),
        ..usual
    }
}

/// Returns whether a question that was asked has no answer.
fn open_questions(datasheet: &Datasheet) -> bool {
    let asked = |finding: &&FactFinding| !finding.evidence.is_empty();
    datasheet.facts.iter().filter(asked).any(|finding| finding.confidence == Confidence::Unknown)
}

/// Returns the progress for the bar: time passed, total time, and the current question.
fn bar_state(progress: &SessionProgress, now: Duration) -> (Duration, Duration, String) {
    let asking: Vec<&str> = progress.asking.iter().map(|fact| fact.name()).collect();
    let left = progress.left.saturating_sub(now);
    let doing = format!("{} of {} answered; testing: {}", progress.settled, progress.facts, asking.join(", "));
    (now, now + left, doing)
}

fn compare_files(files: &[PathBuf], screen: &Screen) -> CommandResult {
    let [one, other] = files else {
        return Err(Failure::new("--compare needs two datasheets", "--compare A.json B.json"));
    };
    let (left, right) = (read(one)?, read(other)?);
    let name = |path: &Path| path.display().to_string();
    let comparison = compare((&name(one), &left), (&name(other), &right));
    let same = comparison.different == 0;
    screen.print(&comparison)?;
    Ok(if same { Exit::Done } else { Exit::Stopped })
}

fn read(path: &Path) -> Result<Datasheet, Failure> {
    let fix = "give files printed by `probe characterize … --format json`";
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display()), fix))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{} is not a datasheet: {error}", path.display()), fix))
}
