//! `probe run`.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::Args;

use super::{attach::AttachArgs, values::seconds};

/// Run a command that pings, and find out where its echo packets stop.
///
/// Runs COMMAND as it was typed, with its own input, output, environment and user, and follows the echo requests that
/// it and its children send, and their replies, at every hop of this host's kernel. Sends nothing itself. Once the
/// command has ended, the verdict is printed on stderr, after the command's own output.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct RunArgs {
    /// The command to run, with its arguments; probe's own flags go before it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required_unless_present = "pid")]
    pub command: Vec<OsString>,
    /// Follow a process that is already running, and its children, until it ends or Ctrl-C
    #[arg(short, long, value_name = "PID", conflicts_with = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// Exit with the verdict's status instead of the command's
    #[arg(long)]
    pub exit_code: bool,
    /// Write the verdict to this file instead of stderr; with --format json, its document
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How long to wait for the reply to a request after it was sent, once the command has ended, in seconds
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub timeout: Duration,
    /// Interface whose XDP and tc hooks are watched too [default: that of the default route]; all other hops see every
    /// interface
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// Watch this network namespace only, as if all others on this kernel were other machines
    ///
    /// The environment variable `PROBE_OWN_NAMESPACE=1` does the same.
    #[arg(long)]
    pub own_namespace: bool,
    /// How the kernel programs are attached.
    #[command(flatten)]
    pub attach: AttachArgs,
}

const AFTER_HELP: &str = "Examples:
  probe run ping -c 5 b.example                     what becomes of this very \
ping?
  probe run -- fping -c 3 10.0.0.2 10.0.0.3         the verdict is on the target that loses most
  probe run \
--exit-code -q /usr/lib/nagios/plugins/check_ping -H b -w 50,10% -c 100,20%
  probe run --format json -o verdict.json \
mtr -rc 10 b.example
  probe run -p \"$(pidof smokeping)\"                 a program that is already running

Without \
the privilege to watch, a line says so and the command runs all the same. The first 1024 requests are followed.

Exit \
status: the command's, or 128 plus the number of the signal that ended it · 127 no such command ·
126 it cannot be \
executed; with -p or --exit-code: 0 every request was answered · 1 some are lost, or altered ·
2 nothing could be \
measured";
