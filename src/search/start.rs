//! The start of a search: the network of a plan, its relaxation, and its state before the first step.

use tch::{Device, Kind};

use super::step::engine::State;
use crate::arch::LogitTable;
use crate::config::{ArchInit, SearchConfig};
use crate::error::{Error, Result};
use crate::nn::{Network, NetworkOptions, Relaxations, SearchNetwork};
use crate::params::{initial_alphas, initial_weights};
use crate::plan::Plan;

impl State {
    /// The state before the first step of a network with this plan, drawn from `seed`.
    pub fn initial(plan: &Plan, init: ArchInit, seed: u64, kind: Kind, device: Device) -> Result<Self> {
        State::new(initial_weights(plan, seed, kind, device)?, initial_alphas(plan, init, seed, kind, device)?)
    }
}

/// The network of a lowered plan, its relaxation and its initial state.
pub fn start(
    plan: Plan,
    config: &SearchConfig,
    options: NetworkOptions,
) -> Result<(SearchNetwork, Relaxations, State)> {
    let tables = plan.alphas.clone();
    let network = SearchNetwork::new(plan, config, options)?;
    let optimisation = &config.optimisation;
    let mut relaxations = Relaxations::of(optimisation, tables, (network.kind(), network.device()))?;
    if let Some(auxiliary_skip) = config.network.auxiliary_skip {
        relaxations = relaxations.with_constant(auxiliary_skip, optimisation.epochs)?;
    }
    let state =
        State::initial(network.plan(), optimisation.arch_init, optimisation.seed, network.kind(), network.device())?;
    network.write_initial(&state.w)?;
    Ok((network, relaxations, state))
}

/// An error unless the tables are those of the network's α.
pub fn check_tables(network: &dyn Network, tables: &[LogitTable]) -> Result<()> {
    let of_network = network.alphas().entries().iter().map(|entry| (entry.name.as_str(), entry.shape.clone()));
    let shape = |table: &LogitTable| vec![table.rows.len() as i64, table.columns as i64];
    match of_network.eq(tables.iter().map(|table| (table.name.as_str(), shape(table)))) {
        true => Ok(()),
        false => Err(Error::engine("the tables of the search are not those of the network's α")),
    }
}
