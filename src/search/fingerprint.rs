//! The fingerprint of a search: facts about its data and its loss, by which a resumed search recognises them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::config::{Resume, SearchConfig};
use crate::error::{Error, Result};

/// The facts that are absent while a data set has not read its data; `_data/fingerprint.py` has the same list.
const HASHES: [&str; 3] = [".sample", ".labels", ".files"];

/// Facts by name. The engine only compares them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub BTreeMap<String, String>);

impl Fingerprint {
    /// The facts that differ: name, our value, their value; "nothing" for a fact that one side lacks. A hash that one
    /// side lacks is no difference: some data sets read their data at the first access, in one of several processes. A
    /// checkpoint of an earlier version has no facts, and nothing differs from it.
    pub fn differences(&self, theirs: &Fingerprint) -> Vec<(String, String, String)> {
        if theirs.0.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&String> = self.0.keys().chain(theirs.0.keys()).collect();
        let value = |facts: &Fingerprint, name| facts.0.get(name).map_or("nothing", String::as_str).to_owned();
        names
            .into_iter()
            .filter(|name| match (self.0.get(*name), theirs.0.get(*name)) {
                (Some(ours), Some(theirs)) => ours != theirs,
                _ => !HASHES.iter().any(|hash| name.ends_with(hash)),
            })
            .map(|name| (name.clone(), value(self, name), value(theirs, name)))
            .collect()
    }

    /// The fingerprint in a checkpoint, and with `Resume::Force` what differs of data and loss. Only the number of epochs
    /// may have changed since it was written, and only grown; with `Resume::Force` also the data and the loss.
    pub fn check(&self, config: &SearchConfig, path: &Path) -> Result<(Fingerprint, Option<String>)> {
        let (theirs, facts) = checkpoint::load_config(path)?;
        let fewer = config.optimisation.epochs < theirs.optimisation.epochs;
        let describe = |found: Vec<(String, String, String)>| -> Vec<String> {
            let text = |(name, ours, theirs)| format!("`{name}` is {ours}, but {theirs} in the checkpoint");
            found.into_iter().map(text).collect()
        };
        // Mean and deviation are computed from the data.
        let (of_data, of_config): (Vec<_>, Vec<_>) = config
            .differences(&theirs)
            .into_iter()
            .filter(|(field, ..)| field != "epochs" || fewer)
            .partition(|(field, ..)| ["mean", "std"].contains(&field.as_str()));
        let other = describe([of_data, self.differences(&facts)].concat());
        let mut changes = describe(of_config);
        let mut remedy = "On resume, only `epochs` may change, to a larger number".to_owned();
        if config.execution.resume != Resume::Force && !other.is_empty() {
            changes.extend_from_slice(&other);
            remedy += "; resume=\"force\" (--force on the command line) continues with other data or another loss";
        }
        if changes.is_empty() {
            return Ok((facts, (!other.is_empty()).then(|| other.join("; "))));
        }
        let changes = changes.join("; ");
        Err(Error::checkpoint(format!("{} belongs to another search: {changes}. {remedy}", path.display())))
    }
}
