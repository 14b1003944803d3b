//! Whether a container image is one: every digest, size and name in its layout fits what it names.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use tar::Archive;

use crate::dist::{image::PROGRAM, sums::sha256};

/// Checks the image in this file, which must hold this program.
///
/// # Errors
/// What does not fit.
pub(crate) fn check(file: &Path, program: &[u8]) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let layout = files(&bytes).with_context(|| format!("{} is no tar archive", file.display()))?;
    layout_fits(&layout, program).with_context(|| format!("{} is no image", file.display()))
}

type Files = BTreeMap<String, Vec<u8>>;

fn layout_fits(layout: &Files, program: &[u8]) -> Result<()> {
    let version = json(layout.get("oci-layout").context("it has no oci-layout")?)?;
    ensure!(version["imageLayoutVersion"] == "1.0.0", "its layout has another version");
    for (name, bytes) in layout.iter().filter_map(|(name, bytes)| Some((name.strip_prefix("blobs/sha256/")?, bytes))) {
        ensure!(sha256(bytes) == name, "blob {name} is not what its name says");
    }
    let index = json(layout.get("index.json").context("it has no index.json")?)?;
    let manifest = json(blob(layout, &index["manifests"][0])?)?;
    let config = json(blob(layout, &manifest["config"])?)?;
    let layers = manifest["layers"].as_array().context("it has no layers")?;
    let sums = config["rootfs"]["diff_ids"].as_array().context("its configuration has no diff_ids")?;
    ensure!(layers.len() == sums.len(), "it has {} layers and {} diff_ids", layers.len(), sums.len());
    let mut root = Files::new();
    for (layer, sum) in layers.iter().zip(sums) {
        let mut unpacked = Vec::new();
        GzDecoder::new(blob(layout, layer)?.as_slice()).read_to_end(&mut unpacked).context("a layer is no gzip")?;
        ensure!(format!("sha256:{}", sha256(&unpacked)) == *sum, "a layer is not what diff_ids says");
        root.extend(files(&unpacked)?);
    }
    ensure!(config["os"] == "linux" && config["architecture"].is_string(), "its platform is missing");
    ensure!(config["config"]["Entrypoint"][0] == format!("/{PROGRAM}"), "its entry point is not the program");
    ensure!(root.get(PROGRAM).is_some_and(|bytes| bytes == program), "it does not hold the program");
    Ok(())
}

fn json(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).context("a part of it is no JSON")
}

/// Returns what a descriptor names.
fn blob<'a>(layout: &'a Files, descriptor: &Value) -> Result<&'a Vec<u8>> {
    let digest = descriptor["digest"].as_str().context("a descriptor has no digest")?;
    let name = format!("blobs/{}", digest.replace(':', "/"));
    let blob = layout.get(&name).with_context(|| format!("{name} is missing"))?;
    if descriptor["size"].as_u64() != u64::try_from(blob.len()).ok() {
        bail!("{name} has another size than its descriptor");
    }
    Ok(blob)
}

fn files(tar: &[u8]) -> Result<Files> {
    let mut found = Files::new();
    for entry in Archive::new(tar).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        found.insert(name, bytes);
    }
    Ok(found)
}
