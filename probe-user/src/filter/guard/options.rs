//! The options of a guard, and how they are passed to the kernel half.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use probe_ebpf::{
    GuardConfig,
    guard::{
        KEY_ANSWERER, KEY_ASKER, KEY_CODE, KEY_ID, KEY_SEQ, PROTECT_IN, PROTECT_OUT, REFRESH_REPLY, REFRESH_REQUEST,
        WAYS,
    },
};

use crate::{error::Mend, model::duration::nanoseconds};

/// The most states that a guard's table can hold: 56 MiB.
pub const MAX_STATES: u32 = 1 << 20;

/// The options of a guard. The default is a security group as clouds have it: replies that come in pass if a request with
/// the same addresses and the same id went out, until a minute after its last packet (RFC 5508 REQ-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardOptions {
    /// Whose replies it judges.
    pub protect: Protect,
    /// The fields that distinguish states.
    pub key: StateKey,
    /// Which ICMP codes it accepts.
    pub code: CodeRule,
    /// How long a state lives.
    pub timeout: Duration,
    /// How long an answered state lives; `None`: as long as an unanswered one.
    pub timeout_after_reply: Option<Duration>,
    /// What restarts a state's timeout.
    pub refresh: Refresh,
    /// How many replies pass for each request; `None`: any number.
    pub replies: Option<NonZeroU32>,
    /// What happens to requests in the direction of the judged replies.
    pub requests: RequestPolicy,
    /// How many states the table holds, rounded up to a power of two.
    pub states: u32,
    /// Whether it drops.
    pub enforce: Enforce,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self {
            protect: Protect::In,
            key: StateKey::ADDRESSES_AND_ID,
            code: CodeRule::Any,
            timeout: Duration::from_secs(60),
            timeout_after_reply: None,
            refresh: Refresh::EVERY,
            replies: None,
            requests: RequestPolicy::Allow,
            states: 1 << 16,
            enforce: Enforce::Drop,
        }
    }
}

/// Whose replies a guard judges, as its NIC sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protect {
    /// Replies that come in, by requests that went out
    In,
    /// Replies that go out, by requests that came in
    Out,
    /// Both, each by the other way's requests
    Both,
}

impl Protect {
    /// Returns its name on the command line and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Both => "both",
        }
    }

    const fn bits(self) -> u32 {
        match self {
            Self::In => PROTECT_IN,
            Self::Out => PROTECT_OUT,
            Self::Both => PROTECT_IN | PROTECT_OUT,
        }
    }
}

/// Which ICMP codes a guard accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRule {
    /// Any.
    Any,
    /// Only 0: requests with another code make no state, and replies with another are dropped.
    Zero,
}

/// What happens to requests in the direction of the judged replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestPolicy {
    /// They pass.
    Allow,
    /// They are dropped, as by a security group without an inbound rule.
    Deny,
}

/// Whether a guard drops packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforce {
    /// It drops them.
    Drop,
    /// It only judges and counts.
    DryRun,
}

/// The fields of a packet that distinguish states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateKey(u32);

impl StateKey {
    /// Both addresses and the id.
    pub const ADDRESSES_AND_ID: Self = Self(KEY_ASKER | KEY_ANSWERER | KEY_ID);

    /// Both addresses.
    pub const ADDRESSES: Self = Self(KEY_ASKER | KEY_ANSWERER);

    /// Returns these fields and `more`.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// The id alone.
    pub const ID: Self = Self(KEY_ID);
    /// The sequence number alone.
    pub const SEQ: Self = Self(KEY_SEQ);
    /// The ICMP code alone.
    pub const CODE: Self = Self(KEY_CODE);
    /// The address of the end that sends requests, alone.
    pub const SOURCE: Self = Self(KEY_ASKER);
    /// The address of the end that sends replies, alone.
    pub const DESTINATION: Self = Self(KEY_ANSWERER);

