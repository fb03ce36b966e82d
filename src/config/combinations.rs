//! Combinations of options that contradict themselves, each with the reason.

use super::SearchConfig;
use crate::error::{Error, Result};
use crate::space::Reads;

/// An error for the first contradiction.
pub(super) fn check(config: &SearchConfig) -> Result<()> {
    edges(config)
}

/// The options of the edges of convolutional cells.
fn edges(config: &SearchConfig) -> Result<()> {
    let (network, relaxation) = (&config.network, &config.optimisation.relaxation);
    if config.space.reads() == Reads::Words {
        let given = [
            ("partial_channels", network.partial_channels != 1, "a recurrent cell has no channels to divide"),
            ("edge_normalization", network.edge_normalization, "a recurrent cell has no edge weights"),
            ("auxiliary_skip", network.auxiliary_skip.is_some(), "every gate of a recurrent cell passes its state on"),
        ];
        if let Some((name, _, reason)) = given.iter().find(|(_, given, _)| *given) {
            return Err(Error::config(format!(
                "`{name}` applies to convolutional cells only: {reason}; leave it out with a recurrent space"
            )));
        }
    }
    if network.edge_normalization && !relaxation.rule().shares() {
        let name = relaxation.name();
        return Err(Error::config(format!(
            "`edge_normalization` contradicts the relaxation `{name}`, whose weights are not shares of 1: the scale of \
             its rows already weights the edges; leave one of them out"
        )));
    }
    Ok(())
}
