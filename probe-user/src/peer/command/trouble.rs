//! What can go wrong with a far end, each as one sentence with its fix.

use std::{fmt, io};

use thiserror::Error;

use crate::{
    error::Mend,
    peer::protocol::{Complaint, Mismatch, frame::FrameError},
};

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandExit {
    /// Its exit status.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last line on its stderr, or, if there is none, on its stdout.
    pub said: Option<String>,
    /// A line on its stderr about a password, a key, or a host key.
    pub password: Option<String>,
}

/// What came instead of a hello.
#[derive(Clone, Debug)]
pub struct NoHello {
    /// The time limit, in seconds.
    pub seconds: f64,
    /// What is wrong with the output, if it is not text.
    pub error: Option<FrameError>,
    /// The last line on stderr.
    pub said: Option<String>,
    /// The last line on stdout.
    pub printed: Option<String>,
    /// The command.
    pub command: String,
}

impl fmt::Display for NoHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, ": {error}")?,
            None => write!(f, " within {} s", self.seconds)?,
        }
        f.write_str(&printed_and_said(self.printed.as_deref(), self.said.as_deref()))
    }
}

/// Why the far end cannot be used.
#[derive(Debug, Error)]
pub enum Trouble {
    /// This host has no shell.
    #[error("cannot start a shell for the peer command")]
    NoShell(#[source] io::Error),
    /// The command ended without a hello.
    #[error("the peer command ended before an agent spoke ({})", ended.described())]
    EndedEarly {
        /// How.
        ended: CommandExit,
        /// The command.
        command: String,
    },
    /// No hello came.
    #[error("the peer command did not start an agent{0}")]
    NoHello(Box<NoHello>),
    /// The hello cannot be parsed.
    #[error("the far end's hello cannot be read: {why}")]
    UnreadableHello {
        /// What is wrong with it.
        why: String,
    },
    /// The far end has another version.
    #[error("{mismatch}")]
    Mismatch {
        /// Which numbers differ.
        mismatch: Mismatch,
        /// The far end's version.
        version: String,
    },
    /// The far end does not have this function.
    #[error("the far end (probe {version}) does not offer to {}", what.replace('_', " "))]
    NotOffered {
        /// The function.
        what: &'static str,
        /// Its version.
        version: String,
    },
    /// The far end refused.
    #[error("the far end: {}", complaint.error)]
    Refused {
        /// Its own words.
        complaint: Complaint,
    },
    /// The command ended after the hello.
    #[error("the far end is gone ({})", ended.described())]
    EndedInTheMiddle {
        /// How.
        ended: CommandExit,
    },
    /// No reply came.
    #[error("the far end did not answer within {seconds} s{}", printed_and_said(None, said.as_deref()))]
    Silent {
        /// The time limit, in seconds.
        seconds: f64,
        /// The last line on its stderr.
        said: Option<String>,
    },
    /// The far end sent something that is not a message.
    #[error("the far end does not keep to the protocol: {0}")]
    Broken(#[from] FrameError),
    /// The far end sent a message at the wrong time.
    #[error("the far end does not keep to the protocol: {why}")]
    OutOfTurn {
        /// What was wrong.
        why: String,
    },
    /// A request was made before the hello.
    #[error("the far end has not said hello yet")]
    NotGreeted,
    /// This program cannot be copied to the far end.
    #[error("cannot copy this program to the far end: {why}")]
    Deploy {
        /// Why not.
        why: String,
        /// How to fix it.
        fix: String,
    },
    /// A stop was requested during the wait.
    #[error("interrupted while waiting for the far end")]
    Stopped,
}

impl CommandExit {
    fn described(&self) -> String {
        let how = match (self.code, self.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "it had to be killed".to_owned(),
        };
        match &self.said {
            Some(said) => format!("{how}: {said}"),
            None => how,
        }
    }
}

fn printed_and_said(printed: Option<&str>, said: Option<&str>) -> String {
    match (printed, said) {
        (_, Some(said)) => format!("; it says: {said}"),
        (Some(printed), None) => format!("; it printed: {printed}"),
        (None, None) => String::new(),
    }
}

impl Mend for Trouble {
    fn fix(&self) -> String {
        match self {
            Self::NoShell(_) => "check that sh is in PATH, and see ulimit -u".to_owned(),
            Self::EndedEarly { ended, command } => ended_early(ended, command),
            Self::NoHello(what) => no_hello(what.said.as_deref(), &what.command),
            Self::UnreadableHello { .. } | Self::NotOffered { .. } | Self::Mismatch { .. } => {
                "install the same version of probe on both hosts, or copy this one: --peer 'ssh HOST sudo' --deploy"
                    .to_owned()
            }
            Self::Refused { complaint } => format!("on the far end: {}", complaint.fix),
            Self::EndedInTheMiddle { .. } => "find out why its command ended, and try again".to_owned(),
            Self::Silent { .. } => "check the connection to the far host, and how busy that host is".to_owned(),
            Self::Broken(_) | Self::OutOfTurn { .. } => {
                "only `probe agent` may write to the command's stdout; give it no terminal (no ssh -t)".to_owned()
            }
            Self::Deploy { fix, .. } => fix.clone(),
            Self::NotGreeted | Self::Stopped => String::new(),
        }
    }
}

/// How to fix a password prompt: it has no terminal to appear on.
const PASSWORD: &str = "probe gives the command no terminal to ask for a password on: use a key or an agent (ssh-add), \
                        and let sudo ask for none there (NOPASSWD)";

fn ended_early(ended: &CommandExit, command: &str) -> String {
    if let Some(line) = &ended.password {
        return if line.to_lowercase().contains("host key") {
            "accept the far host's key once by hand: ssh HOST true".to_owned()
        } else {
            PASSWORD.to_owned()
        };
    }
    match ended.code {
        Some(127) => "check the command's spelling; if the far host has no probe, take it along: --peer 'ssh HOST \
                      sudo' --deploy"
            .to_owned(),
        Some(126) => "check that the program may be executed there".to_owned(),
        _ => by_hand(command),
    }
}

fn no_hello(said: Option<&str>, command: &str) -> String {
    let asks =
        said.is_some_and(|line| ["password", "passphrase"].iter().any(|word| line.to_lowercase().contains(word)));
    if asks { PASSWORD.to_owned() } else { by_hand(command) }
}

fn by_hand(command: &str) -> String {
    format!("the command must start `probe agent` on the far host; run it by hand to see what it does: {command}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn early(ended: CommandExit) -> Failure {
        Trouble::EndedEarly { ended, command: "ssh b probe agent".into() }.into()
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_both_ways_out() {
        let said = Some("bash: line 1: probe: command not found".into());
        let failure = early(CommandExit { code: Some(127), said, ..CommandExit::default() });
        assert!(failure.error.contains("(exit status 127: bash: line 1: probe: command not found)"), "{failure}");
        assert!(failure.fix.contains("spelling") && failure.fix.contains("--deploy"), "{failure}");
    }

    #[test]
    fn a_password_that_cannot_be_typed_is_told_so() {
        let line = "b: Permission denied (publickey,password).".to_owned();
        let failure =
            early(CommandExit { code: Some(255), password: Some(line.clone()), said: Some(line), signal: None });
        assert!(failure.fix.contains("ssh-add"), "{failure}");
        let line = "Host key verification failed.".to_owned();
        let failure =
            early(CommandExit { code: Some(255), password: Some(line.clone()), said: Some(line), signal: None });
        assert!(failure.fix.contains("ssh HOST true"), "{failure}");
    }

    #[test]
    fn every_trouble_is_one_line() {
        let troubles = [
            Trouble::NoHello(Box::new(NoHello {
                seconds: 15.0,
                error: None,
                said: None,
                printed: Some("hi".into()),
                command: "x".into(),
            })),
            Trouble::Silent { seconds: 10.0, said: None },
            Trouble::Mismatch { mismatch: Mismatch::Protocol { theirs: 2 }, version: "9".into() },
        ];
        for trouble in troubles {
            let failure = Failure::from(trouble);
            assert!(!failure.error.contains('\n') && !failure.fix.is_empty(), "{failure}");
        }
    }
}
