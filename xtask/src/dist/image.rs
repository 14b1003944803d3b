//! The container image: the program alone, in OCI's layout (<https://github.com/opencontainers/image-spec>), made without a daemon.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Release,
    sums::sha256,
    tarball::{Tarball, gzip},
};

/// Where the program lies in the image.
pub(crate) const PROGRAM: &str = "usr/bin/probe";

/// Returns the layout as a tar archive, which `podman load` and `skopeo copy oci-archive:` take.
///
/// # Errors
/// As [`Tarball::file`].
pub(crate) fn archive(release: &Release, program: &[u8]) -> Result<Vec<u8>> {
    let Release { target, revision, contents } = release;
    let mut layer = Tarball::new(revision.epoch);
    layer.file(PROGRAM, 0o755, program)?;
    for licence in &contents.licences {
        layer.file(&format!("usr/share/licenses/probe/{}", licence.name), 0o644, &licence.bytes)?;
    }
    let layer = layer.done()?;
    let packed = gzip(&layer)?;
    let labels = json!({
        "org.opencontainers.image.title": "probe",
        "org.opencontainers.image.version": revision.version(),
        "org.opencontainers.image.revision": revision.commit,
        "org.opencontainers.image.licenses": "(MIT OR Apache-2.0) AND GPL-2.0-only",
    });
    let config = json!({
        "created": revision.time(),
        "architecture": target.deb,
        "os": "linux",
        "config": {
            "Entrypoint": [format!("/{PROGRAM}")],
            "Cmd": ["doctor"],
            "Env": ["PATH=/usr/bin"],
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        "history": [{ "created": revision.time(), "created_by": "cargo xtask dist" }],
    });
    let config = text(&config)?;
    let manifest = text(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
        "annotations": labels,
    }))?;
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["platform"] = json!({ "architecture": target.deb, "os": "linux" });
    entry["annotations"] =
        json!({ "org.opencontainers.image.ref.name": format!("probe:{}", tag(&revision.version())) });
    let index = text(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }))?;
    let mut whole = Tarball::new(revision.epoch);
    whole.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    whole.file("index.json", 0o644, &index)?;
    for blob in [&config, &manifest, &packed] {
        whole.file(&format!("blobs/sha256/{}", sha256(blob)), 0o644, blob)?;
    }
    whole.done()
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Returns a version as a tag, which may hold no plus sign.
fn tag(version: &str) -> String {
    version.replace('+', "-")
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

fn text(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("the image's description is no JSON")
}
