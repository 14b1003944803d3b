//! Where the verdict of `probe run` goes: after the command's own output, which it must not disturb.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use crate::{
    commands::{Screen, terminal},
    diagnosis::Diagnosis,
    error::Failure,
    report::{self, Format, Style},
};

/// Prints the verdict to a file, or to stderr.
///
/// # Errors
/// The file cannot be written.
pub(super) fn tell(diagnosis: &Diagnosis, file: Option<&Path>, screen: &Screen) -> Result<(), Failure> {
    let mut text = Vec::new();
    let verbose = screen.style.verbose;
    let style = match file {
        Some(_) => Style { unicode: screen.style.unicode, verbose, ..Style::plain() },
        None => Style { verbose, ..terminal::style_of(&io::stderr()) },
    };
    if file.is_none() && screen.output.format == Format::Text {
        text.push(b'\n');
    }
    report::write(&mut text, diagnosis, screen.output.format, &style)
        .map_err(|error| Failure::new(format!("cannot write the verdict: {error}"), "run it again"))?;
    match file {
        Some(file) => fs::write(file, text).map_err(|error| {
            Failure::new(format!("cannot write {}: {error}", file.display()), "choose another -o FILE")
        }),
        None => {
            // A stderr that nobody reads is no failure of the command's.
            let _ = io::stderr().write_all(&text);
            Ok(())
        }
    }
}