    /// Returns the bits as the kernel half has them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns the names of its fields.
    pub fn names(self) -> Vec<&'static str> {
        let mut left = self.0;
        let mut names = Vec::new();
        for (name, field) in FIELDS {
            if left & field.0 == field.0 {
                names.push(name);
                left &= !field.0;
            }
        }
        names
    }
}

/// The usual names of the fields; they are meant as in a request.
const FIELDS: [(&str, StateKey); 6] = [
    ("addresses", StateKey::ADDRESSES),
    ("source", StateKey::SOURCE),
    ("destination", StateKey::DESTINATION),
    ("id", StateKey::ID),
    ("seq", StateKey::SEQ),
    ("code", StateKey::CODE),
];

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl FromStr for StateKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let field = |word: &str| FIELDS.iter().find(|(name, _)| *name == word).map(|(_, field)| *field);
        let fields = text.split(',').map(|word| {
            let names = FIELDS.map(|(name, _)| name).join(", ");
            field(word.trim()).ok_or_else(|| format!("'{word}' is not a field of a ping; the fields are {names}"))
        });
        fields.reduce(|all, next| Ok(all?.and(next?))).unwrap_or_else(|| Err("a key needs a field".to_owned()))
    }
}

/// Which packets restart a state's timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refresh(u32);

impl Refresh {
    /// Every packet that passes for it.
    pub const EVERY: Self = Self(REFRESH_REQUEST | REFRESH_REPLY);
    /// Further requests.
    pub const REQUESTS: Self = Self(REFRESH_REQUEST);
    /// Replies.
    pub const REPLIES: Self = Self(REFRESH_REPLY);
    /// None: a state's lifetime counts from its first request, whatever follows.
    pub const NOTHING: Self = Self(0);

    /// Returns the names of those packets.
    pub fn names(self) -> Vec<&'static str> {
        let all = [("request", REFRESH_REQUEST), ("reply", REFRESH_REPLY)];
        all.into_iter().filter(|(_, bit)| self.0 & bit != 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::NOTHING { "none".to_owned() } else { self.names().join(",") }.as_str())
    }
}

impl FromStr for Refresh {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::NOTHING);
        }
        let mut refresh = Self::NOTHING;
        for word in text.split(',') {
            refresh.0 |= match word.trim() {
                "request" => REFRESH_REQUEST,
                "reply" => REFRESH_REPLY,
                _ => return Err(format!("'{word}' is neither request nor reply; 'none' stands alone")),
            };
        }
        Ok(refresh)
    }
}

/// Why these options make no guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Requests would be dropped in both directions.
    #[error("a guard that drops requests in both directions lets no ping through, so no reply could ever pass")]
    NothingPasses,
    /// The table is too small or too large.
    #[error("a guard's table has room for {WAYS} to {MAX_STATES} states, not {0}")]
    States(u32),
    /// No field distinguishes states.
    #[error("a guard needs a field that distinguishes pings")]
    EmptyKey,
}

impl Mend for GuardError {
    fn fix(&self) -> String {
        match self {
            Self::NothingPasses => {
                "choose --protect in or out, or drop all echo: probe filter add --all-echo".to_owned()
            }
            Self::States(_) => format!("choose --states from {WAYS} to {MAX_STATES}"),
            Self::EmptyKey => "choose one: --key addresses,id".to_owned(),
        }
    }
}

impl GuardOptions {
    /// Returns the configuration for the kernel half, with the `secret` of the table's hash.
    ///
    /// # Errors
    /// [`GuardError`] if the options contradict each other.
    pub fn config(&self, secret: [u64; 5]) -> Result<GuardConfig, GuardError> {
        if self.requests == RequestPolicy::Deny && self.protect == Protect::Both {
            return Err(GuardError::NothingPasses);
        }
        if self.key.0 == 0 {
            return Err(GuardError::EmptyKey);
        }
        if !(WAYS as u32..=MAX_STATES).contains(&self.states) {
            return Err(GuardError::States(self.states));
        }
        Ok(GuardConfig {
            timeout_ns: nanoseconds(self.timeout),
            answered_timeout_ns: nanoseconds(self.timeout_after_reply.unwrap_or(self.timeout)),
            deadline_ns: 0,
            secret,
            set_mask: self.states.next_power_of_two() / WAYS as u32 - 1,
            key: self.key.0,
            protect: self.protect.bits(),
            refresh: self.refresh.0,
            first_reply_counts: u32::from(self.timeout_after_reply.is_some()),
            replies: self.replies.map_or(0, NonZeroU32::get),
            code_zero: u32::from(self.code == CodeRule::Zero),
            deny_requests: u32::from(self.requests == RequestPolicy::Deny),
            dry_run: u32::from(self.enforce == Enforce::DryRun),
            test_clock: 0,
        })
    }

