//! The JSON Schema (draft 2020-12) of every document that probe prints, and their list.

use std::io::{self, Write};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Document, Style,
    doctor::Checkup,
    echo::EchoSeen,
    experiment::Experiment,
    experiments::ExperimentList,
    explained::Explained,
    failure::FailureDocument,
    faults::{FaultList, FaultsReport},
    filters::Filters,
    lab::LabState,
    models::{ModelList, ModelsReport},
    observation::Observation,
    sent::Sent,
    table,
};
use crate::{
    diagnosis::Diagnosis,
    middlebox::datasheet::{Datasheet, compare::Comparison},
};

/// A document that probe prints.
#[derive(Clone, Copy, Debug)]
pub struct SchemaEntry {
    /// Its name and version: the value of its field `schema`.
    pub name: &'static str,
    /// Which commands print it.
    pub from: &'static str,
    /// Its JSON Schema.
    pub schema: fn() -> Value,
}

const fn known<D: Document + JsonSchema>(from: &'static str) -> SchemaEntry {
    SchemaEntry { name: D::SCHEMA, from, schema: schema_of::<D> }
}

/// Every document, by name.
pub const KNOWN: [SchemaEntry; 18] = [
    known::<Comparison>("characterize --compare"),
    known::<Datasheet>("characterize"),
    known::<Diagnosis>("diagnose"),
    known::<Checkup>("doctor"),
    known::<EchoSeen>("receive, one line per packet"),
    known::<FailureDocument<'static>>("every command, with exit status 2"),
    known::<Experiment>("experiment; lab, which lists all its runs in `experiments`"),
    known::<ExperimentList>("experiment --list"),
    known::<Explained>("characterize --explain"),
    known::<FaultList>("lab faults --list"),
    known::<FaultsReport>("lab faults"),
    known::<Filters>("filter list, add, remove, clear"),
    known::<LabState>("lab up, lab down"),
    known::<ModelList>("lab characterize --list"),
    known::<ModelsReport>("lab characterize"),
    known::<Observation>("observe, one line per refresh"),
    known::<Schemas>("schema --list"),
    known::<Sent>("send"),
];

/// Returns the schema with this name, with or without `probe.` and version.
pub fn named(name: &str) -> Option<&'static SchemaEntry> {
    let short = |known: &SchemaEntry| known.name.trim_start_matches("probe.").split('/').next() == Some(name);
    KNOWN.iter().find(|known| known.name == name || short(known))
}

/// Returns the schema of `D` as it is printed: its fields, preceded by the field `schema`.
fn schema_of<D: Document + JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<D>().to_value();
    define_parts(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), D::SCHEMA.into());
        if let Some(properties) = object.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
            properties.insert("schema".into(), json!({ "const": D::SCHEMA, "description": "What document this is." }));
        }
        if let Some(required) = object.entry("required").or_insert_with(|| json!([])).as_array_mut() {
            required.insert(0, "schema".into());
        }
    }
    schema
}

/// Gives the parts of a document that are documents of the same kind a definition of their own, since they have no
/// field `schema`.
fn define_parts(schema: &mut Value) {
    const PART: &str = "Part";
    if redirect(schema, &format!("#/$defs/{PART}")) == 0 {
        return;
    }
    let mut part = schema.clone();
    if let Some(object) = part.as_object_mut() {
        for keyword in ["$schema", "$defs", "title"] {
            object.remove(keyword);
        }
    }
    schema["$defs"][PART] = part;
}

/// Redirects every reference to the whole document to `target`, and returns how many there were.
fn redirect(schema: &mut Value, target: &str) -> usize {
    match schema {
        Value::Object(object) => {
            let own = object.get_mut("$ref").filter(|reference| **reference == "#").map(|whole| *whole = target.into());
            let below: usize = object.values_mut().map(|value| redirect(value, target)).sum();
            usize::from(own.is_some()) + below
        }
        Value::Array(items) => items.iter_mut().map(|item| redirect(item, target)).sum(),
        _ => 0,
    }
}

/// `probe.schemas/1`: the names of all documents.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Schemas {
    /// One for each.
    pub schemas: Vec<SchemaRow>,
}

/// A document that probe prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SchemaRow {
    /// Its name and version.
    pub name: &'static str,
    /// Which commands print it.
    pub from: &'static str,
}

impl Schemas {
    /// Lists all of them.
    pub fn all() -> Self {
        Self { schemas: KNOWN.iter().map(|known| SchemaRow { name: known.name, from: known.from }).collect() }
    }
}

impl Document for Schemas {
    const SCHEMA: &'static str = "probe.schemas/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let rows: Vec<_> = self.schemas.iter().map(|row| vec![row.name.to_owned(), row.from.to_owned()]).collect();
        table::write(out, style, &["document", "printed by"].map(table::words), &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_by_its_full_or_its_short_name() {
        assert_eq!(named("probe.diagnosis/1").map(|known| known.name), Some("probe.diagnosis/1"));
        assert_eq!(named("diagnosis").map(|known| known.name), Some("probe.diagnosis/1"));
        assert!(named("diagnosis/2").is_none());
    }

    #[test]
    fn names_are_sorted_and_differ() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
