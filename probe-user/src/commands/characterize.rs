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
    let found = characterize(&mut player, effort(args, rtt), &mut |progress, now| bar.of(&told(progress, now)));
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
    /// Whether nothing broke it off.
    pub(super) whole: Completion,
}

/// Plays what a session asks for until it asks for nothing more. `told` hears where it stands, with the time since the
/// start of the present timeline.
pub(super) fn characterize(
    player: &mut Player,
    effort: Effort,
    told: &mut dyn FnMut(&SessionProgress, Duration),
) -> Result<Characterized, Failure> {
    let mut session = Session::new(player.ends.clone(), effort, random());
    let mut whole = Completion::Yes;
    while let Some(timeline) = session.next_timeline() {
        let progress = session.progress();
        let played = player.play(&timeline, &mut |now| told(&progress, now));
        let played = match played {
            // What was learned before the far end went is still told.
            Err(_) if player.stop.asked() => {
                whole = Completion::Stopped;
                break;
            }
            played => played?,
        };
        session.landed(&played.run);
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

/// Whether something that was asked has no answer.
fn open_questions(datasheet: &Datasheet) -> bool {
    let asked = |finding: &&FactFinding| !finding.evidence.is_empty();
    datasheet.facts.iter().filter(asked).any(|finding| finding.confidence == Confidence::Unknown)
}

/// How far it is, for the bar: passed, whole, and what is asked.
fn told(progress: &SessionProgress, now: Duration) -> (Duration, Duration, String) {
    let asking: Vec<&str> = progress.asking.iter().map(|fact| fact.name()).collect();
    let left = progress.left.saturating_sub(now);
    let doing = format!("{} of {} answered; asking: {}", progress.settled, progress.facts, asking.join(", "));
    (now, now + left, doing)
}

fn compare_files(files: &[PathBuf], screen: &Screen) -> CommandResult {
    let [one, other] = files else {
        return Err(Failure::new("two datasheets are compared", "--compare A.json B.json"));
    };
    let (left, right) = (read(one)?, read(other)?);
    let name = |path: &Path| path.display().to_string();
    let comparison = compare((&name(one), &left), (&name(other), &right));
    let same = comparison.different == 0;
    screen.print(&comparison)?;
    Ok(if same { Exit::Done } else { Exit::Stopped })
}

fn read(path: &Path) -> Result<Datasheet, Failure> {
    let fix = "give files that `probe characterize … --format json` has printed";
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display()), fix))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("{} is no datasheet: {error}", path.display()), fix))
}
