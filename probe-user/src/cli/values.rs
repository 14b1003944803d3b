//! Parses durations from the command line. Each error says what would have been right.

use std::time::Duration;

/// Parses a duration in seconds, fractions allowed: `2`, `0.05`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0 && *seconds <= 31_536_000.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("'{text}' is not a number of seconds from 0 to 31536000, such as 2 or 0.5"))
}

/// Parses a duration in seconds that is more than zero.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_take_fractions_and_nothing_wild() {
        assert_eq!(seconds("0.05"), Ok(Duration::from_millis(50)));
        for bad in ["", "-1", "nan", "inf", "1e9", "2s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(positive_seconds("0").is_err());
    }
}
