//! `probe agent`.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use super::{CommandResult, stop::on_signals};
use crate::{
    cli::agent::AgentArgs as Args,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    peer::{
        AgentSetup,
        protocol::{Complaint, Hello},
    },
    watch::path_watch,
};

/// Runs `probe agent`.
pub fn run(args: &Args) -> CommandResult {
    if io::stdin().is_terminal() {
        return Err(Failure::new(
            "probe agent talks to another probe over stdin, but stdin is a terminal",
            "run this on the host that pings instead: probe diagnose TARGET --peer 'ssh THIS_HOST sudo probe agent'",
        ));
    }
    let stop = on_signals()?;
    let hello = hello();
    if hello.trouble.is_none() {
        path_watch::read_ahead();
    }
    let agent = AgentSetup {
        hello,
        interface: args.interface.clone(),
        attach: args.attach.choices(),
        factory: path_watch::start,
    };
    // A descriptor of its own: the standard library's stdin is locked and read ahead.
    let input = io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(|error| {
        Failure::new(format!("stdin cannot be read: {error}"), "start the agent with a pipe as its stdin")
    })?;
    agent.serve(input, io::stdout().lock(), &stop)?;
    // Said only when asked for: this is how every good run ends, and the controller relays what is said.
    tracing::info!("the controller is gone; nothing is attached any more");
    Ok(if stop.by_signal() { Exit::Interrupted } else { Exit::Done })
}

fn hello() -> Hello {
    let trouble = privilege::require(PrivilegedTask::Agent).err().map(|error| {
        let failure = Failure::from(error);
        Complaint { error: failure.error, fix: failure.fix }
    });
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    Hello::new(host_name(), release.unwrap_or_default(), trouble)
}

fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
