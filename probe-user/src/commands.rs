//! One command per file, and what they share: parsing, printing, and the exit. The only place where stages meet.

pub mod agent;
pub mod characterize;
pub mod completions;
pub mod diagnose;
pub mod doctor;
mod ends;
pub mod experiment;
pub mod filter;
mod follow;
mod interrupt;
pub mod lab;
pub mod man;
pub mod observe;
mod place;
mod progress;
pub mod receive;
pub mod run;
pub mod schema;
pub mod send;
mod stop;
mod terminal;

use std::{
    ffi::OsString,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    cli::{Cli, Output, Verb},
    error::Failure,
    exit::Exit,
    harmless,
    report::{self, Document, Format, Style, failure::FailureDocument},
};
use clap::{Parser, error::ErrorKind};

/// How every command ends: with an exit status, or with one sentence and its fix.
pub type CommandResult = Result<Exit, Failure>;

/// Runs the command line `args` (the program's name first) and returns how it ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return unparsed(&args, &error),
    };
    terminal::start_log(cli.output);
    let format = cli.output.format;
    run(cli).unwrap_or_else(|failure| fail(format, &failure))
}

fn run(cli: Cli) -> CommandResult {
    let screen = Screen::new(cli.output);
    match cli.verb {
        Verb::Observe(args) => observe::run(&args, &screen),
        Verb::Send(args) => send::run(&args, &screen),
        Verb::Receive(args) => receive::run(&args, &screen),
        Verb::Filter(args) => filter::run(&args, &screen),
        Verb::Lab(args) => lab::run(&args, &screen),
        Verb::Doctor(args) => doctor::run(&args, &screen),
        Verb::Diagnose(args) => diagnose::run(&args, &screen),
        Verb::Run(args) => run::run(&args, &screen),
        Verb::Experiment(args) => experiment::run(&args, &screen),
        Verb::Characterize(args) => characterize::run(&args, &screen),
        Verb::Agent(args) => agent::run(&args),
        Verb::Schema(args) => schema::run(&args, &screen),
        Verb::Completions(args) => completions::run(&args, &screen),
        Verb::Man(args) => man::run(&args, &screen),
    }
}

/// Whether the reader of stdout has gone away, as `head -1` does.
static READER_GONE: AtomicBool = AtomicBool::new(false);

/// Where a command prints: the report to stdout, everything else to stderr.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// The flags that say how.
    pub output: Output,
    /// What stdout can show.
    pub style: Style,
}

impl Screen {
    /// Creates the screen that `output` asks for on this terminal.
    pub fn new(output: Output) -> Self {
        let verbose = output.verbose > 0 && !output.quiet;
        Self { output, style: Style { verbose, ..terminal::style() } }
    }

    /// Prints `document` to stdout in the chosen format. A reader that goes away is not a failure: the command ends
    /// normally, so that nothing stays attached.
    pub fn print<D: Document>(&self, document: &D) -> Result<(), Failure> {
        self.print_bytes(&self.written(document)?)
    }

    /// Serializes `document` in the chosen format.
    fn written<D: Document>(&self, document: &D) -> Result<Vec<u8>, Failure> {
        let mut text = Vec::new();
        report::write(&mut text, document, self.output.format, &self.style).map_err(|error| unprintable(&error))?;
        Ok(text)
    }

    /// Writes `bytes` to stdout unchanged.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                READER_GONE.store(true, Ordering::Relaxed);
                Ok(())
            }
            result => result.map_err(|error| unprintable(&error)),
        }
    }

    /// Returns whether nobody reads the report any more, so that a command that prints for ever must end.
    pub fn is_unread(&self) -> bool {
        READER_GONE.load(Ordering::Relaxed)
    }

    /// Prints a note that is not part of the report to stderr; nothing with `-q`.
    pub fn remark(&self, text: &str) {
        if !self.output.quiet {
            // A stderr that nobody reads is no reason to stop.
            let _ = writeln!(io::stderr(), "probe: {}", harmless::text(text));
        }
    }
}

fn unprintable(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write the report: {error}"), "check where stdout goes")
}

/// Prints a failure: one line on stderr, and with `--format json` one document on stdout.
fn fail(format: Format, failure: &Failure) -> Exit {
    let _ = writeln!(io::stderr(), "probe: {}", harmless::line(&failure.to_string()));
    if format == Format::Json {
        let document = FailureDocument { error: &failure.error, fix: &failure.fix };
        let _ = report::write(&mut io::stdout(), &document, format, &Style::plain());
    }
    Exit::Failed
}

/// Answers a command line that clap did not accept; help and version are not failures.
fn unparsed(args: &[OsString], error: &clap::Error) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            Exit::Done
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if asked_format(args) == Format::Text => {
            let _ = error.print();
            Exit::Failed
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            fail(Format::Json, &Failure::new("no command was given", "see --help"))
        }
        _ => fail(asked_format(args), &usage_failure(error)),
    }
}

/// Returns the format that a refused command line asked for, so that JSON users get the refusal as JSON.
fn asked_format(args: &[OsString]) -> Format {
    let words: Vec<_> = args.iter().filter_map(|word| word.to_str()).collect();
    let json = words.contains(&"--format=json") || words.windows(2).any(|pair| pair == ["--format", "json"]);
    if json { Format::Json } else { Format::Text }
}

/// Converts clap's paragraphs to one sentence and one fix.
fn usage_failure(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut problem = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let mut fix = String::from("see --help");
    for line in lines {
        if let Some(tip) = line.strip_prefix("tip: ") {
            tip.clone_into(&mut fix);
        } else if let Some(usage) = line.strip_prefix("Usage: ") {
            if fix == "see --help" {
                fix = format!("usage: {usage}");
            }
        } else if !line.starts_with("For more information") {
            problem = format!("{problem} {line}");
        }
    }
    Failure::new(problem, fix)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_usage_error_is_one_sentence_and_one_fix() {
        let error = Cli::try_parse_from(["probe", "send", "request", "b", "-e", "70000"]).expect_err("a bad id");
        let failure = usage_failure(&error);
        assert!(failure.error.contains("'70000' is not a number from 0 to 65535"), "{failure}");
        assert!(!failure.error.contains('\n') && !failure.fix.is_empty(), "{failure}");
    }

    #[test]
    fn json_is_asked_for_even_by_words_that_do_not_parse() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(asked_format(&words("probe send --format json --nonsense")), Format::Json);
        assert_eq!(asked_format(&words("probe send --format=json")), Format::Json);
        assert_eq!(asked_format(&words("probe send --format text")), Format::Text);
    }
}
