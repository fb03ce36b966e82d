//! Combinations of options that contradict each other, each refused with its reason.

use super::hypergradient::Method;
use super::{Order, SearchConfig};
use crate::error::{Error, Result};
use crate::relaxation::Noise;
use crate::space::Reads;
use crate::terms;

/// Refuses a contradiction.
pub(super) fn check(config: &SearchConfig) -> Result<()> {
    edges(config)?;
    curvature(config)?;
    order(config)?;
    let (options, edges) = (&config.optimisation, config.network.edge_normalization);
    terms::check(&options.arch_terms, &options.relaxation, edges, config.space.reads())?;
    perturbation(config)
}

/// A single-level step has no order.
fn order(config: &SearchConfig) -> Result<()> {
    let options = &config.optimisation;
    match (options.hypergradient.method(), options.order) {
        (Method::SingleLevel, Order::WeightsFirst) => Err(Error::config(
            "`order` is \"weights_first\" and `hypergradient` \"single_level\", which moves α and w by one backward pass; \
             leave `order` out",
        )),
        _ => Ok(()),
    }
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

/// The options of the edges of convolutional cells.
fn edges(config: &SearchConfig) -> Result<()> {
    let (network, relaxation) = (&config.network, &config.optimisation.relaxation);
    if config.space.reads() == Reads::Words {
        let given = [
            (network.partial_channels != 1, "partial_channels", "1", "a recurrent cell has no channels to divide"),
            (network.edge_normalization, "edge_normalization", "False", "a recurrent cell has no edge weights"),
            (
                network.auxiliary_skip.is_some(),
                "auxiliary_skip",
                "None",
                "every gate of a recurrent cell passes its state on",
            ),
        ];
        if let Some((_, name, default, reason)) = given.iter().find(|(given, ..)| *given) {
            return Err(Error::config(format!(
                "`{name}` applies to convolutional cells only: {reason}; pass {name}={default} with a recurrent space"
            )));
        }
    }
    if network.partial_channels != 1 && config.space.network.stages.change_channels() {
        return Err(Error::config(format!(
            "`partial_channels` is {}, but the `stages` of the space change the number of channels, and the channels that \
             bypass the operations cannot; leave `partial_channels` out",
            network.partial_channels
        )));
    }
    if network.edge_normalization && !relaxation.rule().shares() {
        let name = relaxation.name();
        return Err(Error::config(format!(
            "`edge_normalization` contradicts the relaxation `{name}`, whose weights do not add up to 1, \
             so its rows already weight the edges; leave one of them out"
        )));
    }
    Ok(())
}

/// A stop rule that reads the curvature needs it to be measured.
fn curvature(config: &SearchConfig) -> Result<()> {
    let options = &config.optimisation;
    match options.stop.as_ref().filter(|stop| stop.rule().reads_curvature() && options.curvature_every.is_none()) {
        Some(stop) => Err(Error::config(format!(
            "`stop` is \"{}\", which requires `curvature_every`; the published search has curvature_every=2",
            stop.name()
        ))),
        None => Ok(()),
    }
}
