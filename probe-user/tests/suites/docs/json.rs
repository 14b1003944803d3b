//! `docs/json/`: a page for each document that probe prints, made from its schema.

use std::fmt::Write as _;

use probe_user::report::schema::KNOWN;
use serde_json::Value;

use super::pages::{MADE, Pages};

pub(super) fn pages() -> Pages {
    let mut pages = Pages::new();
    let mut list = format!(
        "# JSON documents\n\n{MADE}With `--format json` stdout is one document (one a line for `receive` and `observe`), \
         whatever happens: a failure is\n`probe.error/1`. Fields may be added; none changes its meaning without a new \
         number. `probe schema NAME` prints the JSON Schema\n(draft 2020-12).\n\n| document | printed by |\n|---|---|\n"
    );
    for known in KNOWN {
        let short = known.name.trim_start_matches("probe.").replace('/', "-");
        let _ = writeln!(list, "| [{}]({short}.md) | {} |", known.name, known.from);
        pages.insert(format!("json/{short}.md"), page(known.name, known.from, &(known.schema)()));
    }
    pages.insert("json/README.md".to_owned(), list);
    pages
}

fn page(name: &str, from: &str, schema: &Value) -> String {
    let mut text = format!("# {name}\n\n{MADE}{}\n\nPrinted by: {from}.\n\n{}", said(schema), body(schema));
    for (part, schema) in schema["$defs"].as_object().into_iter().flatten() {
        let _ = write!(text, "\n## {part}\n\n{}\n\n{}", said(schema), body(schema));
    }
    text
}

/// Its description, in one line.
fn said(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The fields of an object, the words of an enum, or the type.
fn body(schema: &Value) -> String {
    let mut text = String::new();
    let choices = ["oneOf", "anyOf"].iter().find_map(|keyword| schema[keyword].as_array());
    if let Some(choices) = choices {
        for choice in choices {
            if choice["properties"].is_object() {
                let _ = writeln!(text, "One form: {}\n\n{}", said(choice), fields(choice));
            } else {
                let _ = writeln!(text, "- {}: {}", kind(choice), said(choice));
            }
        }
    }
    if schema["properties"].is_object() {
        text += &fields(schema);
    }
    if text.is_empty() { format!("{}\n", kind(schema)) } else { text }
}

fn fields(schema: &Value) -> String {
    let mut text = "| field | type | meaning |\n|---|---|---|\n".to_owned();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let absent = if required.contains(&name.as_str()) { "" } else { ", may be absent" };
        let _ = writeln!(text, "| `{name}` | {}{absent} | {} |", kind(field), said(field));
    }
    text
}

/// Its type, in words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let part = reference.trim_start_matches("#/$defs/");
        return format!("[{part}](#{})", part.to_lowercase());
    }
    if let Some(value) = schema.get("const") {
        return format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .map(|word| format!("`{}`", word.as_str().unwrap_or("null")))
            .collect::<Vec<_>>()
            .join(", ");
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        if let Some(choices) = schema[keyword].as_array() {
            return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(word) if word == "array" && schema["items"].is_object() => {
            format!("array of {}", kind(&schema["items"]))
        }
        Value::String(word) if word == "object" && schema["additionalProperties"].is_object() => {
            format!("object of {}", kind(&schema["additionalProperties"]))
        }
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}
