//! Deciders: what a search decides at the end of an epoch, on the host. Each is one file and one line in the list.
//!
//! The configuration names deciders, so this module uses no libtorch.

mod skip_connections;

use ndarray::Array2;
use serde::{Serialize, Serializer};

use crate::arch::{Architecture, Decision, LogitTable};
use crate::error::Result;
use crate::event::EpochRecord;
use crate::json::Field;
use crate::relaxation::TableState;
use crate::variant::{Chosen, Spec};

/// A decider.
pub trait Decide {
    /// The name and the parameters.
    fn spec(&self) -> &'static Spec;

    /// How many epochs back a decision may return: the states after so many earlier epochs are kept.
    fn keeps(&self) -> usize {
        0
    }

    /// An error if the decider cannot work on these tables. Called before the first step.
    fn check(&self, _tables: &[LogitTable]) -> Result<()> {
        Ok(())
    }

    /// The decisions at the end of an epoch, in the order in which they are applied. It must be a function of its
    /// argument alone, so that a resumed search decides the same.
    fn decide(&self, at: &AtEpochEnd) -> Result<Vec<Decision>>;
}

/// What a decider knows: the end of an epoch, evaluation included.
#[derive(Debug)]
pub struct AtEpochEnd<'a> {
    /// The number of the epoch, from 0.
    pub epoch: usize,
    /// The number of epochs of the search.
    pub epochs: usize,
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

/// A decider as a configuration names it.
pub struct Variant {
    /// The name and the parameters.
    pub spec: &'static Spec,
    /// The decider with these values of its parameters.
    pub make: fn(&[f64]) -> Box<dyn Decide>,
}

/// All deciders.
pub const ALL: &[Variant] = &[skip_connections::VARIANT];

/// A decider with the values of its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop(Chosen);

impl Stop {
    /// The decider that a field of a configuration gives.
    pub(crate) fn read(field: &Field) -> Result<Stop> {
        let specs: Vec<&Spec> = ALL.iter().map(|variant| variant.spec).collect();
        Chosen::read(field, &specs).map(Stop)
    }

    /// The decider.
    pub fn decider(&self) -> Box<dyn Decide> {
        // Parameters of deciders have no schedules.
        (ALL[self.0.index].make)(&self.0.at(0, 1))
    }
}

impl Serialize for Stop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(ALL[self.0.index].spec).serialize(serializer)
    }
}
