//! Combinations of options that contradict each other, each refused with its reason.

use super::SearchConfig;
use super::hypergradient::Method;
use crate::error::{Error, Result};
use crate::relaxation::Noise;

/// Refuses a contradiction.
pub(super) fn check(config: &SearchConfig) -> Result<()> {
    perturbation(config)
}

/// A perturbation changes soft mixing weights of the weight step.
fn perturbation(config: &SearchConfig) -> Result<()> {
    let options = &config.optimisation;
    let Some(perturbation) = &options.perturbation else { return Ok(()) };
    let rule = options.relaxation.rule();
    let reason = match options.relaxation.name() {
        _ if rule.samples_one() => "draws one candidate per row, and near a one-hot vector there is nothing to smooth",
        _ if rule.noise() != Noise::None => "draws mixing weights itself, which is a perturbation already",
        "identity" => "has no bounds, to which perturbed mixing weights could be clipped",
        _ if options.hypergradient.method() == Method::SingleLevel => {
            return Err(Error::config(format!(
                "`perturbation` is {:?} and `hypergradient` \"single_level\": one backward pass serves α and w, but only \
                 w is trained at perturbed mixing weights; use another hypergradient",
                perturbation.name()
            )));
        }
        _ => return Ok(()),
    };
    Err(Error::config(format!(
        "`perturbation` is {:?} and `relaxation` {:?}, which {reason}; use the relaxation \"softmax\" or \"sigmoid\", or no \
         perturbation",
        perturbation.name(),
        options.relaxation.name()
    )))
}
