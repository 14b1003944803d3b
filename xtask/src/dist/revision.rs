//! Which state of the sources a release is made from, and its time: every time in a release is that one.

use std::env;

use anyhow::{Context as _, Result};

use crate::shell::{capture, repo};

/// A state of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// The commit, in short.
    pub(crate) commit: String,
    /// Whether there are changes that are not committed.
    pub(crate) is_changed: bool,
    /// The commit's time, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub(crate) epoch: u32,
}

impl Revision {
    /// Asks git, and `SOURCE_DATE_EPOCH` if it is set.
    ///
    /// # Errors
    /// These sources are no git checkout, or a time is no number.
    pub(crate) fn of_the_sources() -> Result<Self> {
        let git = |arguments: &[&str]| {
            let mut command = std::process::Command::new("git");
            capture(command.current_dir(repo()).args(arguments)).map(|text| text.trim().to_owned())
        };
        let commit = git(&["rev-parse", "--short=12", "HEAD"]).context("a release is made from a git checkout")?;
        let changed = git(&["status", "--porcelain", "--untracked-files=normal"])?;
        let time = match env::var("SOURCE_DATE_EPOCH") {
            Ok(time) if !time.is_empty() => time,
            _ => git(&["show", "--no-patch", "--format=%ct", "HEAD"])?,
        };
        let epoch = time.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {time}, not seconds since 1970"))?;
        Ok(Self { commit, is_changed: !changed.is_empty(), epoch })
    }

    /// Returns the version, which says so if the sources are not those of a commit.
    pub(crate) fn version(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        if self.is_changed { format!("{version}+changed") } else { version.to_owned() }
    }

    /// Returns what `probe --version` adds to its number.
    pub(crate) fn in_words(&self) -> String {
        if self.is_changed { format!("{} and changes", self.commit) } else { self.commit.clone() }
    }

    /// Returns its time in RFC 3339.
    pub(crate) fn time(&self) -> String {
        let (days, second) = (i64::from(self.epoch / 86_400), self.epoch % 86_400);
        let (year, month, day) = civil(days);
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

/// Returns year, month and day of a day since 1970 (<https://howardhinnant.github.io/date_algorithms.html>).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u32, is_changed: bool) -> Revision {
        Revision { commit: "0123456789ab".to_owned(), is_changed, epoch }
    }

    #[test]
    fn times_are_those_of_date() {
        assert_eq!(at(0, false).time(), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400, false).time(), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_796_092_767, false).time(), "2026-12-01T02:39:27Z");
        assert_eq!(at(u32::MAX, false).time(), "2106-02-07T06:28:15Z");
    }

    #[test]
    fn a_changed_tree_shows_in_the_version() {
        assert!(!at(0, false).version().contains("changed") && at(0, true).version().ends_with("+changed"));
        assert_eq!(at(0, true).in_words(), "0123456789ab and changes");
    }
}
