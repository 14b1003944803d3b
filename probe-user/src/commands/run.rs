//! `probe run`.

mod child;
mod signals;
mod verdict;

use std::{
    process,
    thread::{self, sleep},
};

use self::{signals::Signals, verdict::tell};
use super::{
    CommandResult, Screen,
    diagnose::plan::reply_wait,
    follow::{FollowPlan, FollowSession, MOST, likeliest_interface},
    place::everywhere,
};
use crate::{
    cli::run::RunArgs,
    diagnosis::Diagnosis,
    error::Failure,
    exit::Exit,
    host::{
        device::Device,
        privilege::{self, PrivilegedTask},
        process::{program, started},
    },
    model::followed::FollowRequest,
    stop::LOOK,
    watch::path_watch,
};

/// Runs `probe run`.
pub fn run(args: &RunArgs, screen: &Screen) -> CommandResult {
    match args.pid {
        Some(pid) => attached(args, pid, screen),
        None => started_here(args, screen),
    }
}

/// Runs the command, followed where that can be done.
fn started_here(args: &RunArgs, screen: &Screen) -> CommandResult {
    // Before any thread: a command that cannot be started is reported at once, and signals have one listener.
    let command = child::TypedCommand::find(&args.command)?;
    let signals = Signals::listen()?;
    let session = follow(args, process::id()).inspect_err(|failure| {
        screen.remark(&format!("the command runs, but its echoes are not followed: {failure}"));
    });
    if signals.came() {
        return Ok(Exit::Interrupted);
    }
    // A process that loses its parent stays a descendant of this one, and so is followed.
    if let Err(why) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::info!("orphans of the command are not followed: {why}");
    }
    let mut child = match command.start() {
        Ok(child) => child,
        Err(refused) => return Ok(refused.told(screen)),
    };
    signals.pass_on_to(child.pid());
    let mut session = session.ok();
    let ended = loop {
        if let Some(ended) = child.ended()? {
            break ended;
        }
        // The kernel's buffers for this process must not overflow; a failure to read them is reported with the verdict.
        if let Some(session) = &mut session {
            let _ = session.look();
        }
        child.wait(LOOK);
    };
    signals.keep();
    let verdict = session.map(|session| end(session, args, &signals, screen)).transpose();
    Ok(match verdict {
        Ok(_) if !args.exit_code => Exit::Command(ended),
        Ok(Some(diagnosis)) => status(&diagnosis),
        // Nothing was measured.
        Ok(None) => Exit::Failed,
        Err(failure) if args.exit_code => return Err(failure),
        Err(failure) => {
            screen.remark(&failure.to_string());
            Exit::Command(ended)
        }
    })
}

/// Follows a process that is already running.
fn attached(args: &RunArgs, pid: u32, screen: &Screen) -> CommandResult {
    let Some(since) = started(pid) else {
        return Err(Failure::new(format!("there is no process {pid}"), "`ps -e` lists them"));
    };
    let signals = Signals::listen()?;
    let mut session = follow(args, pid)?;
    screen.remark(&format!("following {} (pid {pid}) until it ends, or Ctrl-C", program(pid)));
    while started(pid) == Some(since) && !signals.came() {
        session.look()?;
        sleep(LOOK);
    }
    if !signals.came() {
        signals.keep();
    }
    let diagnosis = end(session, args, &signals, screen)?;
    Ok(status(&diagnosis))
}

/// Begins to follow the echoes of a process and of its children.
fn follow(args: &RunArgs, pid: u32) -> Result<FollowSession, Failure> {
    privilege::require(PrivilegedTask::Run)?;
    path_watch::read_ahead();
    let interface = args.interface.as_deref().map(Device::find).transpose()?.map(|device| device.name);
    FollowSession::start(FollowPlan {
        follow: FollowRequest { target: None, id: None, process: Some(pid), most: MOST, incoming: false },
        interface: interface.or_else(likeliest_interface),
        attach: args.attach.choices(),
        everywhere: everywhere(args.own_namespace),
        wait: reply_wait(args.timeout),
    })
}

/// Waits for what becomes of the last echoes, and prints the verdict.
fn end(mut session: FollowSession, args: &RunArgs, signals: &Signals, screen: &Screen) -> Result<Diagnosis, Failure> {
    session.settle(signals.stop())?;
    let diagnosis = session.diagnosis()?;
    // Detaching would keep the reader waiting.
    thread::scope(|scope| {
        let told = tell(&diagnosis, args.output.as_deref(), screen);
        scope.spawn(|| drop(session));
        told
    })?;
    Ok(diagnosis)
}

/// Returns the verdict's exit status; where no request was seen, nothing was measured.
fn status(diagnosis: &Diagnosis) -> Exit {
    if diagnosis.sent == 0 { Exit::Failed } else { diagnosis.exit() }
}
