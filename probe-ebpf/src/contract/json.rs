//! How the contract's types appear in JSON: an IP version as 4 or 6, a hop by its name.

extern crate alloc;

use alloc::borrow::Cow;
use core::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

use super::{
    hop::{HOPS, Hop},
    kind::Family,
};

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.version())
    }
}

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = u8::deserialize(deserializer)?;
        let unknown = || D::Error::invalid_value(Unexpected::Unsigned(version.into()), &"an IP version, 4 or 6");
        Self::of_version(version).ok_or_else(unknown)
    }
}

impl JsonSchema for Family {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Family")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "IP version.", "type": "integer", "enum": [4, 6] })
    }
}

impl Serialize for Hop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Hop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HopName)
    }
}

impl JsonSchema for Hop {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Hop")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A checkpoint that a packet passes.",
            "type": "string",
            "enum": HOPS.map(|row| row.name),
        })
    }
}

/// Reads a hop by its name, also as the key of a map.
struct HopName;

impl Visitor<'_> for HopName {
    type Value = Hop;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a hop")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Hop, E> {
        Hop::named(name).ok_or_else(|| E::invalid_value(Unexpected::Str(name), &self))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, string::ToString};

    use super::*;
    use crate::contract::kind::{Direction, Echo, Kind};

    #[test]
    fn every_word_comes_back_as_it_went() {
        for kind in Kind::ALL {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&text).unwrap(), kind, "{text}");
        }
        for row in HOPS {
            let text = serde_json::to_string(&row.hop).unwrap();
            assert_eq!(text, std::format!("\"{}\"", row.name));
            assert_eq!(serde_json::from_str::<Hop>(&text).unwrap(), row.hop);
        }
        for direction in [Direction::In, Direction::Out] {
            let text = serde_json::to_string(&direction).unwrap();
            assert_eq!(serde_json::from_str::<Direction>(&text).unwrap(), direction);
        }
    }

    #[test]
    fn words_are_written_as_documents_have_them() {
        let kind = Kind { family: Family::V6, echo: Echo::Reply };
        assert_eq!(serde_json::to_string(&kind).unwrap(), r#"{"family":6,"echo":"reply"}"#);
        assert_eq!(serde_json::to_string(&[Direction::In, Direction::Out]).unwrap(), r#"["in","out"]"#);
        let by_hop = BTreeMap::from([(Hop::XdpIn, 3), (Hop::NfOutputFirst, 1)]);
        let text = serde_json::to_string(&by_hop).unwrap();
        assert_eq!(text, r#"{"nf_output_first":1,"xdp_in":3}"#);
        assert_eq!(serde_json::from_str::<BTreeMap<Hop, i32>>(&text).unwrap(), by_hop);
    }

    #[test]
    fn a_word_that_is_none_is_refused_with_what_it_should_be() {
        let hop = serde_json::from_str::<Hop>("\"xdp_out\"").unwrap_err().to_string();
        assert!(hop.contains("\"xdp_out\", expected the name of a hop"), "{hop}");
        let family = serde_json::from_str::<Family>("5").unwrap_err().to_string();
        assert!(family.contains("`5`, expected an IP version, 4 or 6"), "{family}");
        assert!(serde_json::from_str::<Echo>("\"Request\"").is_err());
    }

    #[test]
    fn the_schema_names_every_hop() {
        let schema = serde_json::to_value(schemars::schema_for!(Hop)).unwrap();
        let names = schema["enum"].as_array().unwrap();
        assert_eq!(names.len(), HOPS.len());
        assert!(HOPS.iter().all(|row| names.iter().any(|name| name == row.name)));
    }
}
