//! Networks small enough to be known in closed form, run through the same engine as the supernet.

use pydarts::arch::{LogitRow, LogitTable, TableRole};
use pydarts::config::SearchConfig;
use pydarts::data::Batch;
use pydarts::error::Result;
use pydarts::nn::{Loss, Mode, Network, Relaxations, Relaxed};
use pydarts::params::Table;
use pydarts::ranks::Ranks;
use pydarts::relaxation::Relaxation;
use tch::{Device, Kind, Tensor};

/// L(w, α, batch) given as a closure.
pub struct Formula<F> {
    weights: Table,
    alphas: Table,
    formula: F,
}

impl<F: Fn(&Tensor, &Tensor, &Batch) -> Tensor> Formula<F> {
    pub fn new(weights: usize, alphas: usize, formula: F) -> Self {
        let table = |name: &str, n: usize| Table::new([(name.to_owned(), vec![n, 1])]);
        Formula { weights: table("w", weights), alphas: table("alpha", alphas), formula }
    }
}

impl<F: Fn(&Tensor, &Tensor, &Batch) -> Tensor> Network for Formula<F> {
    fn weights(&self) -> &Table {
        &self.weights
    }
    fn alphas(&self) -> &Table {
        &self.alphas
    }
    fn loss(&self, w: &Tensor, alpha: &Tensor, batch: &Batch, _: Mode) -> Result<Loss> {
        Ok(Loss { value: (self.formula)(w, alpha, batch), correct: None, carried: None })
    }
    fn set_exact(&self, _: bool) -> Result<()> {
        Ok(())
    }
    fn kind(&self) -> Kind {
        Kind::Double
    }
    fn device(&self) -> Device {
        Device::Cpu
    }
}

/// A batch that holds `inputs` and no labels.
pub fn batch(inputs: Tensor) -> Batch {
    Batch::new(inputs, Tensor::zeros([1], (Kind::Int64, Device::Cpu)))
}

/// A table of logits whose rows compete.
pub fn table(name: &str, rows: usize, columns: usize) -> LogitTable {
    let row = |index: usize| LogitRow {
        label: format!("row {index}"),
        candidates: (0..columns).map(|column| format!("candidate {column}")).collect(),
    };
    LogitTable {
        name: name.to_owned(),
        rows: (0..rows).map(row).collect(),
        columns,
        groups: vec![(0..rows).collect()],
        picks: 1,
        kept: None,
        least: None,
        unselectable: None,
        role: TableRole::Candidates,
    }
}

/// The relaxation of this name with its default parameters.
pub fn relaxation(name: &str) -> Relaxation {
    let rule = pydarts::relaxation::ALL.iter().find(|rule| rule.spec().name == name);
    Relaxation::new(*rule.unwrap())
}

/// A network with its relaxation, which owns what `Relaxed` borrows.
pub struct Whole<'a> {
    pub network: &'a dyn Network,
    pub relaxations: Relaxations,
}

impl<'a> Whole<'a> {
    /// The relaxation of this name, of tables as the network declares them; seed 0, 10 epochs.
    pub fn named(network: &'a dyn Network, name: &str) -> Self {
        let table =
            |entry: &pydarts::params::Entry| table(&entry.name, entry.shape[0] as usize, entry.shape[1] as usize);
        let tables = network.alphas().entries().iter().map(table).collect();
        let place = (network.kind(), network.device());
        let relaxations = Relaxations::new(&relaxation(name), tables, (0, 10), place).unwrap();
        Whole { network, relaxations }
    }

    /// m = α.
    pub fn identity(network: &'a dyn Network) -> Self {
        Whole::named(network, "identity")
    }

    /// The relaxation of a configuration.
    pub fn of(network: &'a dyn Network, config: &SearchConfig) -> Self {
        let optimisation = &config.optimisation;
        let place = (network.kind(), network.device());
        let relaxations = Relaxations::of(optimisation, config.space.logit_tables(), place).unwrap();
        Whole { network, relaxations }
    }

    /// Both, without micro-batches.
    pub fn relaxed(&self) -> Relaxed<'_> {
        Relaxed { network: self.network, relaxations: &self.relaxations, micro_batch: None, ranks: Ranks::ALONE }
    }
}
