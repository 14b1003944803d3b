//! This test program again as a process of its own, with a fake in place of the kernel: an agent, or `probe diagnose`.

use std::{fs::File, io, os::fd::AsFd, process::exit};

use clap::Parser;
use probe_ebpf::Hop;
use probe_user::{
    cli::{Cli, Verb},
    commands::{Screen, diagnose},
    error::Failure,
    exit::Exit,
    model::{
        attach::Attach,
        request::WatchRequest,
        trace::{HopTrace, HostFacts, HostTrace},
    },
    peer::{AgentSetup, protocol::Hello},
    stop::StopSignal,
    watch::Watching,
};

use super::hostile::{self, Evil};

type Factory = fn(&WatchRequest) -> Result<Box<dyn Watching>, Failure>;

/// Which words `fake_diagnose` is run with.
pub(crate) const DIAGNOSE: &str = "PROBE_TEST_DIAGNOSE";
/// That `fake_agent` is wanted, and how it is to be: `serve`, `die-at-look`, `evil`, `evil-complaint`.
pub(crate) const AGENT: &str = "PROBE_TEST_AGENT";

/// Sees nothing, and tells what it was asked for.
struct Fake(WatchRequest);

impl Watching for Fake {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        let host = HostFacts {
            hostname: "fake".into(),
            interface: self.0.interface.clone().unwrap_or_default(),
            address: Some(self.0.local),
            ..HostFacts::default()
        };
        let blind = HopTrace::Blind { why: "a fake has no eyes".into() };
        Ok(HostTrace { host, hops: [(Hop::TcIn, blind)].into(), ..HostTrace::default() })
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        self.look()
    }
}

/// Ends its process when it is looked at a second time: the first look is the agent's own.
struct Dying(Fake, u32);

impl Watching for Dying {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        self.1 += 1;
        if self.1 > 1 {
            eprintln!("something broke");
            exit(3);
        }
        self.0.look()
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        self.look()
    }
}

fn watch(request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    Ok(Box::new(Fake(request.clone())))
}

fn deceive(request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    Ok(Box::new(Evil(request.clone())))
}

fn die(request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    Ok(Box::new(Dying(Fake(request.clone()), 0)))
}

/// The command that runs one of the tests below as a process of its own.
pub(crate) fn command(variable: &str, value: &str, test: &str) -> String {
    let this = std::env::current_exe().expect("this program has a file");
    let (_, module) = module_path!().split_once("::").expect("this is a module of the program");
    format!("{variable}='{value}' exec {} --exact {module}::{test} --nocapture --test-threads=1", this.display())
}

/// The command of an agent. What the test harness prints around it is a banner, the last of it without a line's end.
pub(crate) fn agent(how: &str) -> String {
    command(AGENT, how, "fake_agent")
}

#[test]
fn fake_agent() {
    let Ok(how) = std::env::var(AGENT) else { return };
    let hello = Hello::new("fake".into(), "6.18".into(), None);
    let (factory, hello): (Factory, Hello) = match how.as_str() {
        "serve" => (watch, hello),
        "evil" | "evil-complaint" => (deceive, hostile::hello(how == "evil-complaint")),
        _ => (die, hello),
    };
    let agent = AgentSetup { hello, interface: None, attach: Attach::default(), factory };
    let input = File::from(io::stdin().as_fd().try_clone_to_owned().expect("stdin is open"));
    let served = agent.serve(input, io::stdout().lock(), &StopSignal::default());
    eprintln!("the agent ends: {}", served.is_ok());
    exit(0);
}

#[test]
fn fake_diagnose() {
    let Ok(words) = std::env::var(DIAGNOSE) else { return };
    let words = words.replace("%dying%", &agent("die-at-look").replace(' ', "\u{a0}"));
    let words = words.replace("%serving%", &agent("serve").replace(' ', "\u{a0}"));
    let words = words.split(' ').map(|word| word.replace('\u{a0}', " "));
    let cli = Cli::try_parse_from(["probe".to_owned(), "diagnose".to_owned()].into_iter().chain(words));
    let cli = cli.unwrap_or_else(|error| panic!("{error}"));
    let Verb::Diagnose(args) = cli.verb else { panic!("another verb") };
    let exit_status = diagnose::run_with(&args, &Screen::new(cli.output), watch).unwrap_or_else(|failure| {
        eprintln!("probe: {failure}");
        Exit::Failed
    });
    exit(exit_status.code().into());
}
