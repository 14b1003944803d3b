//! The list of components in `CycloneDX` 1.5 (<https://cyclonedx.org/docs/1.5/json/>).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Release,
    metadata::{Metadata, Part},
};

/// Returns the list as JSON.
///
/// # Errors
/// Never in practice: it is data of this program.
pub(crate) fn list(release: &Release, metadata: &Metadata) -> Result<Vec<u8>> {
    let Release { target, revision, .. } = release;
    let mut components: Vec<Value> = metadata.parts.iter().map(component).collect();
    components.push(json!({
        "type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": metadata.rust,
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    }));
    let libc = if target.is_glibc() { ("glibc", "LGPL-2.1-or-later") } else { ("musl", "MIT") };
    components.push(json!({
        "type": "library", "bom-ref": libc.0, "name": libc.0, "licenses": [{ "license": { "id": libc.1 } }],
    }));
    let everything: Vec<Value> = components.iter().map(|component| component["bom-ref"].clone()).collect();
    let probe = format!("pkg:generic/probe@{}", revision.version());
    let whole = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": revision.time(),
            "component": {
                "type": "application", "bom-ref": probe, "name": "probe", "version": revision.version(), "purl": probe,
                "licenses": [{ "expression": "(MIT OR Apache-2.0) AND GPL-2.0-only" }],
                "properties": [
                    { "name": "probe:commit", "value": revision.in_words() },
                    { "name": "probe:target", "value": target.triple },
                ],
            },
        },
        "components": components,
        "dependencies": [{ "ref": probe, "dependsOn": everything }],
    });
    let mut text = serde_json::to_vec_pretty(&whole).context("the list is no JSON")?;
    text.push(b'\n');
    Ok(text)
}

fn component(part: &Part) -> Value {
    let purl = format!("pkg:cargo/{}@{}", part.name, part.version.replace('+', "%2B"));
    let hashes: Vec<Value> = part.sha256.iter().map(|sum| json!({ "alg": "SHA-256", "content": sum })).collect();
    json!({
        "type": "library", "bom-ref": purl, "name": part.name, "version": part.version, "purl": purl,
        "licenses": [{ "expression": part.licence }], "hashes": hashes,
    })
}
