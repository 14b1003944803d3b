//! A validator for the JSON Schemas that probe prints. It knows the keywords that they use, and stops at any other; and
//! it takes no field that the schema does not name. (The crate `jsonschema` needs fifty crates more, one of them under
//! a licence that deny.toml doesn't allow.)

use serde_json::Value;

/// Keywords that say nothing about validity here.
const NOTES: [&str; 9] =
    ["$schema", "$defs", "title", "description", "format", "minimum", "maximum", "minItems", "maxItems"];

/// What is wrong with `value`, each with its place.
pub(crate) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Validator { root: schema }.check(schema, value, "$", &mut faults);
    faults
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(rules) = schema.as_object() else { return };
        for (keyword, rule) in rules {
            match keyword.as_str() {
                "type" => self.type_is(rule, value, at, faults),
                "properties" => self.fields(rules, value, at, faults),
                "required" => required(rule, value, at, faults),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{at}[{index}]"), faults);
                    }
                }
                "additionalProperties" if rules.get("properties").is_none() => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        self.check(rule, field, &format!("{at}.{name}"), faults);
                    }
                }
                "additionalProperties" => {}
                "$ref" => self.check(self.resolve(rule), value, at, faults),
                "anyOf" | "oneOf" => self.one_of(rule, value, at, faults),
                "enum" if !rule.as_array().is_some_and(|all| all.contains(value)) => {
                    faults.push(format!("{at}: {value} is none of {rule}"));
                }
                "const" if rule != value => faults.push(format!("{at}: {value} is not {rule}")),
                "enum" | "const" => {}
                note if NOTES.contains(&note) => {}
                other => faults.push(format!("{at}: the schema uses {other}, which this validator does not know")),
            }
        }
    }

    fn resolve(&self, reference: &Value) -> &Value {
        let pointer =
            reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a reference into the document");
        self.root.pointer(pointer).expect("a definition")
    }

    fn type_is(&self, rule: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let have = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let fits = |want: &Value| want == have || (want == "number" && have == "integer");
        let fine = rule.as_array().map_or_else(|| fits(rule), |all| all.iter().any(fits));
        if !fine {
            faults.push(format!("{at}: {value} is not of type {rule}"));
        }
    }

    fn fields(&self, rules: &serde_json::Map<String, Value>, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(fields) = value.as_object() else { return };
        for (name, field) in fields {
            match rules["properties"].get(name) {
                Some(rule) => self.check(rule, field, &format!("{at}.{name}"), faults),
                // What has several forms names its fields there.
                None if rules.contains_key("anyOf") => {}
                None => faults.push(format!("{at}.{name} is not in the schema")),
            }
        }
    }

    fn one_of(&self, rule: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let tried: Vec<Vec<String>> = rule
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| {
                let mut faults = Vec::new();
                self.check(one, value, at, &mut faults);
                faults
            })
            .collect();
        if !tried.iter().any(Vec::is_empty) {
            faults.extend(tried.into_iter().min_by_key(Vec::len).unwrap_or_default());
        }
    }
}

fn required(rule: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let missing = |name: &&Value| name.as_str().is_some_and(|name| value.get(name).is_none());
    for name in rule.as_array().into_iter().flatten().filter(missing) {
        faults.push(format!("{at} has no {name}"));
    }
}
