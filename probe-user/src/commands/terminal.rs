//! The environment of this process: what its terminal can show, and where its log goes.

use crate::ebpf;
use std::{
    env,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

use terminal_size::{Height, Width, terminal_size_of};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{cli::Output, harmless, report::Style};

/// Returns what stdout can show: colour only on a terminal and without `NO_COLOR`, Unicode only in a UTF-8 locale.
pub(super) fn style() -> Style {
    style_of(&io::stdout())
}

/// Returns what that stream can show.
pub(super) fn style_of(stream: &(impl IsTerminal + AsFd)) -> Style {
    let terminal = stream.is_terminal();
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let colour = terminal && !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb");
    let width = if terminal { width(stream).unwrap_or(100) } else { 100 };
    Style { colour, unicode: utf8_locale(), width, ..Style::plain() }
}

/// Returns whether the locale is UTF-8. The first of these variables that is set decides, as in `locale(7)`.
fn utf8_locale() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| env::var(name).ok().filter(|text| !text.is_empty()));
    locale.is_some_and(|text| {
        let text = text.to_ascii_lowercase();
        text.contains("utf-8") || text.contains("utf8")
    })
}

/// Returns whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns the width of the terminal in columns.
pub(super) fn columns() -> Option<usize> {
    width(io::stdout())
}

fn width(stream: impl AsFd) -> Option<usize> {
    terminal_size_of(stream).map(|(Width(columns), _)| usize::from(columns))
}

/// Returns the height of the terminal in lines.
pub(super) fn rows() -> Option<usize> {
    terminal_size_of(io::stdout()).map(|(_, Height(rows))| usize::from(rows))
}

/// Sends warnings to stderr, and more with `-v`; `-vv` also turns on the log of the kernel programs.
pub(super) fn start_log(output: Output) {
    if output.verbose >= 2 && !output.quiet {
        ebpf::log::turn_on();
    }
    let level = match (output.quiet, output.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    // Only the two halves of probe: messages from the libraries would drown theirs.
    let wanted = Targets::new().with_target("probe", level).with_default(level.min(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| HarmlessStderr)
        .with_ansi(false)
        .without_time()
        .with_target(false);
    // A second call in one process (tests) keeps the first log: nothing is lost.
    let _ = tracing_subscriber::registry().with(lines.with_filter(wanted)).try_init();
}

/// stderr for whole lines of the log, which can hold names and errors from other hosts.
struct HarmlessStderr;

impl Write for HarmlessStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        io::stderr().write_all(harmless::text(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
