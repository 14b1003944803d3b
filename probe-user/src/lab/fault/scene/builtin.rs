//! The built-in scenes: a file each.

use std::sync::{Arc, OnceLock};

use super::Scene;

/// Their names and texts, in the order of the catalogue.
pub const TEXTS: [(&str, &str); 1] = [("two-routers", include_str!("builtin/two-routers.toml"))];

/// Returns the built-in scenes.
pub fn scenes() -> &'static [Arc<Scene>] {
    static SCENES: OnceLock<Vec<Arc<Scene>>> = OnceLock::new();
    let read = |(name, text): &(&str, &str)| {
        Arc::new(Scene::parse(name, text).unwrap_or_else(|error| panic!("a test reads every text: {error}")))
    };
    SCENES.get_or_init(|| TEXTS.iter().map(read).collect())
}
