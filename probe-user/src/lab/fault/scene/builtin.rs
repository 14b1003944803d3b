//! The built-in scenes: a file each.

use std::sync::{Arc, OnceLock};

use super::Scene;

/// Their names and texts, in the order of the catalogue.
pub const TEXTS: [(&str, &str); 13] = [
    ("one-link", include_str!("builtin/one-link.toml")),
    ("marked", include_str!("builtin/marked.toml")),
    ("uplinks", include_str!("builtin/uplinks.toml")),
    ("two-routers", include_str!("builtin/two-routers.toml")),
    ("asymmetric", include_str!("builtin/asymmetric.toml")),
    ("container", include_str!("builtin/container.toml")),
    ("bridged", include_str!("builtin/bridged.toml")),
    ("dnat", include_str!("builtin/dnat.toml")),
    ("hairpin", include_str!("builtin/hairpin.toml")),
    ("policy-routing", include_str!("builtin/policy-routing.toml")),
    ("ecmp", include_str!("builtin/ecmp.toml")),
    ("pods", include_str!("builtin/pods.toml")),
    ("vrf", include_str!("builtin/vrf.toml")),
];

/// Returns the built-in scenes.
pub fn scenes() -> &'static [Arc<Scene>] {
    static SCENES: OnceLock<Vec<Arc<Scene>>> = OnceLock::new();
    let read = |(name, text): &(&str, &str)| {
        Arc::new(Scene::parse(name, text).unwrap_or_else(|error| panic!("a test reads every text: {error}")))
    };
    SCENES.get_or_init(|| TEXTS.iter().map(read).collect())
}
