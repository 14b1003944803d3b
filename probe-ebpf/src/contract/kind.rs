//! The kind of an echo packet: IP version, request or reply, and its number as an index of counters.

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, with ICMP (RFC 792).
    V4,
    /// IPv6, with `ICMPv6` (RFC 4443).
    V6,
}

impl Family {
    /// Returns its number: 4 or 6.
    #[inline(always)]
    pub const fn version(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// Returns the IP version with this number.
    pub const fn of_version(version: u8) -> Option<Self> {
        match version {
            4 => Some(Self::V4),
            6 => Some(Self::V6),
            _ => None,
        }
    }
}

/// Request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Echo {
    /// Echo request: ICMP type 8, `ICMPv6` type 128.
    Request,
    /// Echo reply: ICMP type 0, `ICMPv6` type 129.
    Reply,
}

impl Echo {
    /// Returns its name in reports and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

/// Into this host or out of it, as its NIC sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Direction {
    /// Ingress.
    In,
    /// Egress.
    Out,
}

impl Direction {
    /// Returns its name in reports and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// One of the four kinds of echo packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema))]
pub struct Kind {
    /// IP version.
    pub family: Family,
    /// Request or reply.
    pub echo: Echo,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 4;

    /// Every kind, in the order of [`Kind::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self { family: Family::V4, echo: Echo::Request },
        Self { family: Family::V4, echo: Echo::Reply },
        Self { family: Family::V6, echo: Echo::Request },
        Self { family: Family::V6, echo: Echo::Reply },
    ];

    /// Returns its index in [`crate::Tally`] and [`crate::RuleIndex`]: below [`Kind::COUNT`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        let family = match self.family {
            Family::V4 => 0,
            Family::V6 => 2,
        };
        let echo = match self.echo {
            Echo::Request => 0,
            Echo::Reply => 1,
        };
        family + echo
    }

    /// Returns the ICMP or `ICMPv6` type on the wire.
    pub const fn icmp_type(self) -> u8 {
        match (self.family, self.echo) {
            (Family::V4, Echo::Request) => 8,
            (Family::V4, Echo::Reply) => 0,
            (Family::V6, Echo::Request) => 128,
            (Family::V6, Echo::Reply) => 129,
        }
    }

    /// Returns the kind with this ICMP type, if it is an echo type of that IP version.
    #[inline(always)]
    pub const fn from_icmp_type(family: Family, icmp_type: u8) -> Option<Self> {
        let echo = match (family, icmp_type) {
            (Family::V4, 8) | (Family::V6, 128) => Echo::Request,
            (Family::V4, 0) | (Family::V6, 129) => Echo::Reply,
            _ => return None,
        };
        Some(Self { family, echo })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_in_the_order_of_their_index() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn a_kind_has_one_type_and_that_type_is_of_no_other_kind() {
        for family in [Family::V4, Family::V6] {
            for icmp_type in 0..=u8::MAX {
                let with_it = Kind::ALL.into_iter().find(|kind| kind.family == family && kind.icmp_type() == icmp_type);
                assert_eq!(Kind::from_icmp_type(family, icmp_type), with_it);
            }
        }
    }
}
