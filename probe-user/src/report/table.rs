//! Columns of text, and numbers as people read them.

use std::io::{self, Write};

use super::style::{Style, Tone};

/// Writes `rows` under `headings`, each column as wide as its widest cell.
pub(super) fn write(out: &mut dyn Write, style: &Style, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    writeln!(out, "{}", style.paint(Tone::Dim, &line(&headings, &widths)))?;
    rows.iter().try_for_each(|row| writeln!(out, "{}", line(row, &widths)))
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

/// A duration in nanoseconds with three digits and its unit.
pub(super) fn time(nanoseconds: u64) -> String {
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (nanoseconds as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (nanoseconds as f64 / 1e6, "ms"),
        _ => (nanoseconds as f64 / 1e9, "s"),
    };
    let digits = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// Seconds since 1970 as date and time of day (UTC).
pub(super) fn date(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    seconds.map_or_else(|| unix_seconds.to_string(), |time| time.strftime("%F %T UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        assert_eq!([999, 1_250, 31_000_000, 250_000_000_000].map(time), ["999 ns", "1.25 us", "31.0 ms", "250 s"]);
    }
}
