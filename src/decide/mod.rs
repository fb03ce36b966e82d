//! Deciders: what a search decides at the end of an epoch, on the host. Each is one file and one line in the list.
//!
//! The configuration names deciders, so this module uses no libtorch.

mod curvature;
mod skip_connections;

use ndarray::Array2;

use crate::arch::{Architecture, Decision, LogitTable};
use crate::error::Result;
use crate::event::EpochRecord;
use crate::json::Field;
use crate::relaxation::TableState;
use crate::variant::{Chosen, Variant};

/// A decider.
pub trait Decide: Variant {
    /// How many epochs back a decision may return: the states after so many earlier epochs are kept. `values`: the
    /// parameters; `curvature_every`: every how many epochs the curvature is measured.
    fn keeps(&self, _values: &[f64], _curvature_every: Option<usize>) -> usize {
        0
    }

    /// Whether it reads the curvature in the records of epochs.
    fn reads_curvature(&self) -> bool {
        false
    }

    /// An error if the decider cannot work on these tables. Called before the first step.
    fn check(&self, _tables: &[LogitTable]) -> Result<()> {
        Ok(())
    }

    /// The decisions at the end of an epoch, in the order in which they are applied. It must be a function of its
    /// arguments alone, so that a resumed search decides the same. `values`: the parameters.
    fn decide(&self, at: &AtEpochEnd, values: &[f64]) -> Result<Vec<Decision>>;
}

/// What a decider knows: the end of an epoch, evaluation included.
#[derive(Debug)]
pub struct AtEpochEnd<'a> {
    /// The number of the epoch, from 0.
    pub epoch: usize,
    /// The number of epochs of the search.
    pub epochs: usize,
    /// The first epoch that moves α; before it, α is what was drawn.
    pub arch_start_epoch: usize,
    /// The tables of logits.
    pub tables: &'a [LogitTable],
    /// Their masks and frozen rows.
    pub states: &'a [TableState],
    /// α by table, [rows, columns]; NaN where masked.
    pub alphas: &'a [(String, Array2<f64>)],
    /// The mean mixing weights by table, [rows, columns]; 0 where masked.
    pub strengths: &'a [(String, Array2<f64>)],
    /// What the selection picks.
    pub architecture: &'a Architecture,
    /// The records of all epochs, this one included.
    pub history: &'a [EpochRecord],
    /// The decisions so far, each with the number of its epoch; those before a roll back are included.
    pub decisions: &'a [(usize, Decision)],
    /// The seed of the search.
    pub seed: u64,
}

/// All deciders.
pub const ALL: &[&dyn Decide] = &[&skip_connections::SkipConnections, &curvature::Curvature];

/// A decider with the values of its parameters.
pub type Stop = Chosen<dyn Decide>;

/// The decider that a field of a configuration gives.
pub(crate) fn read(field: &Field) -> Result<Stop> {
    Chosen::read(field, ALL)
}
