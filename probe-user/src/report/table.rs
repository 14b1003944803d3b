//! Columns of text, and numbers as people read them.

use std::io::{self, Write};

use super::style::{Style, Tone};

/// A column: its heading, and how its cells are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    heading: &'static str,
    align: Align,
}

/// The side of a column to which its cells are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

/// Creates a column of words.
pub(super) const fn words(heading: &'static str) -> Column {
    Column { heading, align: Align::Left }
}

/// Creates a column of numbers, aligned to the right.
pub(super) const fn numbers(heading: &'static str) -> Column {
    Column { heading, align: Align::Right }
}

/// Writes `rows` under `columns`, each as wide as its widest cell.
pub(super) fn write(out: &mut dyn Write, style: &Style, columns: &[Column], rows: &[Vec<String>]) -> io::Result<()> {
    for (tone, line) in lines(columns, rows) {
        writeln!(out, "{}", tone.map_or_else(|| line.clone(), |tone| style.paint(tone, &line)))?;
    }
    Ok(())
}

/// Returns the lines of the table, headings first, each with its colour.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>]) -> Vec<(Option<Tone>, String)> {
    let widths = widths(columns, rows);
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let below = rows.iter().map(|row| (None, line(row, columns, &widths)));
    std::iter::once((Some(Tone::Dim), line(&headings, columns, &widths))).chain(below).collect()
}

/// Returns the width of the table.
pub(super) fn width(columns: &[Column], rows: &[Vec<String>]) -> usize {
    widths(columns, rows).iter().map(|width| width + GAP.len()).sum::<usize>().saturating_sub(GAP.len())
}

const GAP: &str = "  ";

fn widths(columns: &[Column], rows: &[Vec<String>]) -> Vec<usize> {
    let width = |(index, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
        cells.chain([column.heading.chars().count()]).max().unwrap_or(0)
    };
    columns.iter().enumerate().map(width).collect()
}

fn line(cells: &[String], columns: &[Column], widths: &[usize]) -> String {
    let padded = |((cell, column), width): ((&String, &Column), &usize)| match column.align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    };
    let padded: Vec<String> = cells.iter().zip(columns).zip(widths).map(padded).collect();
    padded.join(GAP).trim_end().to_owned()
}

/// Formats a duration in nanoseconds with three digits and its unit.
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

/// Formats seconds since 1970 as date and time of day (UTC).
pub(super) fn date(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    seconds.map_or_else(|| unix_seconds.to_string(), |time| time.strftime("%F %T UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_words_left() {
        let columns = [numbers("hits"), words("who")];
        let rows = [vec!["5".to_owned(), "a".to_owned()], vec!["10000".to_owned(), "b".to_owned()]];
        let lines: Vec<String> = lines(&columns, &rows).into_iter().map(|(_, line)| line).collect();
        assert_eq!(lines, [" hits  who", "    5  a", "10000  b"]);
        assert_eq!(width(&columns, &rows), 10);
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!([999, 1_250, 31_000_000, 250_000_000_000].map(time), ["999 ns", "1.25 us", "31.0 ms", "250 s"]);
    }
}