    /// Reads the options back from the kernel half's configuration.
    pub fn of(config: &GuardConfig) -> Self {
        Self {
            protect: match config.protect {
                PROTECT_IN => Protect::In,
                PROTECT_OUT => Protect::Out,
                _ => Protect::Both,
            },
            key: StateKey(config.key),
            code: if config.code_zero == 0 { CodeRule::Any } else { CodeRule::Zero },
            timeout: Duration::from_nanos(config.timeout_ns),
            timeout_after_reply: (config.first_reply_counts != 0)
                .then(|| Duration::from_nanos(config.answered_timeout_ns)),
            refresh: Refresh(config.refresh),
            replies: NonZeroU32::new(config.replies),
            requests: if config.deny_requests == 0 { RequestPolicy::Allow } else { RequestPolicy::Deny },
            states: (config.set_mask + 1) * WAYS as u32,
            enforce: if config.dry_run == 0 { Enforce::Drop } else { Enforce::DryRun },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        for text in ["addresses,id", "id", "source,seq", "addresses,id,seq,code", "destination,code"] {
            assert_eq!(text.parse::<StateKey>().map(|key| key.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("source,destination".parse(), Ok(StateKey::ADDRESSES));
        for bad in ["", "addresses,", "port", "none"] {
            let error = bad.parse::<StateKey>().expect_err(bad);
            assert!(error.contains("the fields are addresses, source,"), "{error}");
        }
    }

    #[test]
    fn a_refresh_is_read_as_it_is_written() {
        for text in ["request,reply", "request", "reply", "none"] {
            assert_eq!(text.parse::<Refresh>().map(|refresh| refresh.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "none,reply", "every"] {
            assert!(bad.parse::<Refresh>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_kernel_half_is_told_what_was_asked_for() {
        let options = GuardOptions {
            protect: Protect::Out,
            key: StateKey::ID.and(StateKey::SEQ),
            code: CodeRule::Zero,
            timeout: Duration::from_millis(1_500),
            timeout_after_reply: Some(Duration::from_millis(700)),
            refresh: Refresh::REPLIES,
            replies: NonZeroU32::new(3),
            requests: RequestPolicy::Deny,
            states: 4096,
            enforce: Enforce::DryRun,
        };
        let config = options.config([7; 5]).expect("they agree");
        assert_eq!(GuardOptions::of(&config), options);
        assert_eq!((config.set_mask, config.timeout_ns, config.secret), (255, 1_500_000_000, [7; 5]));
        let all = GuardOptions::default().config([0; 5]).map(|config| GuardOptions::of(&config));
        assert_eq!(all, Ok(GuardOptions::default()));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let with = |change: fn(&mut GuardOptions)| {
            let mut options = GuardOptions::default();
            change(&mut options);
            options.config([0; 5]).map(|config| config.set_mask)
        };
        let deny_both = |options: &mut GuardOptions| {
            (options.requests, options.protect) = (RequestPolicy::Deny, Protect::Both);
        };
        assert_eq!(with(deny_both), Err(GuardError::NothingPasses));
        assert_eq!(with(|options| options.key = StateKey(0)), Err(GuardError::EmptyKey));
        assert_eq!(with(|options| options.states = 15), Err(GuardError::States(15)));
        assert_eq!(with(|options| options.states = MAX_STATES + 1), Err(GuardError::States(MAX_STATES + 1)));
        assert_eq!(with(|options| options.states = 17), Ok(1));
    }
}
