//! Selections: what picks an architecture at the end of an epoch and of the search.

use super::sampled;
use super::step::engine::State;
use crate::arch::{Architecture, Selection};
use crate::data::Source;
use crate::error::Result;
use crate::nn::{Network, Relaxed};
use crate::relaxation::{Restrictions, Tables};

/// A selection of a search. It may evaluate the network; it must leave the state as it was.
pub trait Select {
    /// The architecture at this point of the search.
    fn select(&self, at: &mut AtSelection) -> Result<Architecture>;
}

/// What a selection reads.
pub struct AtSelection<'s> {
    /// The network.
    pub network: &'s dyn Network,
    /// The network with its relaxation.
    pub relaxed: Relaxed<'s>,
    /// Its weights and logits.
    pub state: &'s State,
    /// The tables with their masks and frozen rows.
    pub restrictions: &'s Restrictions,
    /// The mean mixing weights by table, [rows, columns]; 0 where masked.
    pub strengths: &'s Tables,
    /// The training batches; start a pass before reading.
    pub train: &'s mut dyn Source,
    /// The validation batches in order; start a pass before reading.
    pub evaluation: &'s mut dyn Source,
    /// The number of the pass of the evaluation batches that belongs to this point.
    pub pass: u64,
    /// The seed of the search.
    pub seed: u64,
    /// Whether no step follows, so that this is the result.
    pub last: bool,
    /// Called between batches; an error ends the selection.
    pub poll: &'s mut dyn FnMut() -> Result<()>,
}

/// The rules by strength, and the one that samples. They see NaN in place of candidates that are not available.
impl Select for Selection {
    fn select(&self, at: &mut AtSelection) -> Result<Architecture> {
        if self.rule().samples() {
            return sampled::select(at, &self.at(0, 1));
        }
        let states = at.strengths.iter().zip(&at.restrictions.states);
        let strengths: Vec<_> = states.map(|((_, strengths), state)| state.selectable(strengths.clone())).collect();
        Ok(self.architecture(&at.restrictions.tables, &strengths))
    }
}
