//! Whom to send as, as a user names it: `PID`, `unit:NAME`, `container:ID`, `user:NAME`.

use std::str::FromStr;

/// Whom to send as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedIdentity {
    /// A process, by its id.
    Process(u32),
    /// The oldest process of a unit of systemd, by its whole name.
    Unit(String),
    /// The first process of a container, by its name or id.
    Container(String),
    /// A user, by name or number, in everything else as probe is.
    User(String),
}

/// The kinds of units that have processes; what has none of these endings is a service, as `systemctl` takes it.
const ENDINGS: [&str; 6] = [".service", ".scope", ".socket", ".mount", ".swap", ".slice"];

impl FromStr for WantedIdentity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            format!("'{text}' is neither the id of a process nor unit:NAME, container:ID (or its name), or user:NAME")
        };
        let Some((kind, name)) = text.split_once(':') else {
            return text.parse().ok().filter(|pid| *pid > 0).map(Self::Process).ok_or_else(refused);
        };
        let plain = !name.is_empty() && !name.contains('/');
        match kind {
            "unit" if plain && ENDINGS.iter().any(|ending| name.ends_with(ending)) => Ok(Self::Unit(name.to_owned())),
            "unit" if plain => Ok(Self::Unit(format!("{name}.service"))),
            "container" if plain => Ok(Self::Container(name.to_owned())),
            "user" if plain => Ok(Self::User(name.to_owned())),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_word_and_all_else_is_refused() {
        assert_eq!("77".parse(), Ok(WantedIdentity::Process(77)));
        assert_eq!("unit:app".parse(), Ok(WantedIdentity::Unit("app.service".into())));
        assert_eq!("unit:app@1.service".parse(), Ok(WantedIdentity::Unit("app@1.service".into())));
        assert_eq!("unit:session-1.scope".parse(), Ok(WantedIdentity::Unit("session-1.scope".into())));
        assert_eq!("container:web".parse(), Ok(WantedIdentity::Container("web".into())));
        assert_eq!("user:33".parse(), Ok(WantedIdentity::User("33".into())));
        for bad in ["", "0", "-1", "nobody", "unit:", "unit:a/../b", "pod:x", "user:", "4294967296"] {
            assert!(bad.parse::<WantedIdentity>().is_err(), "{bad}");
        }
    }
}
