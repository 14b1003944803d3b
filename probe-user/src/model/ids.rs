//! Parses echo ids and sequence numbers. Each error says what would have been right.

use std::str::FromStr;

/// Parses a 16-bit echo id or sequence number, decimal or 0x-hex.
pub fn echo_number(text: &str) -> Result<u16, String> {
    let parsed = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .map_or_else(|| text.parse().ok(), |hex| u16::from_str_radix(hex, 16).ok());
    parsed.ok_or_else(|| format!("'{text}' is not a number from 0 to 65535 (or 0x0 to 0xffff)"))
}

/// One echo id or a range of them: `7`, `0x2b`, `100-199`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdRange {
    /// The first id of the range.
    pub first: u16,
    /// The last id of the range, inclusive.
    pub last: u16,
}

impl IdRange {
    /// Reports whether `id` is in the range.
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
            return Err(format!("'{text}' is backwards: write the smaller id first"));
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
    fn id_ranges_include_both_ends() {
        let range: IdRange = "100-199".parse().expect("a range");
        assert!(range.contains(100) && range.contains(199) && !range.contains(200));
        assert_eq!("0x2b".parse(), Ok(IdRange { first: 43, last: 43 }));
        assert!("9-3".parse::<IdRange>().is_err());
    }
}
