//! `probe diagnose --passive`: the echoes of other programs instead of probes.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{interrupted_early, judge, place, plan::reply_wait, progress::ProgressLine};
use crate::{
    cli::diagnose::DiagnoseArgs,
    commands::{
        CommandResult, Screen,
        follow::{FollowPlan, FollowSession, MOST, likeliest_interface},
        place::everywhere,
        stop::{Signalled, on_signals},
    },
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    model::followed::FollowRequest,
    peer::route::owner,
    stop::LOOK,
    watch::path_watch,
};

/// How long echoes are watched if neither a time nor a count is given.
const WATCH: Duration = Duration::from_secs(10);

/// Runs `probe diagnose --passive`.
pub(super) fn run(args: &DiagnoseArgs, screen: &Screen) -> CommandResult {
    privilege::require(PrivilegedTask::Diagnose)?;
    path_watch::read_ahead();
    let stop = on_signals()?;
    let progress = ProgressLine::new(screen);
    let followed = follow(args, &stop, &progress);
    progress.clear();
    let Some(mut session) = followed? else { return Ok(interrupted_early(screen)) };
    let diagnosis = session.diagnosis()?;
    screen.print(&diagnosis)?;
    Ok(match diagnosis.sent {
        _ if stop.by_signal() => Exit::Interrupted,
        // Nothing was measured.
        0 => Exit::Failed,
        _ => judge::status(&diagnosis, args.exit_code),
    })
}

/// Follows echoes until enough were seen, or the time is over; `None` if a signal came before that began.
fn follow(args: &DiagnoseArgs, stop: &Signalled, progress: &ProgressLine) -> Result<Option<FollowSession>, Failure> {
    let Some(plan) = plan(args, stop, progress)? else { return Ok(None) };
    progress.say("attaching");
    let enough = args.count.map(usize::from);
    let mut session = FollowSession::start(plan)?;
    let deadline = args.ping.deadline.or_else(|| enough.is_none().then_some(WATCH));
    let until = deadline.map(|time| Instant::now() + time);
    while !stop.asked() && until.is_none_or(|until| Instant::now() < until) {
        let seen = session.look()?;
        if enough.is_some_and(|enough| seen >= enough) {
            break;
        }
        let time = deadline.map(|time| format!(" of {} s", time.as_secs())).unwrap_or_default();
        progress.say(&format!("{seen} echoes seen in {} s{time}; Ctrl-C for the verdict", session.age().as_secs()));
        thread::sleep(LOOK);
    }
    progress.say("waiting for replies");
    session.settle(stop)?;
    progress.say("reading what was seen");
    Ok(Some(session))
}

fn plan(args: &DiagnoseArgs, stop: &Signalled, progress: &ProgressLine) -> Result<Option<FollowPlan>, Failure> {
    let target = match &args.target {
        Some(name) => {
            progress.say(&format!("resolving {name}"));
            let Some(found) = place::resolve_beside(args, stop)? else { return Ok(None) };
            Some(found.target)
        }
        None => None,
    };
    let address = target.as_ref().map(|target| target.address.ip());
    // Requests to this host itself can arrive on any interface.
    let foreign = target.as_ref().filter(|target| owner(target.address.ip()).is_none());
    let way = foreign.map(|target| place::find(args, target, None)).transpose()?;
    let interface = match (way, args.device()) {
        (Some(way), _) => way.interface,
        (None, Some(device)) => Some(crate::host::device::Device::find(device)?.name),
        (None, None) => likeliest_interface(),
    };
    let follow = FollowRequest {
        target: address,
        id: args.id,
        process: None,
        most: args.count.unwrap_or(MOST).min(MOST),
        incoming: true,
    };
    let wait = reply_wait(args.timeout);
    let attach = args.attach.choices();
    Ok(Some(FollowPlan { follow, interface, attach, everywhere: everywhere(args.own_namespace), wait }))
}
