//! One id in the document of `probe observe`, as plain numbers.

use serde_json::Value;

/// What a document says of one id: requests and replies that entered, and that left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) entered: (u64, u64),
    pub(crate) left: (u64, u64),
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
}

/// The object of `id` on an IP version; `Null` where the id is not in the document.
pub(crate) fn of(document: &Value, id: u16, family: u8) -> Value {
    let ids = document["ids"].as_array().cloned().unwrap_or_default();
    ids.into_iter().find(|row| row["id"] == id && row["family"] == family).unwrap_or(Value::Null)
}

/// The row of `id` on IPv4; all zeros where the id is not in the document.
pub(crate) fn row(document: &Value, id: u16) -> Row {
    numbers(&of(document, id, 4))
}

/// The numbers of an id's object.
pub(crate) fn numbers(id: &Value) -> Row {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let side = |name: &str| (number(&id[name]["requests"]), number(&id[name]["replies"]));
    Row { entered: side("in"), left: side("out"), dropped: number(&id["dropped"]), lost: number(&id["lost"]) }
}

/// The only id in a document that is on this IP version.
pub(crate) fn only(document: &Value, family: u8) -> Value {
    let ids = document["ids"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<Value> = ids.into_iter().filter(|row| row["family"] == family).collect();
    if ids.len() == 1 { ids.remove(0) } else { Value::Null }
}
