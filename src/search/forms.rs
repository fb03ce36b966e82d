//! The forms that a search runs with: those of the checkpoint it goes on from, or those that were measured.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cache::{FOLDER, FormCache};
use crate::checkpoint;
use crate::config::{SearchConfig, Tune};
use crate::error::{ErrorKind, Result};
use crate::event::{Event, Observer};
use crate::nn::{Needs, NetworkOptions, Tuner};
use crate::plan::{Form, Plan};

/// The forms for a lowered plan, by site; those of other sites are left to the rule. Each measurement is kept in
/// `cache` as soon as it is made.
pub fn forms(
    plan: &Plan,
    options: &NetworkOptions,
    config: &SearchConfig,
    cache: &FormCache,
    observer: &mut dyn Observer,
) -> Result<BTreeMap<String, Form>> {
    if let Some(folder) = config.checkpoint_dir.as_deref().filter(|_| config.resume)
        && let Some(newest) = checkpoint::checkpoints(Path::new(folder))?.last()
    {
        return checkpoint::load_forms(newest);
    }
    if config.tune == Tune::Off {
        return Ok(BTreeMap::new());
    }
    let mut known = cache.known();
    if config.tune == Tune::Full {
        let needs = Needs { method: config.hypergradient, batch: config.examples_at_once() };
        let tuner = Tuner::new(plan, options, needs)?;
        let missing: Vec<&str> = tuner.sites().filter(|site| !known.contains_key(*site)).collect();
        for (done, site) in missing.iter().enumerate() {
            match observer.poll() {
                // The search itself will end at its first look.
                Err(error) if error.kind == ErrorKind::Interrupted => break,
                other => other?,
            }
            observer.notify(&Event::Tuning { site, done, total: missing.len() })?;
            let form = match tuner.choose(site) {
                Err(error) if error.kind == ErrorKind::OutOfMemory => {
                    let message = format!("no memory to measure the forms of {site}, which follows the rule: {error}");
                    observer.notify(&Event::Warning { message: &message })?;
                    continue;
                }
                other => other?,
            };
            if let Err(error) = cache.keep(site, form)
                && done == 0
            {
                let message = format!("measured forms cannot be kept for later starts: {error}; set {FOLDER}");
                observer.notify(&Event::Warning { message: &message })?;
            }
            known.insert((*site).to_owned(), form);
        }
    }
    Ok(known)
}
