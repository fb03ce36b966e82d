//! The fingerprint of a search: facts about its data and its loss, by which a resumed search recognises them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Facts by name. The engine compares them and does not interpret them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub BTreeMap<String, String>);

impl Fingerprint {
    /// The facts that differ: name, our value, their value; "nothing" for a fact that one side lacks. A checkpoint of
    /// an earlier version has no facts, and nothing differs from it.
    pub fn differences(&self, theirs: &Fingerprint) -> Vec<(String, String, String)> {
        if theirs.0.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&String> = self.0.keys().chain(theirs.0.keys()).collect();
        let value = |facts: &Fingerprint, name| facts.0.get(name).map_or("nothing", String::as_str).to_owned();
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != theirs.0.get(*name))
            .map(|name| (name.clone(), value(self, name), value(theirs, name)))
            .collect()
    }
}
