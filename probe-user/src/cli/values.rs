//! How typed values are read: ids, seconds, lists. Each error says what would have been right.

use std::{str::FromStr, time::Duration};

/// A 16-bit echo id or sequence number, decimal or 0x-hex.
pub fn echo_number(text: &str) -> Result<u16, String> {
    let parsed = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .map_or_else(|| text.parse().ok(), |hex| u16::from_str_radix(hex, 16).ok());
    parsed.ok_or_else(|| format!("'{text}' is not a number from 0 to 65535 (or 0x0 to 0xffff)"))
}

/// A duration in seconds, with fractions: `2`, `0.05`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0 && *seconds <= 31_536_000.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("'{text}' is not a number of seconds from 0 to 31536000, such as 2 or 0.5"))
}

/// A duration above zero in seconds.
pub fn positive_seconds(text: &str) -> Result<Duration, String> {
    seconds(text)?.into_positive().ok_or_else(|| "must be more than 0 seconds".to_owned())
}

trait IntoPositive: Sized {
    fn into_positive(self) -> Option<Self>;
}

impl IntoPositive for Duration {
    fn into_positive(self) -> Option<Self> {
        (!self.is_zero()).then_some(self)
    }
}

/// One echo id or a range of them: `7`, `0x2b`, `100-199`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdRange {
    /// The first id of the range.
    pub first: u16,
    /// The last id of the range, which belongs to it.
    pub last: u16,
}

impl IdRange {
    /// Whether `id` is in the range.
    pub fn contains(self, id: u16) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl FromStr for IdRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: echo_number(first)?, last: echo_number(last)? };
        if range.first > range.last {
            return Err(format!("'{text}' runs backwards: write the smaller id first"));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_decimal_or_hex() {
        assert_eq!(echo_number("43"), Ok(43));
        assert_eq!(echo_number("0x2b"), Ok(43));
        assert_eq!(echo_number("0XFFFF"), Ok(65535));
    }

    #[test]
    fn a_bad_id_is_told_with_the_range() {
        for bad in ["", "65536", "-1", "0x", "0x10000", "seven", "1 2"] {
            assert!(echo_number(bad).is_err_and(|why| why.contains("0 to 65535")), "{bad}");
        }
    }

    #[test]
    fn seconds_take_fractions_and_nothing_wild() {
        assert_eq!(seconds("0.05"), Ok(Duration::from_millis(50)));
        for bad in ["", "-1", "nan", "inf", "1e9", "2s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(positive_seconds("0").is_err());
    }

    #[test]
    fn id_ranges_include_both_ends() {
        let range: IdRange = "100-199".parse().expect("a range");
        assert!(range.contains(100) && range.contains(199) && !range.contains(200));
        assert_eq!("0x2b".parse(), Ok(IdRange { first: 43, last: 43 }));
        assert!("9-3".parse::<IdRange>().is_err());
    }
}
