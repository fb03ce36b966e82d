//! The published genotypes.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::Genotype;

/// The names in `published.json`.
const NAMES: &[&str] = &["DARTS_V1", "DARTS_V2", "PC_DARTS_CIFAR", "PC_DARTS_IMAGENET", "DARTS_RNN_V1", "DARTS_RNN_V2"];

static PUBLISHED: LazyLock<Vec<(&'static str, Genotype)>> = LazyLock::new(|| {
    let written: Map<String, Value> = serde_json::from_str(include_str!("published.json")).unwrap_or_default();
    let read = |name: &'static str| Some((name, Genotype::from_value(written.get(name)?).ok()?));
    NAMES.iter().copied().filter_map(read).collect()
});

/// The genotypes that the papers print, by name.
pub fn published() -> &'static [(&'static str, Genotype)] {
    &PUBLISHED
}
